"""A sink beside the keys: one more column of softmax, an empty part of the keys, and a layer's own."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from oracle import CAUSAL, normal
from torch import nn
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.groups import attend_in_groups
from surgeon.anatomy.heads import MultiHeadAttention, merge_heads, split_heads
from surgeon.anatomy.positions import Rotary
from surgeon.anatomy.sinks import share_of_keys
from surgeon.anatomy.softmax import stable_softmax
from surgeon.procedures.online import Partial, empty_partial, merge, partial_attention

SINKS = torch.tensor([0.5, -1.25, 3.0], dtype=torch.float64)


def built(**given):
    """Three query heads of width 14."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiHeadAttention(42, 3, **given).double()


def sunk(**given):
    """The same, whose sinks have learned something."""
    layer = built(sink=True, **given)
    with torch.no_grad():
        layer.sink.copy_(SINKS)
    return layer


def in_one_softmax(scores, sink):
    """PyTorch's softmax over a row and its sink, which is dropped."""
    row = torch.cat([scores, sink.expand(*scores.shape[:-1], 1)], -1)
    return row.softmax(-1)[..., :-1]


# The share


@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_a_row_and_its_share_are_one_softmax_over_one_more_column(masked):
    scores, sink = 3 * normal(2, 3, 5, 5), SINKS[:, None, None].clone().requires_grad_()
    rows = scores.masked_fill(~CAUSAL, -math.inf) if masked else scores
    ours, theirs = stable_softmax(rows) * share_of_keys(rows, sink), in_one_softmax(rows, sink)
    torch.testing.assert_close(ours, theirs)
    pull = normal(*ours.shape, seed=1, grad=False)
    gradients = (torch.autograd.grad((y * pull).sum(), (scores, sink), retain_graph=True) for y in (ours, theirs))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_its_gradient_is_that_of_its_finite_differences():
    scores, sink = normal(2, 3, 5), normal(2, 1, 1)
    assert torch.autograd.gradcheck(lambda s, b: stable_softmax(s) * share_of_keys(s, b), (scores, sink))


def test_a_sink_of_zero_adds_one_to_the_denominator():
    scores = normal(3, 5, grad=False)
    powers = scores.exp()
    plus_one = powers / (1 + powers.sum(-1, keepdim=True))
    torch.testing.assert_close(stable_softmax(scores) * share_of_keys(scores, torch.tensor(0.0)), plus_one)


@pytest.mark.parametrize("score", [1000.0, -1000.0])
def test_large_scores_neither_overflow_nor_vanish(score):
    scores = torch.full((1, 5), score)
    same = share_of_keys(scores, torch.tensor(score))
    torch.testing.assert_close(same, torch.tensor([[5 / 6]]), rtol=1e-3, atol=0.0)  # a thousand has few digits left
    assert float(share_of_keys(scores, torch.tensor(0.0))) == float(score > 0)


def test_a_row_that_sees_nothing_leaves_all_to_the_sink_and_passes_no_nan_back():
    scores = torch.full((1, 5), -math.inf, requires_grad=True)
    sink = torch.zeros(1, requires_grad=True)
    share = share_of_keys(scores, sink)
    assert (share == 0).all()
    gradients = torch.autograd.grad((share * stable_softmax(scores)).sum(), (scores, sink))
    assert all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    scores, sink = normal(3, 5, grad=False).to(dtype), torch.tensor(0.3, dtype=dtype)
    share = share_of_keys(scores, sink)
    assert share.dtype == torch.float32
    torch.testing.assert_close(share, share_of_keys(scores.float(), sink.float()))


def test_it_refuses_what_has_no_softmax():
    with pytest.raises(ValueError, match=r"^scores must be a floating-point tensor, got torch\.int64\.$"):
        share_of_keys(torch.zeros(3, 5, dtype=torch.int64), torch.tensor(0.0))
    with pytest.raises(ValueError, match=r"^scores must hold a number along axis -1, got shape \[3, 0\]\.$"):
        share_of_keys(torch.zeros(3, 0), torch.tensor(0.0))


# One more part of the keys, whose value is empty


@pytest.mark.parametrize("masked", [False, True], ids=["open", "with a row that sees nothing"])
def test_it_is_a_merge_with_an_empty_value(masked):
    Q, K, V, sink = normal(2, 5, 7), normal(2, 11, 7), normal(2, 11, 13), normal(2, 5)
    mask = torch.ones(5, 11, dtype=torch.bool)
    if masked:
        mask[1], mask[3, 4:] = False, False
    ours = attend(Q, K, V, torch.zeros(5, 11).double().masked_fill(~mask, -math.inf), sink=sink[..., None]).output
    part = partial_attention(Q, K, V, mask)
    merged = merge(part, Partial(torch.zeros_like(part.out), sink)).out
    torch.testing.assert_close(ours, merged)
    learned = (Q, K, V, sink)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), learned) for y in (ours, merged)), strict=True):
        torch.testing.assert_close(a, b)


def test_over_no_key_there_is_the_sink_alone():
    sunk = merge(empty_partial((3, 7)), Partial(torch.zeros(3, 7), torch.full((3,), -2.0)))
    assert (sunk.out == 0).all()
    assert (sunk.lse == -2).all()


