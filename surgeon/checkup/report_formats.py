"""Reports for other programs: JSON, and JUnit's XML."""

import json
import math
import re
import xml.etree.ElementTree as XML
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from surgeon.checkup.finding import Finding
from surgeon.checkup.report import Report
from surgeon.checkup.report_text import as_text

# What XML has no character for
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Result:
    """What came of one subject: a report, or why there is none.

    Parameters
    ----------
    name : str
        What the subject is called.
    report : Report or None
        None if it cannot be examined.
    error : str
        Why not, in a sentence; otherwise empty.
    """

    name: str
    report: Report | None
    error: str = ""


def as_json(results: Sequence[Result], *, strict: bool) -> str:
    """A list of subjects, each with its findings.

    `strict` whether hazards count as wrong.
    """
    told = [_entry(result, strict) for result in results]
    whole = {"subjects": told}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def _entry(result: Result, strict: bool) -> dict[str, Any]:
    report = result.report
    if report is None:
        return {"name": result.name, "error": result.error}
    return {
        "name": result.name,
        "subject": report.subject,
        "wrong": [f.name for f in report.wrong(strict=strict)],
        "diagnosis": report.diagnosis,
        "portrait": report.portrait,
        "findings": [_finding(f) for f in report],
        "needless": report.needless,
        "warnings": report.warnings,
        "seconds": round(report.seconds, 3),
    }


def _finding(f: Finding) -> dict[str, Any]:
    return {
        "name": f.name,
        "verdict": f.verdict,
        "weight": f.weight,
        "measured": _plain(f.measured),
        "bound": _plain(f.bound),
        "meaning": f.meaning,
        "instead": f.instead,
        "accepted": f.accepted,
        "page": f.address,
    }


def _plain(value: str | float) -> str | float:
    """A number that JSON has, or else its name."""
    if isinstance(value, str) or math.isfinite(value):
        return value
    return str(value)


def as_junit(results: Sequence[Result], *, strict: bool) -> str:
    """A test suite for each subject, and a test case for each law.

    What is wrong is a failure, what was not told is skipped, and so is what
    is broken and does not count; why stands beside it.
    """
    suites = XML.Element("testsuites")
    for result in results:
        _suite(suites, result, strict)
    XML.indent(suites)
    return XML.tostring(suites, encoding="unicode", xml_declaration=True)


def _suite(suites: XML.Element, result: Result, strict: bool) -> None:
    report, name = result.report, _clean(result.name)
    if report is None:
        suite = XML.SubElement(
            suites, "testsuite", name=name, tests="1", errors="1"
        )
        case = XML.SubElement(
            suite, "testcase", classname=name, name="answers"
        )
        XML.SubElement(case, "error", message=_clean(result.error))
        return
    wrong = {f.name for f in report.wrong(strict=strict)}
    skipped = sum(not f.passed for f in report) - len(wrong)
    suite = XML.SubElement(
        suites,
        "testsuite",
        name=name,
        tests=str(len(report)),
        failures=str(len(wrong)),
        errors="0",
        skipped=str(skipped),
        time=f"{report.seconds:.3f}",
    )
    for f in report:
        case = XML.SubElement(suite, "testcase", classname=name, name=f.name)
        if f.name in wrong:
            failure = XML.SubElement(
                case, "failure", message=_clean(f.meaning), type=f.weight
            )
            failure.text = _clean(f"{f.advice} See {f.address}".strip())
        elif not f.passed:
            said = f.accepted or f.meaning
            status = f"{f.status}: " if f.passed is False else ""
            XML.SubElement(case, "skipped", message=_clean(status + said))
    out = XML.SubElement(suite, "system-out")
    out.text = _clean(as_text(report))


def _clean(said: str) -> str:
    return NOT_XML.sub("�", said)
