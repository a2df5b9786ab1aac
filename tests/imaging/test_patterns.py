import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CONVENTIONS, normal

from surgeon.anatomy.masks import (
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
)
from surgeon.anatomy.softmax import stable_softmax
from surgeon.imaging.patterns import (
    analyze_attention_patterns,
    baseline_patterns,
    normalized_entropy,
    row_entropy,
    uniform_weights,
)

KEYS = ["max_attention", "entropy", "diagonal_mass", "local_vs_global"]


def harmonic(n):
    return sum(1 / i for i in range(1, n + 1))


def softmax_of(*shape, spread=3.0, seed=0):
    return torch.softmax(spread * normal(*shape, seed=seed, grad=False), -1)


@pytest.mark.parametrize("n", [2, 5, 13])
def test_the_identity_is_all_diagonal(n):
    assert analyze_attention_patterns(torch.eye(n)) == {
        "max_attention": 1,
        "entropy": 0,
        "diagonal_mass": 1,
        "local_vs_global": math.inf,
    }


@pytest.mark.parametrize("w", [0, 1, 3, 11])
@pytest.mark.parametrize(("T", "S"), [(13, 13), (5, 13), (13, 5)])
def test_even_weights_count_cells(T, S, w):
    found = analyze_attention_patterns(torch.full((T, S), 1 / S, dtype=torch.float64), window=w)
    inside = sum(abs(i - j) <= w for i in range(T) for j in range(S))
    assert found["max_attention"] == 1 / S
    assert found["entropy"] == pytest.approx(math.log(S), rel=1e-13)
    assert found["diagonal_mass"] == pytest.approx(min(T, S) / (T * S), rel=1e-13)
    outside = T * S - inside
    assert found["local_vs_global"] == (pytest.approx(inside / outside, rel=1e-12) if outside else math.inf)


@pytest.mark.parametrize("w", [0, 1, 3])
@pytest.mark.parametrize("n", [7, 64])
@pytest.mark.parametrize("make", [create_causal_mask, create_reverse_mask])
def test_even_causal_weights_have_closed_forms(make, n, w):
    """Query i sees i keys: 1/i on the diagonal, min(i, w + 1)/i within the window. The reverse mask mirrors it."""
    found = baseline_patterns(make(n), window=w)
    local = (w + 1) * (1 + harmonic(n) - harmonic(w + 1))
    assert found["max_attention"] == 1
    assert found["entropy"] == pytest.approx(math.lgamma(n + 1) / n, rel=1e-13)  # mean of log i
    assert found["diagonal_mass"] == pytest.approx(harmonic(n) / n, rel=1e-13)
    assert found["local_vs_global"] == pytest.approx(local / (n - local), rel=1e-12)


def test_previous_token_attention_is_local_and_off_the_diagonal():
    """Each query reads the token before it; the first reads itself."""
    weights = torch.eye(7)[[0, 0, 1, 2, 3, 4, 5]]
    found = analyze_attention_patterns(weights, window=0)
    assert found["diagonal_mass"] == pytest.approx(1 / 7)
    assert found["local_vs_global"] == pytest.approx(1 / 6)
    assert analyze_attention_patterns(weights, window=1)["local_vs_global"] == math.inf


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)))
def test_a_permutation_has_no_entropy_and_its_fixed_points_on_the_diagonal(order):
    found = analyze_attention_patterns(torch.eye(7)[list(order)], window=2)
    near = sum(abs(i - j) <= 2 for i, j in enumerate(order))
    assert found["entropy"] == 0
    assert found["max_attention"] == 1
    assert found["diagonal_mass"] == pytest.approx(sum(i == j for i, j in enumerate(order)) / 7)
    assert found["local_vs_global"] == (pytest.approx(near / (7 - near)) if near < 7 else math.inf)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)), st.floats(0, 50), st.integers(0, 99))
def test_entropy_lies_between_one_key_and_all_of_them_in_any_order(order, spread, seed):
    weights = softmax_of(5, 7, spread=spread, seed=seed)
    entropy = row_entropy(weights)
    torch.testing.assert_close(row_entropy(weights[:, list(order)]), entropy)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(weights).entropy(), rtol=1e-9, atol=1e-12)
    assert ((entropy >= 0) & (entropy <= math.log(7) + 1e-12)).all()
    assert 0 <= normalized_entropy(weights) <= 1 + 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**25 - 1), st.integers(0, 99))
