"""What a caller knows of a subject and accepts, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from surgeon.checkup.finding import LAWS, Finding


def check_accept(
    accept: Mapping[str, str] | None, laws: Iterable[str] = LAWS
) -> dict[str, str]:
    """Whether these are findings, each with a reason."""
    if not isinstance(accept, Mapping | None):
        raise ValueError(
            "accept must be a mapping from findings to reasons, got"
            f" {type(accept).__name__}."
        )
    accepted, known = dict(accept or {}), list(laws)
    for name, reason in accepted.items():
        if name not in known:
            usual = [law for law in known if law == "scale"] or known
            near = get_close_matches(str(name), known, 1) or usual
            raise ValueError(
                f"accept must name findings, such as {near[0]!r}, got"
                f" {name!r}."
            )
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(
                f"accept must give a reason for {name!r}, got {reason!r}."
            )
    return accepted


def assent(
    findings: Iterable[Finding], accepted: Mapping[str, str]
) -> list[Finding]:
    """The findings, those that are accepted with their reasons."""
    return [
        replace(finding, accepted=accepted.get(finding.name, ""))
        for finding in findings
    ]
