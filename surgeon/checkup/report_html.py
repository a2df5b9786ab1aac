"""A report as HTML: lists, which a narrow page needs not scroll."""

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

from surgeon.checkup.finding import Finding
from surgeon.checkup.report_text import number

if TYPE_CHECKING:
    from surgeon.checkup.report import Report


def as_html(report: "Report") -> str:
    """What is wrong, and what held and could not be told, folded."""
    held, untold = report.counts
    blind = f": {report.blind}" if report.blind else ""
    said = [f"Check-up of {report.subject}{blind}.", *report.portrait]
    parts = [_paragraph(each) for each in said]
    parts.append(_list(map(_broken, report.broken)))
    if not (report.failed or report.blind):
        parts.append(_paragraph("Nothing found."))
    parts += [_paragraph(each) for each in report.needless]
    parts.append(_folded(held, map(_held, report.held)))
    parts.append(_folded(untold, map(_untold, report.untold)))
    if report.warnings:
        warned = f"Warned: {len(report.warnings)}."
        parts.append(_folded(warned, map(html.escape, report.warnings)))
    return f'<div class="checkup">{"".join(parts)}</div>'


def _broken(f: Finding) -> str:
    """A broken law: its weight, its cause, and what to write instead."""
    why = f": {html.escape(f.accepted)}" if f.accepted else ""
    head = f"<strong>{f.status.capitalize()}: {_linked(f)}</strong>{why}"
    said = [head, html.escape(f.meaning), html.escape(f.advice), _measured(f)]
    told = "<br>".join(each for each in said if each)
    return f'<div class="checkup-{f.status}">{told}</div>'


def _held(f: Finding) -> str:
    return f"{_linked(f)}: {html.escape(f.meaning)} {_measured(f)}"


def _untold(f: Finding) -> str:
    measured = f" {_measured(f)}" if f.measured != "" else ""
    return f"{_linked(f)}: {html.escape(f.meaning)}{measured}"


def _measured(f: Finding) -> str:
    measured, bound = (
        html.escape(number(each)) for each in (f.measured, f.bound)
    )
    return f"<small>Measured: {measured}; sound: {bound}.</small>"


def _linked(f: Finding) -> str:
    """The law's name, which leads to its page.

    The book's own site finds the page by its name.
    """
    return (
        f'<a data-page="{f.page}" href="{f.address}">'
        f"{html.escape(f.name)}</a>"
    )


def _paragraph(said: str) -> str:
    return f"<p>{html.escape(said)}</p>"


def _list(told: Iterable[str]) -> str:
    lines = "".join(f"<li>{each}</li>" for each in told)
    return f"<ul>{lines}</ul>" if lines else ""


def _folded(summary: str, told: Iterable[str]) -> str:
    """One line, which opens to a list."""
    lines = _list(told)
    if not lines:
        return _paragraph(summary)
    return f"<details><summary>{summary}</summary>{lines}</details>"
