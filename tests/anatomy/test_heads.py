import re

import pytest
import torch
from foreign import foreign_defaults
from oracle import CAUSAL, normal, reference
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon import attention, create_padding_mask
from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.dot_product import read_mask
from surgeon.anatomy.groups import fold, for_each_head, grouped_attention
from surgeon.anatomy.heads import (
    MultiHeadAttention,
    merge_heads,
    split_heads,
)


def built(*args, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiHeadAttention(*args, **options).double()


def test_head_h_holds_its_own_columns_of_every_token():
    x = normal(2, 5, 21, grad=False)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 7)
    for h in range(3):
        assert torch.equal(heads[:, h], x[..., 7 * h : 7 * h + 7])
    assert torch.equal(merge_heads(heads), x)
    assert split_heads(x[0], 3).shape == (3, 5, 7)


def test_a_view_instead_of_a_transpose_would_mix_tokens():
    """The shipped bug: the same shape, other numbers."""
    x = normal(2, 5, 21, grad=False)
    assert not torch.equal(x.view(2, 3, 5, 7), split_heads(x, 3))


@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_multi_head_is_pytorch_s_module(masked):
    ours, theirs = built(21, 3), nn.MultiheadAttention(21, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.W_Q.weight, ours.W_K.weight, ours.W_V.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.W_Q.bias, ours.W_K.bias, ours.W_V.bias]))
        theirs.out_proj.load_state_dict(ours.W_O.state_dict())
    x = normal(2, 5, 21)
    output, weights = ours(x, mask=CAUSAL if masked else None)
    expected, expected_weights = theirs(x, x, x, attn_mask=~CAUSAL if masked else None, average_attn_weights=False)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)
    (ours_grad,) = torch.autograd.grad(output.square().sum(), x)
    (theirs_grad,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(ours_grad, theirs_grad)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_neighbouring_heads_share_keys_and_values(num_kv_heads):
    layer, x = built(42, 6, num_kv_heads=num_kv_heads), normal(2, 5, 42)
    output, weights = layer(x)
    assert weights.shape == (2, 6, 5, 5)
    assert layer.W_K.weight.shape == layer.W_V.weight.shape == (7 * num_kv_heads, 42)
    Q, K, V = layer.W_Q(x), layer.W_K(x), layer.W_V(x)
    heads = []
    for h in range(6):
        shared = h * num_kv_heads // 6
        k, v = (z[..., 7 * shared : 7 * shared + 7] for z in (K, V))
        heads.append(reference(Q[..., 7 * h : 7 * h + 7], k, v))
    torch.testing.assert_close(output, layer.W_O(torch.cat(heads, -1)))


def grouped(num_kv_heads, *lead, T=5, S=13):
    return (
        normal(*lead, 6, T, 7, seed=1),
        normal(*lead, num_kv_heads, S, 7, seed=2),
        normal(*lead, num_kv_heads, S, 11, seed=3),
    )


def repeated(Q, K, V, *rest, **options):
    """What grouped attention is, keys and values copied for each head."""
    group = Q.shape[-3] // K.shape[-3]
    return attention(Q, K.repeat_interleave(group, -3), V.repeat_interleave(group, -3), *rest, **options)


GROUP_MASKS = {
    "none": None,
    "one": normal(5, 13, grad=False) > 0,
    "one for every query": normal(1, 13, grad=False) > 0,
    "per sequence": normal(2, 1, 5, 13, grad=False) > 0,
    "padding": create_padding_mask([3, 13], 13)[:, None],
    "per head": normal(2, 6, 5, 13, grad=False) > 0,
    "per head, every query": normal(2, 6, 1, 13, grad=False) > 0,
    "additive": normal(6, 5, 13, grad=False).float(),
    "zero-one": (normal(5, 13, grad=False) > 0).half(),
    "nothing": torch.zeros(5, 13, dtype=torch.bool),
    "nearly zero-one": torch.eye(5, 13, dtype=torch.float64) * (1 + 1e-12),  # additive, until it is rounded
}


@pytest.mark.parametrize("name", GROUP_MASKS)
@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_folding_the_group_into_the_queries_is_repeating_the_keys(num_kv_heads, name):
    inputs, mask = grouped(num_kv_heads, 2), GROUP_MASKS[name]
    output, weights = grouped_attention(*inputs, mask)
    expected, expected_weights = repeated(*inputs, mask)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-13)
    weight = normal(*output.shape, grad=False)
    ours = torch.autograd.grad((output * weight).sum(), inputs)
    theirs = torch.autograd.grad((expected * weight).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "shape"), [("one", (1, 15, 13)), ("per sequence", (2, 1, 15, 13)), ("per head", (2, 2, 15, 13))]
)
def test_a_mask_grows_no_more_than_by_the_group(name, shape):
    Q, K, _ = grouped(2, 2)
    bias = read_mask(GROUP_MASKS[name], Q, K[:, :1])
    assert fold(for_each_head(bias, 6, 3, 5), 3).shape == shape


