"""A report as text, for a terminal and for a log."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from surgeon.checkup.finding import BOOK, Finding

if TYPE_CHECKING:
    from surgeon.checkup.report import Report

WIDTH = 78
# What a terminal paints, in codes of ANSI
PAINT = {
    "fault": "1;31",  # bold, red
    "hazard": "1;33",  # yellow
    "choice": "1;36",  # cyan
    "accepted": "2",  # faint
    "nothing": "1;32",  # green
}


def as_text(
    report: "Report", *, colour: bool = False, unfold: str = "report.details"
) -> str:
    """What is wrong, and a line each for what held and could not be told.

    Parameters
    ----------
    report : Report
        What was found.
    colour : bool
        Whether a terminal paints it, and makes links of pages.
    unfold : str
        What shows all findings.
    """
    lines = [*_head(report), *wrapped(*report.portrait), ""]
    for found in report.broken:
        first, *rest = _told(found)
        lines.append(_painted(first, found.status) if colour else first)
        linked = [_linked(line, found) if colour else line for line in rest]
        lines += [*linked, ""]
    if not (report.failed or report.blind):
        said = "Nothing found."
        lines.append(_painted(said, "nothing") if colour else said)
    lines += wrapped(
        *report.needless,
        *report.counts,
        f"All of them: {unfold}",
        f"Pages: {BOOK}",
        *(f"Warned: {said}" for said in report.warnings),
    )
    return "\n".join(lines)


def as_table(report: "Report") -> str:
    """The portrait, and every finding in the order of the laws."""
    width = max(len(finding.name) for finding in report)
    lines = [*_head(report), *wrapped(*report.portrait)]
    for finding in report:
        lines += _row(finding, width)
    return "\n".join(lines)


def number(value: str | float) -> str:
    """What was measured, in three digits."""
    return value if isinstance(value, str) else f"{value:.3g}"


def wrapped(*paragraphs: str) -> list[str]:
    """Each in lines of a report's width, its first sticking out."""
    return [
        line
        for said in paragraphs
        for line in textwrap.wrap(
            said, WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    ]


def _head(report: "Report") -> list[str]:
    blind = f": {report.blind}." if report.blind else ""
    return wrapped(f"Check-up of {report.subject}{blind}")


def _told(f: Finding) -> Iterator[str]:
    """A broken law: its weight, its cause, and what to write instead."""
    why = f": {f.accepted}" if f.accepted else ""
    yield from wrapped(f"{f.status.capitalize()}: {f.name}{why}")
    measured = f"Measured: {number(f.measured)}; sound: {number(f.bound)}."
    for said in (f.meaning, f.advice, measured, f"Page: {f.page}"):
        yield from textwrap.wrap(
            said,
            WIDTH,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )


def _row(f: Finding, width: int) -> list[str]:
    """A finding in the table, in as many lines as it takes."""
    said = number(f.measured)
    if f.passed is None:
        said = f.meaning
    elif not f.passed:
        said = (
            f"{f.meaning} Measured {said}; sound: {number(f.bound)}."
            f" See {f.page}."
        )
    if f.accepted:
        said += f" (accepted: {f.accepted})"
    head = f"{f.status:<8}  {f.name:<{width}}  "
    indent = " " * len(head)
    lines = textwrap.wrap(
        said, WIDTH, initial_indent=head, subsequent_indent=indent
    )
    return lines or [head.rstrip()]


def _painted(line: str, what: str) -> str:
    return f"\x1b[{PAINT[what]}m{line}\x1b[0m"


def _linked(line: str, f: Finding) -> str:
    """The page as a link that a terminal follows."""
    link = f"\x1b]8;;{f.address}\x1b\\{f.page}\x1b]8;;\x1b\\"
    return line.replace(f"Page: {f.page}", f"Page: {link}")
