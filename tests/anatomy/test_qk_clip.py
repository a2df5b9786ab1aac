"""Clipping a head's weights by its largest score multiplies its scores, and no other head's."""

import re

import pytest
import torch
from oracle import normal

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.heads import MultiHeadAttention, split_heads
from surgeon.anatomy.qk_clip import clip_heads


def built(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiHeadAttention(42, 6, **options).double()


@torch.no_grad()
def scores_of(layer, x):
    """Scaled scores, [B, H, T, T]."""
    Q = split_heads(layer.W_Q(x), 6)
    K = split_heads(layer.W_K(x), layer.num_kv_heads).repeat_interleave(6 // layer.num_kv_heads, -3)
    if layer.qk_norm is not None:
        Q, K = layer.qk_norm(Q, K)
    return dissect(Q, K, K, scale=layer.scale).scaled


@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 2}, {"num_kv_heads": 1}, {"temperature": True}], ids=str)
def test_a_head_s_scores_shrink_to_the_threshold_and_no_other_s(options):
    layer, x = built(**options), 5 * normal(2, 13, 42, grad=False)
    before = scores_of(layer, x)
    largest = before.amax((0, 2, 3))
    threshold = float(largest.sort().values[2:4].mean())  # three of the six heads exceed it
    factors = clip_heads(layer, largest, threshold)
    assert int((factors < 1).sum()) == 3
    after = scores_of(layer, x)
    torch.testing.assert_close(after, before * factors[:, None, None])
    torch.testing.assert_close(after.amax((0, 2, 3)), largest.clamp(max=threshold))


def test_queries_and_keys_share_the_factor_weight_and_bias():
    layer, before = built(), built()
    clip_heads(layer, [1.0, 80.0, 1.0, 1.0, 1.0, 1.0], 20.0)
    for mine, its in ((layer.W_Q, before.W_Q), (layer.W_K, before.W_K)):
        for ours, theirs in ((mine.weight, its.weight), (mine.bias, its.bias)):
            torch.testing.assert_close(ours[7:14], 0.5 * theirs[7:14])  # the root of a quarter
            assert torch.equal(ours[:7], theirs[:7])
            assert torch.equal(ours[14:], theirs[14:])
    for mine, its in ((layer.W_V, before.W_V), (layer.W_O, before.W_O)):
        assert torch.equal(mine.weight, its.weight)


def test_where_heads_share_keys_the_keys_stay():
    layer, before = built(num_kv_heads=2), built(num_kv_heads=2)
    clip_heads(layer, [1.0, 80.0, 1.0, 1.0, 1.0, 1.0], 20.0)
    assert torch.equal(layer.W_K.weight, before.W_K.weight)
    torch.testing.assert_close(layer.W_Q.weight[7:14], 0.25 * before.W_Q.weight[7:14])


def test_below_the_threshold_nothing_moves():
    """Scores below zero, or none at all, are no reason to."""
    layer, before = built(), built()
    factors = clip_heads(layer, torch.tensor([-torch.inf, -9.0, 0.0, 3.0, 19.0, 20.0]), 20.0)
    assert (factors == 1).all()
    for ours, theirs in zip(layer.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_factors_are_at_least_float32(dtype):
    layer = built().to(dtype)
    factors = clip_heads(layer, [30.0] * 6, 20.0)
    assert factors.dtype == torch.float32
    assert layer.W_Q.weight.dtype == dtype
    torch.testing.assert_close(factors, torch.full((6,), 2 / 3))


@pytest.mark.parametrize(
    ("options", "largest", "threshold", "message"),
    [
        (
            {"qk_norm": "rms"},
            [1.0] * 6,
            20.0,
            "layer must not normalise its queries and keys, which would undo the factor, got qk_norm='rms'.",
        ),
        ({}, [1.0, 2.0], 20.0, "largest must hold one finite number for each of 6 heads, got [1.0, 2.0]."),
        (
            {},
            [1.0, 2.0, torch.nan, 4.0, 5.0, 6.0],
            20.0,
            "largest must hold one finite number for each of 6 heads, got [1.0, 2.0, nan, 4.0, 5.0, 6.0].",
        ),
        (
            {},
            [torch.inf] * 6,
            20.0,
            "largest must hold one finite number for each of 6 heads, got [inf, inf, inf, inf, inf, inf].",
        ),
        ({}, [1.0] * 6, 0.0, "threshold must be a positive, finite number, got 0.0."),
    ],
    ids=["normalised", "too few", "NaN", "infinite", "threshold"],
)
def test_bad_input_is_refused_and_nothing_moves(options, largest, threshold, message):
    layer, before = built(**options), built(**options)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clip_heads(layer, largest, threshold)
    assert torch.equal(layer.W_Q.weight, before.W_Q.weight)
