"""Normalised rows, the soft cap, and what a bound on scores says of weights."""

import math
import re

import pytest
import torch
from oracle import CAUSAL, normal
from torch.nn import functional as F
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from surgeon.anatomy.dot_product import attend, dissect
from surgeon.anatomy.score_bounds import rms_norm, soft_cap, unit_length, weight_bound
from surgeon.anatomy.softmax import stable_softmax

HALVES = [torch.float16, torch.bfloat16]


def same_gradients(ours, theirs, tensors):
    pull = normal(*ours.shape, grad=False)
    torch.testing.assert_close(ours, theirs)
    pairs = zip(*(torch.autograd.grad((y * pull).sum(), tensors) for y in (ours, theirs)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)


# Normalised rows


@pytest.mark.parametrize("weighted", [False, True], ids=["bare", "weighted"])
def test_it_is_pytorch_s_root_mean_square(weighted):
    x, weight = normal(2, 3, 7), normal(7, seed=1) if weighted else None
    expected = F.rms_norm(x, (7,), weight, eps=1e-6)
    same_gradients(rms_norm(x, weight), expected, (x, weight) if weighted else (x,))


def test_unit_length_is_pytorch_s():
    x = normal(2, 3, 7)
    same_gradients(unit_length(x), F.normalize(x, dim=-1), (x,))


@pytest.mark.parametrize("factor", [1e-2, 1.0, 1e6])
def test_a_factor_is_taken_back(factor):
    """Of a row whose mean square is far above what is added to it."""
    x = normal(5, 7, grad=False)
    torch.testing.assert_close(unit_length(factor * x), unit_length(x))
    torch.testing.assert_close(rms_norm(factor * x), rms_norm(x), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(rms_norm(1e6 * x).norm(dim=-1), torch.full((5,), 7**0.5, dtype=torch.float64))


def test_the_gradient_of_a_normalised_row_stands_at_right_angles_to_it():
    """Its length cannot be learned."""
    x = normal(5, 7)
    (gradient,) = torch.autograd.grad((unit_length(x) * normal(5, 7, seed=1, grad=False)).sum(), x)
    assert ((gradient * x).sum(-1).abs() < 1e-12).all()


@pytest.mark.parametrize("norm", [rms_norm, unit_length])
def test_a_row_of_zeros_stays_and_passes_no_nan_back(norm):
    x = torch.zeros(3, 7, requires_grad=True)
    y = norm(x)
    assert (y == 0).all()
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    """Squares of 300 overflow in float16."""
    x = (300 * normal(5, 7, grad=False)).to(dtype)
    for norm in (rms_norm, unit_length):
        assert norm(x).dtype == dtype
        torch.testing.assert_close(norm(x), norm(x.double()).to(dtype))
    assert soft_cap(x, 50.0).dtype == dtype
    assert torch.equal(soft_cap(x, 50.0), soft_cap(x.float(), 50.0).to(dtype))


# The cap


def test_a_cap_is_kept_and_changes_small_scores_little():
    scores = torch.linspace(-1e4, 1e4, 10_007, dtype=torch.float64)
    capped = soft_cap(scores, 20.0)
    assert (capped.abs() <= 20.0).all()
    assert (capped.diff() >= 0).all()
    small = scores[scores.abs() < 3]
    assert ((soft_cap(small, 20.0) - small).abs() <= small.abs() ** 3 / (3 * 20.0**2) + 1e-15).all()
    assert torch.equal(soft_cap(-scores, 20.0), -capped)


def test_its_slope_is_one_less_the_square_of_how_full_the_cap_is():
    scores = normal(5, 7) * 30
    capped = soft_cap(scores, 20.0)
    (slope,) = torch.autograd.grad(capped.sum(), scores)
    torch.testing.assert_close(slope, 1 - (capped.detach() / 20.0) ** 2)


def test_a_cap_after_the_mask_lets_a_blocked_key_in():
    """Minus infinity becomes the cap's own depth, and an empty row an even one."""
    masked = torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf]], dtype=torch.float64)
    leaked = stable_softmax(soft_cap(masked, 5.0))
    assert leaked[0, 1] == pytest.approx(1 / (1 + math.exp(5.0)))
    assert leaked[1].tolist() == [0.5, 0.5]
    assert stable_softmax(masked)[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_attention_caps_before_the_mask_as_gemma_2_does(masked):
    Q, K, V = normal(2, 3, 5, 7), normal(2, 3, 5, 7, seed=1), normal(2, 3, 5, 11)
    additive = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf) if masked else None
    stages = attend(8 * Q, K, V, additive, softcap=5.0)

    class Gemma:
        num_key_value_groups, training = 1, False

    given = None if additive is None else additive[None, None]
    # its softmax is computed in float32
    theirs, weights = eager_attention_forward(Gemma(), 8 * Q, K, V, given, scaling=7**-0.5, softcap=5.0)
    torch.testing.assert_close(stages.output, theirs.transpose(1, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stages.weights, weights, rtol=1e-5, atol=1e-5)
    plain = dissect(8 * Q, K, V, CAUSAL if masked else None)
    assert torch.equal(stages.scores, plain.scores)
    torch.testing.assert_close(stages.scaled, 5.0 * torch.tanh(plain.scaled / 5.0))
    assert torch.equal(stages.masked == -torch.inf, plain.masked == -torch.inf)
    assert plain.scaled.abs().max() > 5.0


# What a bound on scores says of weights


@pytest.mark.parametrize(("bound", "keys"), [(0.5, 2), (3.0, 7), (20.0, 1009)])
def test_the_largest_weight_is_reached_by_one_score_at_the_top_of_all_others_at_the_bottom(bound, keys):
    row = torch.full((keys,), -bound, dtype=torch.float64)
    row[-1] = bound
    assert float(stable_softmax(row).max()) == pytest.approx(weight_bound(bound, keys), rel=1e-12)
    others = stable_softmax(bound * torch.tanh(normal(113, keys, grad=False) * 9))
    assert float(others.max()) <= weight_bound(bound, keys)


def test_one_key_has_all_the_weight():
    assert weight_bound(0.1, 1) == 1.0


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rms_norm([1.0]), "x must be a floating-point tensor [..., d], got list."),
        (lambda: rms_norm(torch.tensor([1])), "x must be a floating-point tensor [..., d], got torch.int64 [1]."),
        (lambda: unit_length(torch.tensor(1.0)), "x must be a floating-point tensor [..., d], got torch.float32 []."),
        (lambda: rms_norm(torch.ones(5, 7), torch.ones(5)), "weight must have shape [7], got [5]."),
        (lambda: soft_cap([1.0], 2.0), "scores must be a floating-point tensor, got list."),
        (lambda: soft_cap(torch.ones(3), 0.0), "cap must be a positive, finite number, got 0.0."),
        (lambda: soft_cap(torch.ones(3), True), "cap must be a positive, finite number, got True."),
        (lambda: soft_cap(torch.ones(3), math.inf), "cap must be a positive, finite number, got inf."),
        (lambda: weight_bound(math.nan, 3), "bound must be a positive, finite number, got nan."),
        (lambda: weight_bound(-1.0, 3), "bound must be a positive, finite number, got -1.0."),
        (lambda: weight_bound(1.0, 0), "num_keys must be an integer of at least 1, got 0."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
