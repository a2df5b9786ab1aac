"""What an examination found, as a table for a terminal and for a notebook."""

import html
import textwrap
from collections.abc import Iterator, Sequence

from surgeon.checkup.finding import RAISES, Finding

WIDTH = 110  # of the table in a terminal
COLUMNS = ("finding", "verdict", "measured", "sound", "meaning", "page")


class Report:
    """The findings of one examination, in the order of `surgeon.checkup.finding.LAWS`.

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
    """

    def __init__(
        self,
        subject: str,
        findings: list[Finding],
        seconds: float = 0.0,
        warnings: Sequence[str] = (),
    ) -> None:
        self.subject, self.findings, self.seconds, self.warnings = (
            subject,
            findings,
            seconds,
            list(warnings),
        )

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

    @property
    def failed(self) -> list[Finding]:
        """The findings whose law is broken."""
        return [
            finding for finding in self.findings if finding.passed is False
        ]

    @property
    def passed(self) -> bool:
        """Whether no law is broken; findings that do not apply break none."""
        return not self.failed

    @property
    def diagnosis(self) -> str:
        """One line: what is wrong, or how many laws hold, and how many could not be tried."""
        if self.failed:
            return " ".join(
                f"{finding.name}: {finding.meaning}"
                for finding in self.failed
            )
        if self._blind:
            return f"Nothing found, but {self._blind}."
        held = sum(finding.passed is True for finding in self.findings)
        raised = sum(
            finding.passed is None and finding.meaning.startswith(RAISES)
            for finding in self.findings
        )
        errors = (
            f"{raised} could not be told because the subject raised an"
            " error, "
            if raised
            else ""
        )
        return (
            f"Nothing found: {held} laws hold,"
            f" {errors}{len(self) - held - raised} do not apply."
        )

    @property
    def _blind(self) -> str:
        """What must be said first where nothing failed, and nobody knows whether this is attention."""
        told = {
            finding.name
            for finding in self.findings
            if finding.passed is not None
        }
        if self.failed or told & {"known form", "softmax over keys"}:
            return ""
        return (
            f"only {len(told)} of {len(self)} laws could be tried, and not"
            " those that say whether it is attention"
        )

    def raise_if_failed(self) -> None:
        """For a test suite.

        Raises
        ------
        AssertionError
            If a law is broken; it names every finding that failed, what was
            measured, and the likely cause.
        """
        if self.failed:
            told = [
                f"{f.name}: {f.meaning} Measured {f.measured}, bound"
                f" {f.bound}."
                for f in self.failed
            ]
            raise AssertionError(
                "\n".join(_wrap(f"{self.subject} fails its check-up.", *told))
            )

    def __str__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = _wrap(
            f"Check-up of {self.subject}"
            + (f": {self._blind}." if self._blind else "")
        )
        for finding in self.findings:
            said = (
                f"{_number(finding.measured)}"
                if finding.passed is not None
                else finding.meaning
            )
            if finding.passed is False:
                said = (
                    f"{finding.meaning} Measured {said}; sound:"
                    f" {_number(finding.bound)}. See {finding.page}."
                )
            head = f"{finding.verdict:<4}  {finding.name:<{width}}  "
            lines += textwrap.wrap(
                said,
                WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
            ) or [head.rstrip()]
        told = [
            f"{finding.name}: {finding.meaning}" for finding in self.failed
        ] or [self.diagnosis]
        return "\n".join(
            [
                *lines,
                *_wrap(*(f"Warned: {said}" for said in self.warnings), *told),
            ]
        )

    def __repr__(self) -> str:
        return (
            f"<Report on {self.subject}: {len(self.failed)} of {len(self)}"
            " findings failed>"
        )

    def _repr_html_(self) -> str:
        cells = lambda texts: "".join(
            f"<td>{html.escape(text)}</td>" for text in texts
        )
        rows = "".join(
            f'<tr class="checkup-{"na" if f.passed is None else f.verdict.lower()}">'
            + f'<th scope="row">{html.escape(f.name)}</th>'
            + cells(
                [
                    f.verdict,
                    _number(f.measured),
                    _number(f.bound),
                    f.meaning,
                    f.page,
                ]
            )
            + "</tr>"
            for f in self.findings
        )
        header = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
        caption = html.escape(f"Check-up of {self.subject}. {self.diagnosis}")
        warned = "<br>".join(
            html.escape(f"Warned: {said}") for said in self.warnings
        )
        foot = (
            "<tfoot><tr><td"
            f' colspan="{len(COLUMNS)}">{warned}</td></tr></tfoot>'
            if warned
            else ""
        )
        return (
            f'<table class="checkup"><caption>{caption}</caption>'
            f"<thead><tr>{header}</tr></thead><tbody>{rows}</tbody>{foot}</table>"
        )


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _wrap(*paragraphs: str) -> list[str]:
    """Each in lines of the table's width, all but its first a little to the right."""
    return [
        line
        for said in paragraphs
        for line in textwrap.wrap(said, WIDTH, subsequent_indent="  ")
    ]
