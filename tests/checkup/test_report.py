"""The report: every law in order, as text, as HTML, and as one error."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from torch import nn

from surgeon import attention, examine
from surgeon.checkup.finding import LAWS
from surgeon.zoo.catalogue import ZOO

ROOT = Path(__file__).resolve().parents[2]


def test_a_report_tells_every_law_in_order_with_its_page():
    report = examine(attention)
    assert [finding.name for finding in report] == list(LAWS)
    for finding in report:
        assert finding.meaning.endswith((".", "]", ")")), finding
        assert finding.page == "reference/checkup" or (ROOT / "book" / f"{finding.page}.md").is_file()
    assert report.passed
    assert len(report) == len(report.findings) == len(LAWS)
    assert report["scale"].measured == pytest.approx(7**-0.5)
    assert report["scale"].bound == pytest.approx(7**-0.5)
    assert report.diagnosis.startswith("Nothing found: ")
    report.raise_if_failed()
    with pytest.raises(KeyError, match=r"name must be one of answers, .*; got 'scales'"):
        report["scales"]


def test_a_report_as_text_and_as_html():
    report = ZOO["unscaled"].examine()
    text = str(report)
    assert all(f"  {finding.name} " in text for finding in report)
    told = "Scores are not scaled. Measured 1; sound: 0.378. See anatomy/scaling."
    assert re.search(rf"^FAIL  scale +{told}", re.sub(r"\n {9,}", " ", text), re.M)
    assert text.endswith("scale: Scores are not scaled.")
    table = BeautifulSoup(report._repr_html_(), "html.parser").table
    rows = {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")] for row in table.tbody.find_all("tr")}
    assert list(rows) == list(LAWS)
    assert rows["scale"] == ["FAIL", "1", "0.378", "Scores are not scaled.", "anatomy/scaling"]
    header = ["finding", "verdict", "measured", "sound", "meaning", "page"]
    assert [cell.get_text() for cell in table.thead.find_all("th", scope="col")] == header
    assert {tuple(row["class"]) for row in table.tbody.find_all("tr")} == {
        ("checkup-pass",),
        ("checkup-fail",),
        ("checkup-na",),
    }
    assert len(table.thead.find_all("th")) == len(table.tbody.tr.find_all(["th", "td"])) == 6
    assert table.find_all("th", scope="row")
    assert repr(report) == f"<Report on {report.subject}: 1 of {len(LAWS)} findings failed>"


def test_html_is_escaped():
    def subject(Q, K, V, mask=None):
        raise RuntimeError("<b>1 & 2</b>")

    html = examine(subject)._repr_html_()
    assert "&lt;b&gt;1 &amp; 2&lt;/b&gt;" in html
    assert "<b>" not in html


def test_a_test_suite_gets_one_error_with_all_that_failed():
    with pytest.raises(
        AssertionError, match=r"unscaled .* fails its check-up\.\nscale: Scores are not scaled\. Measured 1"
    ):
        ZOO["unscaled"].examine().raise_if_failed()


def hides_three_laws(Q, K, V, mask=None):
    """Its output is sound; its inputs are spoilt, a number is drawn, and the weights are others."""
    output, weights = attention(Q, K, V, mask)
    if not Q.requires_grad:
        Q.mul_(torch.rand(()))
    return output, weights / 2


def test_no_line_is_wider_than_the_table():
    report = examine(hides_three_laws)
    assert len(report.failed) == 3
    assert len(report.diagnosis) > 110
    told = str(report)
    assert max(map(len, told.splitlines())) <= 78
    for finding in report.failed:
        assert f"\n{finding.name}: {finding.meaning[:40]}" in told
    with pytest.raises(AssertionError) as raised:
        report.raise_if_failed()
    assert max(map(len, str(raised.value).splitlines())) <= 78


@pytest.mark.parametrize("subject", [nn.Identity(), nn.Linear(5, 5), lambda x: 2 * x])
def test_what_may_be_no_attention_is_said_to_be_so_at_once(subject):
    report = examine(subject, width=5)
    assert report.passed
    tried = sum(finding.passed is not None for finding in report)
    assert tried < 10
    assert "takes no mask" in report["mask obeyed"].meaning
    said = f"only {tried} of {len(LAWS)} laws could be tried, and not those that say whether it is attention"
    assert report.diagnosis == f"Nothing found, but {said}."
    assert f": {said}." in str(report).split("\npass")[0].replace("\n ", "")
    assert said in BeautifulSoup(report._repr_html_(), "html.parser").caption.get_text()


def test_warnings_are_told_once_in_the_report():
    def subject(Q, K, V, mask=None):
        warnings.warn("this is slow <here> (Triggered internally at /a/b.cpp:3.)", UserWarning, stacklevel=1)
        return attention(Q, K, V, mask)

    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        report = examine(subject)
        assert warnings.filters == filters
    assert leaked == []
    assert len(report.warnings) == 1
    assert re.fullmatch(r"UserWarning: this is slow <here> \(\d\d+ times\)", report.warnings[0])
    assert report.passed
    assert f"\nWarned: {report.warnings[0]}\nNothing found: " in str(report)
    assert "this is slow &lt;here&gt;" in report._repr_html_()
    assert "tfoot" not in examine(attention)._repr_html_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine(subject).passed
