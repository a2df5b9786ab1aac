"""The report: every law in order, as text, as HTML, and as one error."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from odd_functions import dropped_keys, with_dropout
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


FORMULA = ("agrees to rounding", "agrees with the formula")
IN_WORDS = {
    "answers": ("float64", "an output"),
    "batch elements apart": FORMULA,
    "softmax over keys": FORMULA,
    "values in step with keys": FORMULA,
    "mask obeyed": FORMULA,
    "mask polarity": FORMULA,
    "mask diagonal": ("sees itself, not the next",) * 2,
    "mask before softmax": FORMULA,
    "minus infinity": ("not outbid at -1e30",) * 2,
    "padding on keys": FORMULA,
    "rectangular mask": ("3 by 7, 7 by 3, 1 by 7", "as the mask shows"),
    "dead rows, forward": ("zero", "zero"),
    "dead rows, backward": ("finite", "finite"),
    "inputs unchanged": ("unchanged", "unchanged"),
    "random state": ("untouched", "untouched"),
}
PYTORCHS = {
    "heads apart": FORMULA,
    "mask and padding": ("what both show", "what both show"),
    "dead rows, forward": ("nan", "zero"),
    "dropout after softmax": ("0 or 2 times", "0 or 1/(1-p) times"),
}
LATER = {"one mask for all", "dead rows, backward"}  # PyTorch's takes no such mask; no gradient is asked after a NaN


def test_what_is_no_number_is_measured_in_words():
    said = lambda report: {f.name: (f.measured, f.bound) for f in report if isinstance(f.measured, str) and f.measured}
    assert said(examine(attention)) == IN_WORDS
    module = nn.MultiheadAttention(28, 4, dropout=0.5, batch_first=True)
    assert said(examine(module)) == {n: w for n, w in IN_WORDS.items() if n not in LATER} | PYTORCHS


def test_what_autocast_may_cost_is_four_roundings_and_two_of_the_largest_score():
    """At most eps (4 + 2 m factor) of the largest value, where m is |q| |k| of the query and the key that meet most."""

    def multiplied(factor):
        def subject(Q, K, V, mask=None):
            scores = Q @ K.mT * factor
            scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
            return torch.softmax(scores, -1).nan_to_num(0.0) @ V

        return subject

    half, one, more = (examine(multiplied(s), scale=s)["autocast"].bound for s in (0.5, 1.0, 1.5))
    assert more - one == pytest.approx(one - half)
    m = 4 * (one - half) / (2 * half - one)  # their slope is 2 m of what the four alone cost
    assert 7 < m < 3 * 7  # of seven normal columns each, the largest of some hundred


def test_a_report_is_read_from_the_top():
    report = ZOO["unscaled"].examine()
    report.portrait = ["Rows sum to one."]
    held, untold = (sum(finding.passed is passed for finding in report) for passed in (True, None))
    assert str(report) == "\n".join(
        [
            f"Check-up of {report.subject}",
            "Rows sum to one.",
            "",
            "Fault: scale",
            "  Scores are not scaled.",
            "  Instead: Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5, or",
            "  what you declare by scale.",
            "  Measured: 1; sound: 0.378.",
            "  Page: anatomy/scaling",
            "",
            f"Held: {held} laws.",
            f"Not told: {untold} laws.",
            "All of them: report.details",
            "Pages: https://attention-surgeon.github.io/attention-surgeon/book/",
        ]
    )
    assert repr(report) == f"<Report on {report.subject}: 1 of {len(LAWS)} findings failed>"


def test_the_gravest_comes_first():
    """In the order of the laws, a hazard is the first of these three."""
    report = examine(three_weights, dropout="p")
    weights = {"dead rows, forward": "hazard", "dropout after softmax": "choice", "random state": "fault"}
    assert {finding.name: finding.weight for finding in report.failed} == weights
    heads = [line for line in str(report).splitlines() if re.match("(Fault|Hazard|Choice): ", line)]
    assert heads == ["Fault: random state", "Hazard: dead rows, forward", "Choice: dropout after softmax"]
    said = [div["class"] for div in soup(report).select("li > div")]
    assert said == [["checkup-fault"], ["checkup-hazard"], ["checkup-choice"]]
    assert report.diagnosis.startswith("dead rows, forward (hazard): A row that may look at nothing gives NaN. ")
    assert " random state: The global" in report.diagnosis


def three_weights(Q, K, V, mask=None, p=0.0):
    """A fault, a hazard and a choice."""
    torch.rand(())
    return with_dropout(dropped_keys)(Q, K, V, mask, p)


def test_details_unfold_every_law():
    report = ZOO["unscaled"].examine()
    report.portrait = ["Rows sum to one."]
    lines = report.details.splitlines()
    assert lines[:2] == [f"Check-up of {report.subject}", "Rows sum to one."]
    assert all(f"  {finding.name} " in report.details for finding in report)
    told = "Scores are not scaled. Measured 1; sound: 0.378. See anatomy/scaling."
    assert re.search(rf"^fault +scale +{told}", re.sub(r"\n {9,}", " ", report.details), re.M)
    assert max(map(len, lines)) <= 78


def soup(report):
    return BeautifulSoup(report._repr_html_(), "html.parser")


def test_html_is_a_list_and_two_folds():
    report = ZOO["unscaled"].examine()
    report.portrait = ["Rows sum to <one>."]
    page = soup(report).select_one("div.checkup")
    assert page.find("table") is None
    said = [each.get_text() for each in page.find_all("p", recursive=False)]
    assert said == [f"Check-up of {report.subject}.", "Rows sum to <one>."]
    broken = page.select_one("ul > li > div.checkup-fault")
    assert [*broken.stripped_strings] == [
        "Fault:",
        "scale",
        "Scores are not scaled.",
        "Instead: Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5, or what you declare by scale.",
        "Measured: 1; sound: 0.378.",
    ]
    link = "https://attention-surgeon.github.io/attention-surgeon/book/anatomy/scaling.html"
    assert broken.a.attrs == {"data-page": "anatomy/scaling", "href": link}
    for fold, passed in zip(page.find_all("details"), (True, None), strict=True):
        found = [finding for finding in report if finding.passed is passed]
        assert f" {len(found)} laws." in fold.summary.get_text()
        assert [each.a.get_text() for each in fold.find_all("li")] == [finding.name for finding in found]
        assert all(f.meaning in each.get_text() for f, each in zip(found, fold.find_all("li"), strict=True))
    assert "Nothing found." not in page.get_text()
    assert "Nothing found." in soup(examine(attention)).get_text()


def test_html_is_escaped():
    def subject(Q, K, V, mask=None):
        raise RuntimeError("<b>1 & 2</b>")

    html = examine(subject)._repr_html_()
    assert "&lt;b&gt;1 &amp; 2&lt;/b&gt;" in html
    assert "<b>" not in html


def test_a_test_suite_gets_one_error_with_all_that_failed():
    with pytest.raises(
        AssertionError, match=r"unscaled .* fails its check-up\.\nscale: Scores are not scaled\. Measured 1"
    ) as raised:
        ZOO["unscaled"].examine().raise_if_failed()
    assert " Instead: Write (Q * factor) @ K.mT; " in str(raised.value).replace("\n ", "")


def test_hazards_raise_if_it_is_strict_and_choices_never():
    hazard, choice = ZOO["scaled_too_late"].examine(), ZOO["dead_rows_uniform"].examine()
    for report in (hazard, choice):
        assert len(report.failed) == 1
        assert report.passed
        report.raise_if_failed()
    choice.raise_if_failed(strict=True)
    with pytest.raises(AssertionError, match=r"scale before overflow \(hazard\): Q is multiplied"):
        hazard.raise_if_failed(strict=True)


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
        assert f"\nFault: {finding.name}\n  {finding.meaning[:40]}" in told
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
    assert report.diagnosis == f"Not told: {said}."
    assert "Nothing found" not in str(report) + soup(report).get_text()
    assert f": {said}." in str(report).split("\n\n")[0].replace("\n ", "")
    assert said in soup(report).p.get_text()


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
    assert str(report).endswith(f"\nWarned: {report.warnings[0]}")
    assert "this is slow &lt;here&gt;" in report._repr_html_()
    assert soup(report).find_all("summary")[-1].get_text() == "Warned: 1."
    assert "Warned" not in examine(attention)._repr_html_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine(subject).passed