def test_a_mask_keeps_its_own_precision():
    Q, K, V = (x.detach().float() for x in grouped(2, 2))
    mask = GROUP_MASKS["nearly zero-one"]
    torch.testing.assert_close(grouped_attention(Q, K, V, mask)[1], repeated(Q, K, V, mask)[1])
    assert (grouped_attention(Q, K, V, mask)[1] > 0).all()


@pytest.mark.parametrize(("lead_Q", "lead_K"), [((), ()), ((3, 2), (3, 2)), ((2,), ()), ((3, 2), (1, 2))])
def test_axes_before_the_heads_broadcast(lead_Q, lead_K):
    Q, (_, K, V) = grouped(2, *lead_Q)[0], grouped(2, *lead_K)
    for mask in (None, GROUP_MASKS["one"], GROUP_MASKS["additive"]):
        output, weights = grouped_attention(Q, K, V, mask)
        expected, expected_weights = repeated(Q, K, V, mask)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-13)


def test_options_go_through_and_dropout_draws_the_same():
    inputs = grouped(2, 2)
    options = lambda: {"scale": False, "dropout": 0.5, "generator": torch.Generator().manual_seed(0)}
    output, weights = grouped_attention(*inputs, **options())
    expected, expected_weights = repeated(*inputs, **options())
    assert (weights == 0).any()
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-13)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 3, 6])
def test_only_heads_that_are_all_shared_or_all_their_own_survive_the_wrong_order(num_kv_heads):
    """`repeat` for `repeat_interleave`: the right shapes, and other heads."""
    (Q, K, V), group = grouped(num_kv_heads, 2), 6 // num_kv_heads
    output, _ = grouped_attention(Q, K, V)
    by_loop = torch.stack([reference(Q[:, h], K[:, h // group], V[:, h // group]) for h in range(6)], 1)
    torch.testing.assert_close(output, by_loop, rtol=0, atol=1e-13)
    turns, _ = attention(Q, K.repeat(1, group, 1, 1), V.repeat(1, group, 1, 1))
    same = (turns - output).abs().amax((0, 2, 3)) < 1e-12
    assert same.tolist() == [h // group == h % num_kv_heads for h in range(6)]
    assert same.all() == (num_kv_heads in (1, 6))


class Largest(TorchDispatchMode):
    """The most numbers in any tensor that is newly made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in given:
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_no_key_is_copied(num_kv_heads):
    """One query to each head: all that is made is far smaller than the keys."""
    Q, K, V = (x.detach() for x in grouped(num_kv_heads, 2, T=1, S=101))
    with Largest() as ours:
        grouped_attention(Q, K, V, torch.ones(1, 101, dtype=torch.bool))
    assert ours.numbers == 2 * 6 * 101  # the scores
    with Largest() as theirs:
        repeated(Q, K, V)
    assert theirs.numbers >= (2 * 6 * 101 * 11 if num_kv_heads < 6 else 0)


def test_cross_attention_looks_at_the_context():
    layer, x, context = built(21, 3), normal(2, 5, 21), normal(2, 13, 21)
    output, weights = layer(x, context)
    assert output.shape == (2, 5, 21)
    assert weights.shape == (2, 3, 5, 13)
    other, _ = layer(x, context[:, torch.randperm(13, generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(other, output)
    assert not torch.allclose(layer(x)[0], output)


def test_masks_for_all_for_a_sequence_and_for_a_head():
    layer, x = built(21, 3), normal(3, 5, 21)  # as many sequences as heads: the axes could be confused
    padding = create_padding_mask([1, 3, 5], 5)
    _, weights = layer(x, mask=padding)
    assert torch.equal(weights != 0, padding[:, None].expand(3, 3, 5, 5))
    per_head = torch.ones(3, 3, 5, 5, dtype=torch.bool)
    per_head[:, 1] = CAUSAL
    _, weights = layer(x, mask=per_head)
    assert torch.equal(weights != 0, per_head)
    _, weights = layer(x[0], mask=CAUSAL)
    assert torch.equal(weights != 0, CAUSAL.expand(3, 5, 5))
    _, weights = layer(x[0], mask=per_head[0])
    assert torch.equal(weights != 0, per_head[0])


def test_a_batch_of_contexts_serves_one_text():
    """The scores have the axes of both; a mask for each context is one for each sequence."""
    layer, x, contexts = built(21, 3), normal(1, 5, 21), normal(3, 13, 21)
    lengths = create_padding_mask([1, 7, 13], 13)
    output, weights = layer(x, contexts, lengths)
    assert torch.equal(weights != 0, lengths[:, None].expand(3, 3, 5, 13))
    torch.testing.assert_close(layer(x[0], contexts, lengths)[0], output)
    alone = torch.stack([layer(x[0], contexts[b, :n])[0] for b, n in enumerate([1, 7, 13])])
    torch.testing.assert_close(output, alone)


def test_dropout_works_while_training_alone():
    layer, x = built(21, 3, dropout=0.5), normal(2, 5, 21)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert (layer.train()(x)[1] == 0).any()
    _, weights = layer.eval()(x)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))


def test_without_the_scale_scores_are_larger_by_the_root_of_the_head_s_width():
    layer, x = built(21, 3), normal(2, 5, 21)
    _, scaled = layer(x)
    without = built(21, 3, scale=False)
    without.load_state_dict(layer.state_dict())
    _, unscaled = without(x)
    log_ratio = lambda a: (a / a[..., :1]).log()
    torch.testing.assert_close(log_ratio(unscaled), log_ratio(scaled) * 7**0.5)


@torch.no_grad()
def test_a_cached_layer_works_where_its_tokens_are_whatever_the_defaults():
    layer, x, cache = built(21, 3), normal(2, 5, 21), KeyValueCache(5)
    expected, _ = layer(x, mask=CAUSAL)
    with foreign_defaults():
        first, _ = layer(x[:, :3], cache=cache)
        then, _ = layer(x[:, 3:], mask=CAUSAL[3:], cache=cache)
    torch.testing.assert_close(torch.cat([first, then], 1), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: split_heads(torch.ones(5, 7), 7.0),
            "num_heads must be a positive integer that divides the width (7), got 7.0.",
        ),
        (
            lambda: split_heads(torch.ones(5, 7), True),
            "num_heads must be a positive integer that divides the width (7), got True.",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(5, 21), mask=torch.ones(7, 5)),
            "mask must end in (queries, keys) = (5, 5), got shape [7, 5].",
        ),
        (
            lambda: split_heads(torch.ones(5, 7), 2),
            "num_heads must be a positive integer that divides the width (7), got 2.",
        ),
        (
            lambda: split_heads(torch.ones(5, 7), 0),
            "num_heads must be a positive integer that divides the width (7), got 0.",
        ),
        (
            lambda: merge_heads(torch.ones(5, 7)),
            "x must have at least three axes (heads, sequence, width), got shape [5, 7].",
        ),
        (
            lambda: MultiHeadAttention(21, 2),
            "num_heads must be a positive integer that divides d_model (21), got 2.",
        ),
        (
            lambda: MultiHeadAttention(21, 3, num_kv_heads=2),
            "num_kv_heads must be a positive integer that divides num_heads (3), got 2.",
        ),
        (
            lambda: MultiHeadAttention(21, 3, dropout=1.5),
            "dropout must be a probability in [0, 1), got 1.5.",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(5, 7)),
            "x must have shape [..., tokens, d_model = 21], got [5, 7].",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), torch.ones(2, 5, 7)),
            "context must have shape [..., tokens, d_model = 21], got [2, 5, 7].",
        ),
        (
            lambda: MultiHeadAttention(42, 6, num_kv_heads=2)(torch.ones(2, 5, 42), mask=torch.ones(15, 5)),
            "mask must end in (queries, keys) = (5, 5), got shape [15, 5].",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), torch.ones(3, 5, 21)),
            "x and context must have leading axes that broadcast, got [2] and [3].",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 0, 21)),
            "x must hold at least one token of width at least 1, got shape [2, 0, 21].",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), torch.ones(2, 5, 21).int()),
            "context must be a floating-point tensor, got torch.int32.",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), mask=torch.ones(7, 5, 5)),
            "mask must broadcast over the leading axes [2] of the scores, got shape [7, 5, 5].",
        ),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), mask=torch.ones(2, 7, 5, 5)),
            "mask must broadcast over the leading axes [2, 3] of the scores, got shape [2, 7, 5, 5].",
        ),
        (lambda: MultiHeadAttention(0, 3), "d_model must be an integer of at least 1, got 0."),
        (lambda: MultiHeadAttention(21.0, 3), "d_model must be an integer of at least 1, got 21.0."),
        (
            lambda: MultiHeadAttention(21, 3)(torch.ones(2, 5, 21), mask=[[1]]),
            "mask must be a boolean, integer or floating tensor, got list.",
        ),
        (
            lambda: grouped_attention(torch.ones(5, 7), torch.ones(2, 5, 7), torch.ones(2, 5, 7)),
            "Q must be a tensor [..., heads, sequence, width], got shape [5, 7].",
        ),
        (
            lambda: grouped_attention(torch.ones(2, 5, 7), [], torch.ones(2, 5, 7)),
            "K must be a tensor [..., heads, sequence, width], got list.",
        ),
        (
            lambda: grouped_attention(torch.ones(6, 5, 7), torch.ones(2, 5, 7), torch.ones(3, 5, 7)),
            "K and V must have as many heads as each other, got 2 and 3.",
        ),
        (
            lambda: grouped_attention(torch.ones(0, 5, 7), torch.ones(2, 5, 7), torch.ones(2, 5, 7)),
            "K must have a number of heads that divides Q's (0), got 2.",
        ),
        (
            lambda: grouped_attention(torch.ones(2, 5, 7), torch.ones(0, 5, 7), torch.ones(0, 5, 7)),
            "K must have a number of heads that divides Q's (2), got 0.",
        ),
        (
            lambda: grouped_attention(torch.ones(6, 5, 7), torch.ones(2, 0, 7), torch.ones(2, 0, 7)),
            "K must hold at least one token of width at least 1, got shape [2, 0, 7].",
        ),
        (
            lambda: grouped_attention(torch.ones(6, 5, 7), torch.ones(2, 5, 3), torch.ones(2, 5, 7)),
            "Q and K must share their last axis (d_k), got 7 and 3.",
        ),
        (
            lambda: grouped_attention(torch.ones(6, 5, 7), torch.ones(2, 5, 7), torch.ones(2, 5, 7).double()),
            "Q, K and V must share one dtype, got torch.float32, torch.float32 and torch.float64.",
        ),
        (
            lambda: grouped_attention(torch.ones(6, 5, 7), torch.ones(2, 5, 7), torch.ones(2, 5, 7), dropout=1.0),
            "dropout must be a probability in [0, 1), got 1.0.",
        ),
        (
            lambda: grouped_attention(torch.ones(3, 5, 7), torch.ones(2, 5, 7), torch.ones(2, 5, 7)),
            "K must have a number of heads that divides Q's (3), got 2.",
        ),
        (
            lambda: grouped_attention(torch.ones(2, 3, 5, 7), torch.ones(5, 3, 5, 7), torch.ones(5, 3, 5, 7)),
            "Q, K and V must have axes before the heads that broadcast, got [2], [5], [5].",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
