"""Attention for the operating table: its JavaScript, run in V8, against surgeon; and surgeon's side alone."""

import itertools
import json
import math
import re
import sys

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from py_mini_racer import MiniRacer
from small_book import ROOT

from surgeon import dissect
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.patterns import analyze_attention_patterns, normalized_entropy
from surgeon.instruments.operating import MASKS, PRECISIONS, _uniform, draw_inputs, operate, permissions, vital_signs

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import operating_fixtures as on_the_site

FOLDER = ROOT / "surgeon" / "instruments" / "static" / "operating-table"
SENTENCE = ["the", "surgeon", "cut", "the", "wire"]
LONG = [f"word{n}" for n in range(32)]
ROW = [(1, j) for j in range(5)]  # of the sentence

# A number that JSON cannot hold goes by its name; a matrix is a list.
HARNESS = """
const say = (x) => JSON.stringify(x, (_, v) =>
  typeof v === "number" && !Number.isFinite(v) ? String(v) : ArrayBuffer.isView(v) ? Array.from(v) : v);
function run({ words, d_k, seed, mask, padded, flipped, ...how }) {
  const inputs = draw(words, d_k, seed);
  const open = permissions(mask, inputs.T, padded);
  for (const [i, j] of flipped) open[i * inputs.T + j] ^= 1;
  const done = operate(inputs, open, how);
  return say({ ...inputs, ...done, open, signs: vitalSigns(done.weights, open, inputs.T) });
}
"""
USUAL = on_the_site.USUAL


@pytest.fixture(scope="module")
def javascript():
    """Evaluates an expression beside attention.mjs; the result comes as JSON."""
    engine = MiniRacer()
    code = (FOLDER / "attention.mjs").read_text()
    assert "import " not in code
    engine.eval(re.sub(r"^export ", "", code, flags=re.MULTILINE) + HARNESS)
    return lambda expression: json.loads(engine.eval(f"say({expression})"))


@pytest.fixture(scope="module")
def browser_does(javascript):
    return lambda case: json.loads(javascript(f"run({json.dumps(USUAL | case)})"))


def off(found, expected) -> float:
    """The largest difference: relative above 1, NaN equal to NaN, infinity to infinity."""
    a = torch.tensor([float(x) for x in found], dtype=torch.float64)
    b = torch.tensor([float(x) for x in expected], dtype=torch.float64)
    same = (a == b) | (a.isnan() & b.isnan())
    apart = ((a - b).abs() / b.abs().clamp(min=1)).masked_fill(same, 0.0)
    return float(apart.nan_to_num(nan=math.inf, posinf=math.inf).max())


def budget(precision: str) -> float:
    """One part in a million; in half precision, one rounding, where PyTorch's exponential falls on the other side."""
    return 2**-10 if precision == "float16" else 1e-6


def assert_alike(found, answer, precision):
    for name in ("scores", "scaled", "masked"):
        assert off(found[name], answer[name]) <= 1e-8, name
    for name in ("powers", "weights", "output"):
        assert off(found[name], answer[name]) <= budget(precision), name
    for name, sign in answer["signs"].items():
        assert off([found["signs"][name]], [sign]) <= budget(precision), name


# The same numbers on both sides


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_both_sides_count_the_same_numbers_off_a_seed(javascript, seed):
    n = torch.arange(0, 9973, 7)
    ours = _uniform(seed, n.numpy())
    assert javascript(f"{n.tolist()}.map((n) => uniform({seed}, n))") == ours.tolist()


@pytest.mark.parametrize(("words", "d_k", "seed"), [(SENTENCE, 4, 0), (["alone"], 7, 3), (LONG, 1024, 2**32 - 1)])
def test_both_sides_draw_the_same_inputs(javascript, words, d_k, seed):
    theirs = javascript(f"draw({json.dumps(words)}, {d_k}, {seed})")
    for name, ours in zip("QKV", draw_inputs(words, d_k, seed), strict=True):
        assert off(theirs[name], ours.flatten().tolist()) <= 1e-14


def test_the_inputs_are_standard_normal_and_unrelated():
    """131,072 numbers: five standard errors of the mean, the variance, the fourth moment and a correlation."""
    Q, K = (torch.cat([draw_inputs(LONG, 1024, seed)[n].flatten() for seed in range(4)]) for n in (0, 1))
    error = len(Q) ** -0.5
    for x in (Q, K):
        assert abs(float(x.mean())) < 5 * error
        assert abs(float(x.square().mean()) - 1) < 5 * math.sqrt(2) * error
        assert abs(float(x.pow(4).mean()) - 3) < 5 * math.sqrt(96) * error
    assert abs(float((Q * K).mean())) < 5 * error


def test_a_wider_vector_begins_like_a_narrower_one_and_equal_words_are_equal():
    Q, K, V = draw_inputs(SENTENCE, 5, 11)
    for wide, narrow in zip(draw_inputs([*SENTENCE, "again"], 13, 11), (Q, K, V), strict=True):
        assert torch.equal(wide[:5, : narrow.shape[1]], narrow)
    assert torch.equal(Q[0], Q[3])
    assert not torch.equal(Q[0], K[0])
    assert not torch.equal(Q, draw_inputs(SENTENCE, 5, 12)[0])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=50))