# The layer


@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_a_layer_does_what_the_formula_says(masked):
    layer, x, mask = sunk(), normal(2, 5, 42), CAUSAL if masked else None
    output, weights = layer(x, mask=mask)
    Q, K, V = (split_heads(W(x), 3) for W in (layer.W_Q, layer.W_K, layer.W_V))
    scores = Q @ K.mT / 14**0.5
    scores = scores.masked_fill(~CAUSAL, -math.inf) if masked else scores
    expected = in_one_softmax(scores, layer.sink[:, None, None])
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(output, layer.W_O(merge_heads(expected @ V)))
    learned = [x, *layer.parameters()]
    ours, theirs = (
        torch.autograd.grad(y.square().sum(), learned) for y in (output, layer.W_O(merge_heads(expected @ V)))
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_grouped_it_is_gpt_oss_s_attention(masked):
    class Oss(nn.Module):
        num_key_value_groups, training, sinks = 3, False, normal(6, grad=False)

    Q, K, V = normal(2, 6, 5, 7), normal(2, 2, 5, 7), normal(2, 2, 5, 7)
    mask = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -math.inf) if masked else None
    given = None if mask is None else mask[None, None]
    theirs, weights = eager_attention_forward(Oss(), Q, K, V, given, scaling=7**-0.5)
    ours, our_weights = attend_in_groups(Q, K, V, mask, sink=Oss.sinks)
    torch.testing.assert_close(our_weights, weights)
    torch.testing.assert_close(ours, theirs.transpose(1, 2))


def test_off_a_layer_is_what_it_was_and_on_it_draws_the_same():
    names = {f"W_{x}.{y}" for x in "QKVO" for y in ("weight", "bias")}
    plain = built().state_dict()
    assert set(plain) == set(built(sink=0.5).state_dict()) == names
    learned = built(sink=True).state_dict()
    assert set(learned) == names | {"sink"}
    assert (learned["sink"] == 0).all()
    assert all(torch.equal(learned[name], plain[name]) for name in names)
    assert built().sink is built(sink=False).sink is None
    assert built(sink=np.True_).sink.requires_grad


def test_a_low_sink_changes_nothing():
    x = normal(2, 5, 42)
    torch.testing.assert_close(built(sink=-60.0)(x), built()(x))


def test_a_fixed_one_goes_where_the_layer_goes_and_learns_nothing():
    layer = built(sink=-0.25)
    assert not layer.sink.requires_grad
    assert layer.sink.tolist() == [-0.25] * 3
    assert layer.sink.dtype == torch.float64
    assert layer.to("meta").sink.device.type == "meta"


def test_each_head_has_its_own():
    x, layer = normal(2, 5, 42), sunk()
    before = layer(x)[1]
    with torch.no_grad():
        layer.sink[1] += 1
    moved = (layer(x)[1] - before).abs().amax((0, 2, 3))
    assert moved[1] > 0.01
    assert (moved[[0, 2]] == 0).all()


@pytest.mark.parametrize("given", [{}, {"num_kv_heads": 1, "positions": Rotary()}], ids=["plain", "shared, turned"])
@torch.no_grad()
def test_token_by_token_it_is_what_it_is_at_once(given):
    layer, x = sunk(**given), normal(2, 5, 42, grad=False)
    cache = KeyValueCache(5)
    steps = [layer(x[:, t : t + 1], cache=cache)[0] for t in range(5)]
    torch.testing.assert_close(torch.cat(steps, 1), layer(x, mask=CAUSAL)[0])


def test_a_row_that_may_see_nothing_gives_zero_and_no_nan():
    layer, x = sunk(), normal(2, 5, 42)
    mask = CAUSAL.clone()
    mask[2] = False
    output, weights = layer(x, mask=mask)
    assert (weights[:, :, 2] == 0).all()
    torch.testing.assert_close(output[:, 2], layer.W_O.bias.expand(2, 42))
    gradients = torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])
    assert all(g.isfinite().all() for g in gradients)


def test_rows_that_want_nothing_are_taught_by_the_sink_alone():
    """Told to bring nothing, a layer raises its sinks."""
    layer, x = sunk(), normal(2, 5, 42, grad=False)
    weights = layer(x)[1]
    (gradient,) = torch.autograd.grad(weights.sum(), layer.sink)
    assert (gradient < 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_layer_in_half_precision_stays_in_it(dtype):
    layer, x = sunk(), normal(2, 5, 42, grad=False)
    output, weights = copy.deepcopy(layer).to(dtype)(x.to(dtype))
    assert output.dtype == weights.dtype == dtype
    torch.testing.assert_close(output.double(), layer(x)[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("sink", ["learned", math.inf, math.nan, torch.zeros(3)], ids=str)
def test_a_sink_is_true_false_or_a_number(sink):
    says = re.escape(f"sink must be True, False, a finite number or None, got {sink!r}.")
    with pytest.raises(ValueError, match=f"^{says}$"):
        MultiHeadAttention(42, 3, sink=sink)