def test_no_mask_lets_entropy_beyond_the_keys_it_leaves(bits, seed):
    mask = torch.tensor([bits >> i & 1 for i in range(25)], dtype=torch.bool).reshape(5, 5)
    mask[2, 3] = True
    weights = stable_softmax(normal(5, 5, seed=seed, grad=False).masked_fill(~mask, -torch.inf))
    assert (row_entropy(weights) <= torch.log(mask.sum(-1).clamp(min=1).double()) + 1e-12).all()
    found, even = analyze_attention_patterns(weights, mask=mask), baseline_patterns(mask)
    assert found["entropy"] <= even["entropy"] + 1e-12
    assert found["max_attention"] >= uniform_weights(mask, dtype=torch.float64).max(-1).values[mask.any(-1)].min()
    if mask.sum(-1).max() > 1:
        assert normalized_entropy(weights, mask) == pytest.approx(found["entropy"] / even["entropy"], abs=1e-12)
    else:
        assert math.isnan(normalized_entropy(weights, mask))


def test_entropy_is_measured_against_the_keys_that_can_be_seen():
    """0.77 of log 64, although no causal attention is more even."""
    causal = create_causal_mask(64)
    assert normalized_entropy(uniform_weights(causal)) == pytest.approx(math.lgamma(65) / 64 / math.log(64), rel=1e-6)
    assert normalized_entropy(uniform_weights(causal), causal) == pytest.approx(1, rel=1e-6)
    assert normalized_entropy(torch.eye(64), causal) == 0


def test_leading_axes_are_pooled():
    weights = softmax_of(2, 3, 5, 7)
    found = analyze_attention_patterns(weights, window=2)
    parts = [analyze_attention_patterns(matrix, window=2) for matrix in weights.flatten(0, 1)]
    assert found["max_attention"] == max(part["max_attention"] for part in parts)
    for key in ("entropy", "diagonal_mass"):
        assert found[key] == pytest.approx(sum(part[key] for part in parts) / 6, rel=1e-12)
    local = [part["local_vs_global"] / (1 + part["local_vs_global"]) for part in parts]
    assert found["local_vs_global"] == pytest.approx(sum(local) / (6 - sum(local)), rel=1e-12)
    assert list(found) == KEYS
    assert all(type(value) is float for value in found.values())


def test_rows_without_weight_are_left_out():
    weights = softmax_of(5, 7)
    holed = torch.cat([weights, torch.zeros(3, 7)])
    assert analyze_attention_patterns(holed) == pytest.approx(analyze_attention_patterns(weights), rel=1e-12)
    assert normalized_entropy(holed) == pytest.approx(normalized_entropy(weights), rel=1e-12)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_rows_that_the_mask_hides_are_left_out_whatever_they_hold(name):
    """A finite stand-in for minus infinity leaves such a row uniform; it must not count as attention."""
    mask = CONVENTIONS[name].clone()
    mask[3] = 0 if mask.max() >= 1 else -torch.inf
    weights = uniform_weights(mask)
    assert (weights[3] == 0).all()
    leaking = weights.clone()
    leaking[3] = 1 / 5
    expected = analyze_attention_patterns(weights)
    assert (
        analyze_attention_patterns(leaking, mask=mask)
        == expected
        == baseline_patterns(mask) | {key: pytest.approx(value) for key, value in expected.items()}
    )
    assert analyze_attention_patterns(leaking)["entropy"] > expected["entropy"]
    assert normalized_entropy(leaking, mask) == pytest.approx(1)


def test_uniform_weights_follow_the_mask():
    padding = create_padding_mask([0, 2, 5], 5)
    weights = uniform_weights(padding, (3, 7, 5))
    assert weights.shape == (3, 7, 5)
    assert (weights[0] == 0).all()
    assert torch.equal(weights[1], torch.tensor([0.5, 0.5, 0, 0, 0]).expand(7, 5))
    assert torch.equal(weights[2], torch.full((7, 5), 1 / 5))
    assert torch.equal(uniform_weights(shape=(2, 3, 5)), torch.full((2, 3, 5), 1 / 5))
    band = uniform_weights(create_window_mask(7, 2), dtype=torch.float64)
    assert band.dtype == torch.float64
    assert torch.equal((band > 0).sum(-1), torch.tensor([3, 4, 5, 5, 5, 4, 3]))
    bias = torch.tensor([[3.0, -2.0, -torch.inf]])
    assert torch.equal(uniform_weights(bias), torch.tensor([[0.5, 0.5, 0.0]]))  # what is added is no part of the mask


def test_entropy_s_gradient_is_the_formula_s_and_never_nan():
    """dH/da_j = −log a_j − 1 where there is weight; where there is none, nothing flows."""
    weights = softmax_of(3, 5)
    weights[0] = torch.eye(5)[2]
    weights[1] = 0
    weights.requires_grad_()
    row_entropy(weights).sum().backward()
    held = weights.detach() > 0
    torch.testing.assert_close(weights.grad[held], -torch.log(weights.detach()[held]) - 1)
    assert (weights.grad[~held] == 0).all()