def test_half_precision_is_pytorchs(javascript, numbers):
    written = [str(x).replace("inf", "Infinity").replace("nan", "NaN") for x in numbers]
    theirs = javascript(f"[{', '.join(written)}].map(ROUND.float16)")
    assert off(theirs, torch.tensor(numbers, dtype=torch.float32).half().double().tolist()) == 0


def test_half_precision_is_pytorchs_at_its_ends_and_between_neighbours(javascript):
    steps = torch.arange(0, 4096).double()
    numbers = torch.cat([steps * 2.0**-25, 65472 + steps / 16, 1 + steps * 2.0**-12]).float()
    assert off(javascript(f"{numbers.tolist()}.map(ROUND.float16)"), numbers.half().double().tolist()) == 0


# The same arithmetic


@pytest.mark.long
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("words", "padded", "flipped"),
    [(SENTENCE, 2, []), (SENTENCE, 5, [(0, 4), (2, 2)]), (SENTENCE, 0, ROW), (LONG, 7, []), (["alone"], 1, [])],
    ids=["five", "padding-alone", "a-row-flipped", "thirty-two", "one"],
)
def test_the_stages_are_surgeons_in_every_precision(browser_does, mask, words, padded, flipped):
    for d_k, scale, stable, temperature, precision in itertools.product(
        (4, 64), (True, False), (True, False), (1.0, 0.05), PRECISIONS
    ):
        case = USUAL | {"words": words, "mask": mask, "padded": padded, "flipped": flipped, "d_k": d_k}
        case |= {"scale": scale, "stable": stable, "temperature": temperature, "precision": precision}
        assert_alike(browser_does(case), on_the_site.answer(case), precision)


@pytest.mark.parametrize(("d_k", "d_v"), [(1, 1), (7, 3), (3, 19), (5, 64)])
def test_values_of_any_width_give_outputs_of_theirs(javascript, d_k, d_v):
    Q, K, V = (torch.from_numpy(np.random.default_rng(n).normal(size=(5, d))) for n, d in enumerate((d_k, d_k, d_v)))
    held = ", ".join(f"{name}: {x.flatten().tolist()}" for name, x in zip("QKV", (Q, K, V), strict=True))
    how = "{ scale: true, stable: true, temperature: 1, precision: 'float64' }"
    theirs = javascript(f"operate({{ T: 5, d_k: {d_k}, {held} }}, permissions('causal', 5), {how})")
    ours = operate(Q, K, V, permissions("causal", 5), precision="float64")
    assert len(theirs["output"]) == 5 * d_v
    assert off(theirs["output"], ours.output.flatten().tolist()) <= 1e-12


def test_an_overflow_is_real(browser_does):
    """float32 ends at a score of 88.7; with the maximum subtracted, nothing happens there."""
    case = {"d_k": 1024, "scale": False, "temperature": 0.1, "words": LONG}
    broken = browser_does(case | {"stable": False})
    assert "Infinity" in broken["powers"]
    assert "NaN" in broken["weights"]
    assert broken["signs"]["broken"] > 0
    assert browser_does(case)["signs"]["broken"] == 0
    assert browser_does(case | {"stable": False, "precision": "float64", "scale": True})["signs"]["broken"] == 0


def test_a_row_with_nothing_to_see_is_zeros_or_nothing_over_nothing(browser_does):
    stable, naive = (browser_does({"flipped": ROW, "stable": on}) for on in (True, False))
    assert stable["weights"][5:10] == [0] * 5
    assert naive["weights"][5:10] == ["NaN"] * 5
    assert (stable["signs"]["empty"], stable["signs"]["broken"]) == (1, 0)
    assert (naive["signs"]["empty"], naive["signs"]["broken"]) == (1, 1)


def test_the_fixtures_hold_every_kind_of_case_and_the_browser_agrees(browser_does):
    fixtures = [(case, on_the_site.plain(on_the_site.answer(case))) for case in on_the_site.cases()]
    assert {case["mask"] for case, _ in fixtures} == set(MASKS)
    assert {case["precision"] for case, _ in fixtures} == set(PRECISIONS)
    for sign in ("empty", "broken"):
        assert max(answer["signs"][sign] for _, answer in fixtures) > 0
    for case, answer in json.loads(json.dumps(fixtures, allow_nan=False)):
        assert_alike(browser_does(case), answer, case["precision"])


# surgeon's side


