"""What a caller accepts, and why; and what a broken law weighs."""

import re

import pytest
from examined import causal, names
from odd_functions import filled, refusing

from surgeon import attention, examine
from surgeon.checkup.finding import WEIGHTS
from surgeon.zoo.catalogue import ZOO

WHY = {"scale before overflow": "we run in bfloat16"}
LATE = ZOO["scaled_too_late"].made


def test_an_accepted_finding_stays_with_its_reason_and_does_not_raise():
    report = examine(LATE, accept=WHY)
    finding = report["scale before overflow"]
    assert (finding.passed, finding.weight, finding.accepted) == (False, "hazard", "we run in bfloat16")
    assert report.failed == []
    assert report.accepted == [finding]
    report.raise_if_failed(strict=True)
    assert "Accepted: scale before overflow: we run in bfloat16\n  Q is multiplied by K before" in str(report)
    assert "Nothing found." in str(report)
    row = re.search("^accepted  scale before overflow .*?^[a-z]", report.details, re.M | re.S)[0]
    assert "(accepted: we run in bfloat16)" in " ".join(row.split())
    assert "</strong>: we run in bfloat16<br>" in report._repr_html_()
    assert "checkup-accepted" in report._repr_html_()
    assert " laws hold, 1 broken and accepted, " in report.diagnosis


def test_a_fault_can_be_accepted_and_the_rest_still_raises():
    report = ZOO["lost_mask"].made
    examine(report, accept={"mask obeyed": "it takes no mask yet"}).raise_if_failed()
    other = examine(report, accept={"scale": "ours"})
    assert names(other) == ["mask obeyed"]
    with pytest.raises(AssertionError, match="mask obeyed"):
        other.raise_if_failed()


def test_an_accepted_finding_that_occurs_no_more_says_so():
    report = examine(attention, accept=WHY | {"heads apart": "later"})
    assert report["scale before overflow"].passed
    gone = "Accepted, but occurs no more: scale before overflow (“we run in bfloat16”)."
    open_ = "Accepted, but cannot be told here: heads apart (“later”)."
    assert report.needless == [open_, gone]
    for said in report.needless:
        assert f"\n{said}\n" in str(report)
        assert f"<p>{said}</p>" in report._repr_html_()
    assert report.passed
    assert examine(LATE, accept=WHY).needless == []


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        (
            {"scale before underflow": "x"},
            "accept must name findings, such as 'scale before overflow', got 'scale before underflow'.",
        ),
        ({"zzz": "x"}, "accept must name findings, such as 'scale', got 'zzz'."),
        ({"scale": " "}, "accept must give a reason for 'scale', got ' '."),
        ({"scale": True}, "accept must give a reason for 'scale', got True."),
        (["scale"], "accept must be a mapping from findings to reasons, got list."),
    ],
)
def test_what_cannot_be_accepted_is_one_sentence(accept, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        examine(attention, accept=accept)


# Weights: of the same law, by the cause and by what was asked for


def weight(law, subject, **told):
    finding = examine(subject, **told)[law]
    assert (finding.passed is False) == (finding.weight in WEIGHTS)
    return finding.weight


@pytest.mark.parametrize(("number", "weighs"), [(-900.0, "fault"), (-2e3, "hazard"), (-1e9, "hazard")])
def test_a_stand_in_weighs_by_whether_scores_get_there(number, weighs):
    assert weight("minus infinity", filled(lambda scores: number)) == weighs


def test_an_empty_row_is_a_hazard_or_a_choice_until_somebody_asks_for_one():
    nan, uniform, back = (ZOO[f"dead_rows_{kind}"].made for kind in ("nan", "uniform", "nan_backward"))
    forward, backward = "dead rows, forward", "dead rows, backward"
    for told, weighs in (({}, ("hazard", "choice", "hazard")), ({"dead_rows": "zero"}, ("fault",) * 3)):
        found = (weight(forward, nan, **told), weight(forward, uniform, **told), weight(backward, back, **told))
        assert found == weighs
    assert weight(backward, back, dead_rows="any") == "hazard"
    assert weight(forward, nan, dead_rows="nan") == ""


def test_top_left_is_a_hazard_until_somebody_asks_for_the_other():
    def top_left(Q, K, V, mask=None, is_causal=False):
        mask = causal_corner(Q, K) if is_causal else mask
        return attention(Q, K, V, mask)

    law, flag = "rectangular causal", {"causal": "is_causal"}
    assert weight(law, top_left, **flag) == "hazard"
    assert weight(law, top_left, alignment="bottom-right", **flag) == "fault"
    assert weight(law, top_left, alignment="top-left", **flag) == ""
    assert weight(law, causal, **flag) == ""


def causal_corner(Q, K):
    return Q.new_ones(Q.shape[-2], K.shape[-2]).tril().bool()


def test_what_cannot_be_told_weighs_nothing():
    report = examine(refusing(lambda *_: True))
    assert {finding.weight for finding in report if finding.passed is None} == {""}
    assert report["answers"].weight == "fault"
