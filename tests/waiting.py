"""What is said of a law that cannot be told while another is broken, and of those that are, beside the sentence."""

import re


def waits_in_vain(report):
    """The findings that say so of a law that is not broken."""
    said = {finding.name: re.fullmatch('Cannot be told while "(.*)" fails[.]', finding.meaning) for finding in report}
    failed = {finding.name for finding in report.findings if finding.passed is False}
    return [name for name, match in said.items() if match and match[1] not in failed]


def unmeasured(report):
    """The findings that are told, and lack what was measured or its bound."""
    told = [finding for finding in report.findings if finding.passed is not None]
    return [finding.name for finding in told if None in (finding.measured, finding.bound)]
