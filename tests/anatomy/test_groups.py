import re

import pytest
import torch
from oracle import normal, reference
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon import attention, create_padding_mask
from surgeon.anatomy.dot_product import read_mask
from surgeon.anatomy.groups import fold, for_each_head, grouped_attention


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
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