@pytest.mark.parametrize("scale", [True, False])
def test_without_a_temperature_the_stages_are_those_of_dissect(scale):
    Q, K, V = draw_inputs(SENTENCE, 7, 5)
    done = operate(Q, K, V, permissions("causal", 5), scale=scale, precision="float64")
    whole = dissect(Q, K, V, create_causal_mask(5), scale)
    for ours, theirs in zip((done.scores, done.scaled, done.masked, done.weights, done.output), whole, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.allclose(done.powers / done.powers.sum(-1, keepdim=True), whole.weights, atol=1e-15)


def test_a_temperature_divides_the_scores():
    Q, K, V = draw_inputs(SENTENCE, 7, 5)
    everyone = permissions("none", 5)
    hot = operate(Q, K, V, everyone, temperature=3.0, precision="float64")
    assert torch.allclose(hot.weights, dissect(Q / 3, K, V).weights, atol=1e-15)


def test_the_vital_signs_are_those_of_the_book():
    may_look = permissions("causal", 5)
    weights = operate(*draw_inputs(SENTENCE, 16, 2), may_look, precision="float64").weights
    signs = vital_signs(weights, may_look)
    sizes = [
        float(torch.autograd.functional.jacobian(lambda s: torch.softmax(s, 0), torch.log(row[: i + 1])).norm())
        for i, row in enumerate(weights)
        if i
    ]
    assert signs["gradient"] == pytest.approx(sum(sorted(sizes)[1:3]) / 2, abs=1e-14)
    assert signs["largest"] == pytest.approx(sum(sorted(weights[1:].amax(-1).tolist())[1:3]) / 2, abs=1e-15)
    assert signs["entropy"] == pytest.approx(analyze_attention_patterns(weights, mask=may_look)["entropy"], abs=1e-14)
    assert signs["evenness"] == pytest.approx(normalized_entropy(weights, may_look), abs=1e-14)
    assert (signs["future"], signs["empty"], signs["broken"]) == (0, 0, 0)
    ahead = vital_signs(weights.mT / weights.mT.sum(-1, keepdim=True), may_look.mT)
    assert 0 < ahead["future"] < 1


def test_where_no_row_is_left_the_signs_are_no_numbers():
    signs = vital_signs(torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.bool))
    assert all(math.isnan(signs[name]) for name in ("largest", "entropy", "evenness", "gradient", "future"))
    assert (signs["empty"], signs["broken"]) == (3, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_inputs([], 4), "words must be 1 to 32 words, got 0."),
        (lambda: draw_inputs(["a"] * 33, 4), "words must be 1 to 32 words, got 33."),
        (lambda: draw_inputs(["a"], 1025), "d_k must be at most 1024, got 1025."),
        (lambda: draw_inputs(["a"], 0), "d_k must be an integer of at least 1, got 0."),
        (lambda: draw_inputs(["a"], 4, -1), "seed must be an integer from 0 to 2**32 - 1, got -1."),
        (lambda: permissions("past", 3), "mask must be one of none, causal, reverse, padding, front, got 'past'."),
        (lambda: permissions("padding", 3, 4), "padded must lie between 0 and seq_len (3), got 4."),
        (lambda: permissions("none", 3, 0, [(3, 0)]), "flipped must name cells of a 3 by 3 matrix, got (3, 0)."),
        (
            lambda: operate(*draw_inputs(["a"], 4), permissions("none", 1), temperature=0.0),
            "temperature must be positive and finite, got 0.0.",
        ),
        (
            lambda: operate(*draw_inputs(["a"], 4), permissions("none", 1), precision="int8"),
            "precision must be one of float16, float32, float64, got 'int8'.",
        ),
        (
            lambda: vital_signs(torch.ones(3), torch.ones(3, dtype=torch.bool)),
            "weights must have shape [queries, keys], none of them 0, got [3].",
        ),
        (
            lambda: vital_signs(torch.ones(3, 5), torch.ones(3, 5)),
            "may_look must be boolean of shape [3, 5], got torch.float32 of shape [3, 5].",
        ),
        (
            lambda: vital_signs(torch.ones(3, 5), permissions("none", 3)),
            "may_look must be boolean of shape [3, 5], got torch.bool of shape [3, 3].",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["Q", "K", "V"])
def test_queries_keys_and_values_have_two_axes(which):
    """Attention says so, whichever it is."""
    inputs = list(draw_inputs(SENTENCE, 7))
    inputs[which] = inputs[which][0]
    with pytest.raises(ValueError, match=r"^[QKV] must (have|end in) .+\.$"):
        operate(*inputs, permissions("none", 5))


def test_numpys_integers_are_integers():
    for ours, theirs in zip(draw_inputs(SENTENCE, 7, 3), draw_inputs(SENTENCE, np.int64(7), np.uint32(3)), strict=True):
        assert torch.equal(ours, theirs)
    flipped = np.array([[1, 0], [4, 2]])
    ours, theirs = permissions("front", 5, 2, flipped.tolist()), permissions("front", np.int8(5), np.int16(2), flipped)
    assert torch.equal(ours, theirs)


def test_other_peoples_defaults_change_nothing():
    def whole():
        inputs, may_look = draw_inputs(SENTENCE, 7, 3), permissions("front", 5, 1, ROW)
        done = operate(*inputs, may_look, precision="float16", temperature=0.5)
        return *inputs, may_look, *done, vital_signs(done.weights, may_look)

    expected = whole()
    with foreign_defaults():
        found = whole()
    for ours, theirs in zip(found[:-1], expected[:-1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert found[-1] == expected[-1]