def test_entropy_differentiates_through_a_masked_softmax():
    scores = normal(5, 5)
    mask = create_causal_mask(5) + torch.zeros(5, 1).index_fill(0, torch.tensor([2]), -torch.inf)
    function = lambda s: row_entropy(stable_softmax(s + mask))
    assert torch.autograd.gradcheck(function, (scores,))
    (grad,) = torch.autograd.grad(function(scores).sum(), scores)
    assert (grad[:, -1][:-1] == 0).all()
    assert (grad[2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_low_precision_is_added_up_in_float32(dtype):
    weights = softmax_of(31, 1009).to(dtype)
    entropy = row_entropy(weights)
    assert entropy.dtype == torch.float32
    torch.testing.assert_close(entropy.double(), torch.special.entr(weights.double()).sum(-1), rtol=1e-5, atol=0)
    found, right = analyze_attention_patterns(weights), analyze_attention_patterns(softmax_of(31, 1009))
    assert found == pytest.approx(right, rel=2 * torch.finfo(dtype).eps)


def test_weights_are_left_alone_and_may_carry_a_graph():
    weights = torch.softmax(normal(2, 5, 5), -1)
    kept = weights.detach().clone()
    found = analyze_attention_patterns(weights.transpose(0, 1).contiguous().transpose(0, 1))
    assert found == analyze_attention_patterns(kept)
    assert torch.equal(weights, kept)


def test_a_row_that_rounds_above_one_has_no_negative_entropy():
    assert float(row_entropy(torch.tensor([1.0000001, 0.0]))) == 0


BAD_ROW = "attention_weights must have rows that sum to one or to zero, got"


@pytest.mark.parametrize("function", [analyze_attention_patterns, normalized_entropy, row_entropy])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[1.0]], "attention_weights must be a floating-point tensor, got list."),
        (torch.eye(2, dtype=torch.int64), "attention_weights must be a floating-point tensor, got torch.int64."),
        (torch.tensor([[math.nan, 1.0]]), "attention_weights must be numbers, got NaN."),
        (torch.tensor([[1.5, -0.5]]), "attention_weights must not be negative, got -0.5."),
        (torch.tensor([[0.5, 0.5], [0.5, 0.25]]), f"{BAD_ROW} 0.75."),
        (torch.tensor([[0.5, 0.501]], dtype=torch.float64), f"{BAD_ROW} 1.001."),
        (torch.tensor([[0.5, 0.6]], dtype=torch.bfloat16), f"{BAD_ROW} 1.102."),
        (torch.tensor([[math.inf, 0.0]]), f"{BAD_ROW} inf."),
    ],
)
def test_what_is_no_weight_gets_one_sentence(function, weights, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: analyze_attention_patterns(torch.ones(1)),
            "attention_weights must have shape [..., queries, keys], none of them 0, got [1].",
        ),
        (
            lambda: analyze_attention_patterns(torch.ones(2, 0, 3)),
            "attention_weights must have shape [..., queries, keys], none of them 0, got [2, 0, 3].",
        ),
        (
            lambda: row_entropy(torch.tensor(1.0)),
            "attention_weights must have shape [..., keys], none of them 0, got [].",
        ),
        (
            lambda: analyze_attention_patterns(torch.zeros(3, 5)),
            "attention_weights must hold some weight, got zeros throughout.",
        ),
        (
            lambda: analyze_attention_patterns(torch.full((2, 3, 5), 0.2), mask=torch.ones(3, 5).tril(2)),
            "attention_weights must be zero where the mask blocks, got 0.2 at [0, 0, 3].",
        ),
        (
            lambda: normalized_entropy(torch.eye(3), create_reverse_mask(5)),
            "mask must end in (queries, keys) = (3, 3), got shape [5, 5].",
        ),
        (
            lambda: analyze_attention_patterns(torch.eye(3), window=-1),
            "window must be an integer of at least 0, got -1.",
        ),
        (
            lambda: baseline_patterns(shape=(3, 3), window=1.0),
            "window must be an integer of at least 0, got 1.0.",
        ),
        (lambda: uniform_weights(), "uniform_weights needs a mask or a shape, got neither."),
        (lambda: uniform_weights(shape=(3,)), "shape must be [..., queries, keys], each at least 1, got [3]."),
        (lambda: baseline_patterns(shape=(3, 0)), "shape must be [..., queries, keys], each at least 1, got [3, 0]."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_same():
    weights, mask = uniform_weights(create_causal_mask(7)), create_causal_mask(7)
    expected = analyze_attention_patterns(weights, mask=mask)
    assert analyze_attention_patterns(weights.cuda(), mask=mask.cuda()) == pytest.approx(expected)
    assert uniform_weights(mask.cuda()).is_cuda
