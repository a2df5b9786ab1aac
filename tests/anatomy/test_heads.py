import re

import pytest
import torch
from foreign import foreign_defaults
from oracle import CAUSAL, normal, reference
from torch import nn

from surgeon import create_padding_mask
from surgeon.anatomy.cache import KeyValueCache
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


def test_a_batch_of_texts_shares_one_context():
    layer, texts, context = built(21, 3), normal(3, 5, 21), normal(13, 21)
    mask = normal(3, 5, 13, grad=False) > 0
    output, weights = layer(texts, context, mask)
    assert torch.equal(weights != 0, mask[:, None].expand(3, 3, 5, 13))
    torch.testing.assert_close(layer(texts, context[None], mask)[0], output)
    alone = torch.stack([layer(texts[b], context, mask[b])[0] for b in range(3)])
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
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
