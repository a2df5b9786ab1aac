"""What an examination found, as a table for a terminal and a notebook."""

import html
import textwrap
from collections.abc import Iterator, Sequence

from surgeon.checkup.finding import RAISES, Finding

WIDTH = 78  # of the table in a terminal, and in a page's column
COLUMNS = ("finding", "verdict", "measured", "sound", "meaning", "page")


class Report:
    """The findings of one examination.

    In the order of `surgeon.checkup.finding.LAWS`.

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
        self.subject, self.findings = subject, findings
        self.seconds, self.warnings = seconds, list(warnings)

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
        return [f for f in self.findings if f.passed is False]

    @property
    def passed(self) -> bool:
        """Whether no law is broken; findings that do not apply break none."""
        return not self.failed

    @property
    def diagnosis(self) -> str:
        """What is wrong, in one line; or how many laws hold.

        And how many could not be tried.
        """
        if self.failed:
            return " ".join(f"{f.name}: {f.meaning}" for f in self.failed)
        if self._blind:
            return f"Nothing found, but {self._blind}."
        held = sum(f.passed is True for f in self.findings)
        open_ = [f for f in self.findings if f.passed is None]
        raised = sum(f.meaning.startswith(RAISES) for f in open_)
        errors = (
            f"{raised} could not be told because the subject raised an"
            " error, "
            if raised
            else ""
        )
        return (
            f"Nothing found: {held} laws hold,"
            f" {errors}{len(open_) - raised} do not apply."
        )

    @property
    def _blind(self) -> str:
        """What must be said first if nothing failed, and little was tried.

        So little that nobody knows whether this is attention.
        """
        told = {f.name for f in self.findings if f.passed is not None}
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
            head = f"{self.subject} fails its check-up."
            raise AssertionError("\n".join(_wrap(head, *told)))

    def __str__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        head = f"Check-up of {self.subject}"
        lines = _wrap(head + (f": {self._blind}." if self._blind else ""))
        for finding in self.findings:
            lines += _line(finding, width)
        lines += _wrap(*(f"Warned: {said}" for said in self.warnings))
        told = [f"{f.name}: {f.meaning}" for f in self.failed]
        return "\n".join(lines + _wrap(*(told or [self.diagnosis])))

    def __repr__(self) -> str:
        return (
            f"<Report on {self.subject}: {len(self.failed)} of {len(self)}"
            " findings failed>"
        )

    def _repr_html_(self) -> str:
        escape = html.escape
        said = escape(f"Check-up of {self.subject}. {self.diagnosis}")
        names = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
        rows = "".join(_row(finding) for finding in self.findings)
        warned = "<br>".join(escape(f"Warned: {w}") for w in self.warnings)
        cell = f'<td colspan="{len(COLUMNS)}">{warned}</td>'
        foot = f"<tfoot><tr>{cell}</tr></tfoot>" if warned else ""
        return (
            f'<table class="checkup"><caption>{said}</caption>'
            f"<thead><tr>{names}</tr></thead>"
            f"<tbody>{rows}</tbody>{foot}</table>"
        )


def _line(finding: Finding, width: int) -> list[str]:
    """A finding in the table of a terminal, in as many lines as it takes."""
    said = _number(finding.measured)
    if finding.passed is None:
        said = finding.meaning
    elif not finding.passed:
        said = (
            f"{finding.meaning} Measured {said}; sound:"
            f" {_number(finding.bound)}. See {finding.page}."
        )
    head = f"{finding.verdict:<4}  {finding.name:<{width}}  "
    indent = " " * len(head)
    lines = textwrap.wrap(
        said, WIDTH, initial_indent=head, subsequent_indent=indent
    )
    return lines or [head.rstrip()]


def _row(f: Finding) -> str:
    """A finding as a row of an HTML table."""
    measured, bound = _number(f.measured), _number(f.bound)
    texts = (f.verdict, measured, bound, f.meaning, f.page)
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    kind = "na" if f.passed is None else f.verdict.lower()
    name = f'<th scope="row">{html.escape(f.name)}</th>'
    return f'<tr class="checkup-{kind}">{name}{cells}</tr>'


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _wrap(*paragraphs: str) -> list[str]:
    """Each in lines of the table's width, its first sticking out."""
    return [
        line
        for said in paragraphs
        for line in textwrap.wrap(said, WIDTH, subsequent_indent="  ")
    ]
