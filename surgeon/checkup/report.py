"""What an examination found, the gravest first."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from surgeon.checkup.finding import RAISES, WEIGHTS, Finding
from surgeon.checkup.report_html import as_html
from surgeon.checkup.report_text import as_table, as_text, wrapped

# One of these must be told, or nobody knows whether it is attention.
SAYS_WHAT = {"known form", "softmax over keys", "values in step with keys"}


class Report:
    """The findings of one examination.

    In the order of `surgeon.checkup.finding.LAWS`. Printed, it is read from
    the top: what kind of attention this is, what is wrong, with its cause and
    what to write instead, and a line each for what held and for what could
    not be told. `details` has all of it.

    Parameters
    ----------
    subject : str
        What was examined, and how it was held.
    findings : list of Finding
        One for each law.
    seconds : float
        How long it took.
    warnings : sequence of str
        What the subject, or PyTorch, warned of meanwhile, each once.
    portrait : sequence of str
        What kind of attention it is, in sentences, which come first.

    Attributes
    ----------
    says_what : set of str
        One of these laws must be told, or nobody knows `what`.
    """

    says_what: ClassVar[set[str]] = SAYS_WHAT
    what: ClassVar[str] = "whether it is attention"

    def __init__(
        self,
        subject: str,
        findings: list[Finding],
        seconds: float = 0.0,
        warnings: Sequence[str] = (),
        portrait: Sequence[str] = (),
    ) -> None:
        self.subject, self.findings = subject, findings
        self.seconds, self.warnings = seconds, list(warnings)
        self.portrait = list(portrait)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        names = ", ".join(finding.name for finding in self.findings)
        raise KeyError(f"name must be one of {names}; got {name!r}.")

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    # What was found

    @property
    def failed(self) -> list[Finding]:
        """The findings whose law is broken, and that nobody accepts."""
        return [f for f in self.findings if f.counts]

    @property
    def accepted(self) -> list[Finding]:
        """The findings that are accepted, whether they occur or not."""
        return [f for f in self.findings if f.accepted]

    @property
    def broken(self) -> list[Finding]:
        """The findings whose law is broken: the gravest first.

        Those that are accepted come last.
        """
        order = list(WEIGHTS)
        found = [f for f in self.findings if f.passed is False]
        return sorted(
            found, key=lambda f: (bool(f.accepted), order.index(f.weight))
        )

    @property
    def held(self) -> list[Finding]:
        """The findings whose law holds."""
        return [f for f in self.findings if f.passed]

    @property
    def untold(self) -> list[Finding]:
        """The findings that do not apply, or could not be told."""
        return [f for f in self.findings if f.passed is None]

    # What it comes to

    def wrong(self, *, strict: bool = False) -> list[Finding]:
        """What fails a test suite: faults, and hazards if it is strict."""
        grave = ("fault", "hazard") if strict else ("fault",)
        return [f for f in self.failed if f.weight in grave]

    @property
    def passed(self) -> bool:
        """Whether there is no fault but those that are accepted."""
        return not self.wrong()

    def raise_if_failed(self, *, strict: bool = False) -> None:
        """For a test suite.

        Parameters
        ----------
        strict : bool
            Whether hazards raise, too. Choices, and what is accepted, never
            do.

        Raises
        ------
        AssertionError
            If there is a fault; it names each, what was measured, the likely
            cause, and what to write instead.
        """
        if found := self.wrong(strict=strict):
            told = [
                f"{f.named}: {f.meaning} Measured {f.measured}, bound"
                f" {f.bound}. {f.advice}"
                for f in found
            ]
            head = f"{self.subject} fails its check-up."
            raise AssertionError("\n".join(wrapped(head, *told)))

    @property
    def diagnosis(self) -> str:
        """What is wrong, in one line; or how many laws hold.

        And how many could not be tried.
        """
        if self.failed:
            return " ".join(f"{f.named}: {f.meaning}" for f in self.failed)
        if self.blind:
            return f"Not told: {self.blind}."
        raised = self._raised
        parts = [f"{len(self.held)} laws hold"]
        if self.broken:
            parts.append(f"{len(self.broken)} broken and accepted")
        if raised:
            why = "could not be told because the subject raised an error"
            parts.append(f"{raised} {why}")
        parts.append(f"{len(self.untold) - raised} do not apply")
        return f"Nothing found: {', '.join(parts)}."

    @property
    def blind(self) -> str:
        """What must be said first if nothing failed, and little was tried.

        So little that nobody knows whether this is attention.
        """
        told = {f.name for f in self.findings if f.passed is not None}
        if self.failed or told & self.says_what:
            return ""
        return (
            f"only {len(told)} of {len(self)} laws could be tried, and not"
            f" those that say {self.what}"
        )

    @property
    def needless(self) -> list[str]:
        """What is accepted, and was not found: a sentence each."""
        said = {True: "occurs no more", None: "cannot be told here"}
        return [
            f"Accepted, but {said[f.passed]}: {f.name} (“{f.accepted}”)."
            for f in self.accepted
            if f.passed is not False
        ]

    @property
    def counts(self) -> tuple[str, str]:
        """A line for what held, and one for what could not be told."""
        raised = self._raised
        why = f", {raised} of them because it raised an error"
        held, untold = (
            f"{len(them)} law{'s' if len(them) != 1 else ''}"
            for them in (self.held, self.untold)
        )
        return f"Held: {held}.", f"Not told: {untold}{why if raised else ''}."

    @property
    def _raised(self) -> int:
        """How many could not be told because the subject raised an error."""
        return sum(f.meaning.startswith(RAISES) for f in self.untold)

    # How it is shown

    def __str__(self) -> str:
        return as_text(self)

    @property
    def details(self) -> str:
        """All findings as a table, in the order of the laws."""
        return as_table(self)

    def __repr__(self) -> str:
        return (
            f"<Report on {self.subject}: {len(self.failed)} of {len(self)}"
            " findings failed>"
        )

    def _repr_html_(self) -> str:
        return as_html(self)
