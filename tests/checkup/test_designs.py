"""Declared designs: right ones pass and are told to be there, wrong ones are named; what cannot be meant is refused."""

import pytest
import torch
from designed import CAUSAL, SOUND, WRONG, from_the_first, made, past, rotary
from examined import names
from kinds import in_single
from said_instead import OF_DESIGNS

from surgeon import examine
from surgeon.anatomy.positions import Sinusoidal
from surgeon.checkup.designs.norms import RowNorm
from surgeon.checkup.finding import ALL_LAWS, DESIGNS, LAWS
from surgeon.checkup.repairs import REPAIRS

LAWS_OF = {
    "positions": "positions",
    "window": "window",
    "sliding_window": "window",
    "sink": "sink",
    "softcap": "soft cap",
    "qk_norm": "norm of queries and keys",
    "picture": "window",
    "linear": "linear attention",
    "documents": "documents",
}


@pytest.mark.long
@pytest.mark.parametrize("single", [False, True], ids=["float64", "float32"])
@pytest.mark.parametrize("name", SOUND)
def test_what_is_as_declared_fails_nothing_and_is_told_to_be_there(name, single):
    subject, declared = SOUND[name]
    only_double = {"causal", "documents"} & set(declared)
    report = examine(in_single(subject) if single and not only_double else subject, **declared)
    assert names(report) == [], report.diagnosis
    assert report["known form"].passed
    told = {LAWS_OF[said] for said in declared if said in LAWS_OF}
    assert {finding.name for finding in report if finding.name in DESIGNS} == told
    assert all(report[law].passed for law in told)


@pytest.mark.parametrize("name", [name for name, (_, declared) in SOUND.items() if "sink" in declared])
def test_beside_a_sink_no_law_that_holds_says_that_weights_sum_to_one(name):
    subject, declared = SOUND[name]
    report = examine(subject, **declared)
    assert report["mask before softmax"].passed
    assert [f.meaning for f in report.held if "sum to one" in f.meaning] == []


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_as_declared_is_named(name):
    subject, declared, law, said = WRONG[name]
    report = examine(subject, **declared)
    assert names(report) == [law], report.diagnosis
    assert report[law].meaning.startswith(said)
    assert report[law].weight == "fault"
    assert report[law].instead
    assert OF_DESIGNS.get(name, report[law].instead) == report[law].instead


def test_each_advice_is_given_to_somebody():
    """What to write instead, of the laws of designs."""
    assert set(OF_DESIGNS) <= set(WRONG)
    assert {text for law in DESIGNS if law in REPAIRS for _, text in REPAIRS[law]} <= set(OF_DESIGNS.values())


def test_a_report_has_the_laws_of_what_was_declared_and_no_others():
    assert [finding.name for finding in examine(made())] == list(LAWS)
    report = examine(made(rotary()), positions="rotary")
    assert [finding.name for finding in report] == [law for law in ALL_LAWS if law in LAWS or law == "positions"]


def test_what_is_declared_and_wrong_otherwise_is_named_as_ever():
    """Another fault beside a design that is right."""

    def inverted(Q, K, V, mask=None):
        return made(rotary())(Q, K, V, None if mask is None else ~mask)

    report = examine(inverted, positions="rotary")
    assert names(report) == ["mask polarity"]
    assert report["positions"].passed


def test_places_beside_a_causal_mask_are_counted_from_its_end():
    report = examine(lambda Q, K, V: made(rotary())(Q, K, V, past(Q, K)), positions="rotary", **CAUSAL)
    assert names(report) == []
    assert report["rectangular causal"].passed


def test_places_are_counted_from_the_end_that_was_asked_for():
    subject = made(from_the_first)
    assert names(examine(subject, positions="rotary", alignment="top-left")) == []
    assert names(examine(subject, positions="rotary", alignment="bottom-right")) == ["positions"]


def test_gains_leave_queries_and_keys_in_their_precision():
    gains = torch.ones(2, 5, dtype=torch.float64)
    q, k = RowNorm("rms", gains=tuple(gains))(torch.ones(1, 1, 3, 5), torch.ones(1, 1, 7, 5))
    assert q.dtype == k.dtype == torch.float32


def not_linear(Q, K, V, mask=None):
    return made()(Q, K, V, mask).tanh()


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"sink": True},
            "Its numbers cannot be read off. The output is not linear in the values: no weights can be read. Give"
            " them: sink=[...], one for each head.",
        ),
        (
            {"positions": "distance"},
            "Its numbers cannot be read off. The output is not linear in the values: no weights can be read. Give it"
            " as a function: positions.",
        ),
    ],
    ids=["sink", "distance"],
)
def test_numbers_that_cannot_be_read_off_are_asked_for(declared, said):
    report = examine(not_linear, **declared)
    (law,) = (finding for finding in report if finding.name in DESIGNS)
    assert law.passed is None
    assert law.meaning == said


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ({"positions": "spiral"}, "positions must begin with one of .*'spiral'"),
        ({"positions": 3}, "positions must begin with one of .*3"),
        ({"positions": "rotary fast"}, "name=value"),
        ({"positions": "rotary slopes=2"}, "positions of rotary must say base"),
        ({"positions": "rotary base=ten"}, "base must be a number, got 'ten'"),
        ({"positions": "rotary share=2"}, "share of at most 1"),
        ({"positions": "rotary pairs=thirds"}, "pairs must be one of"),
        ({"positions": "alibi slopes=a"}, "slopes must be a number"),
        ({"positions": Sinusoidal()}, "added to tokens before attention"),
        ({"window": 2, "sliding_window": 3}, "not both"),
        ({"window": -1}, "window must be an integer of at least 0"),
        ({"window": "wide"}, "window must be a number of keys to each side"),
        ({"sliding_window": 0}, "sliding_window must be an integer of at least 1"),
        ({"sink": float("nan")}, "sink must be a finite number"),
        ({"sink": [1.0, 2.0], "heads": 4}, "one number for each of 4 heads, got 2"),
        ({"softcap": 0}, "softcap must be"),
        ({"qk_norm": "batch"}, "qk_norm must begin with one of"),
        ({"qk_norm": 3}, "qk_norm must begin with one of"),
        ({"qk_norm": "rms twice"}, "qk_norm may say"),
        ({"picture": (4, 4, 2), "documents": "numbers"}, "not both"),
        ({"picture": (4, 4)}, "picture must be"),
        ({"picture": (4, 4, 0)}, "picture must be an integer of at least 1"),
        ({"picture": (4, 4, 3, "cut", 2)}, "picture must be .rows, columns, window"),
        ({"picture": (4, 4, 3, "round")}, "picture must be of one of blocks, cut, shifted, got 'round'"),
        ({"picture": (4, 4, (3, 2), "cut")}, "picture must have an odd window .* got 3 x 2"),
        ({"picture": (3, 4, 5, "shifted")}, "picture must be as large as .* got 3 x 4 and a window of 5 x 5"),
        ({"linear": "sin"}, "linear must be one of"),
        ({"normalised": False}, "give linear, too"),
        ({"scale": 0}, "scale must be a finite number other than 0"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(declared, match):
    with pytest.raises(ValueError, match=match):
        examine(made(), **declared)
