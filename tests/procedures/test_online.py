"""Partial results: what joins them is commutative and associative, and nothing is its identity."""

import itertools
import math
import re

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal, reference

from surgeon import create_causal_mask
from surgeon.anatomy.dot_product import attention
from surgeon.procedures.online import (
    Partial,
    empty_partial,
    merge,
    partial_attention,
)

T, S, D_K, D_V = 5, 13, 7, 11


def inputs(*lead):
    return normal(*lead, T, D_K, seed=1), normal(*lead, S, D_K, seed=2), normal(*lead, S, D_V, seed=3)


def parts(cuts, mask=None, lead=(2,)):
    """Attention over S keys, cut at these places; no place twice, or a part would have no key to be given."""
    Q, K, V = inputs(*lead)
    edges = [0, *cuts, S]
    pieces = []
    for i, j in itertools.pairwise(edges):
        seen = None if mask is None else mask[..., i:j]
        pieces.append(partial_attention(Q, K[..., i:j, :], V[..., i:j, :], seen))
    return (Q, K, V), pieces


def gradients(part, *tensors):
    """Both halves of the result pull at the inputs; a row with no key has no logarithm to pull with."""
    pull = (part.out * normal(*part.out.shape, grad=False)).sum()
    pull = pull + (part.lse * normal(*part.lse.shape, seed=9, grad=False))[part.lse > -torch.inf].sum()
    return torch.autograd.grad(pull, tensors, retain_graph=True)


def assert_same(a, b, tensors, tolerance=1e-13):
    torch.testing.assert_close(a.out, b.out, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(a.lse, b.lse, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(gradients(a, *tensors), gradients(b, *tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=10 * tolerance)


def test_all_keys_at_once_are_attention_and_its_denominator():
    Q, K, V = inputs(2)
    part = partial_attention(Q, K, V)
    torch.testing.assert_close(part.out, reference(Q, K, V), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(part.lse, torch.logsumexp(Q @ K.mT / math.sqrt(D_K), -1), rtol=1e-13, atol=0)
    assert torch.equal(part.out, attention(Q, K, V)[0])


def test_without_the_scale_the_denominator_is_of_the_bare_products():
    Q, K, V = inputs(2)
    part = partial_attention(Q, K, V, scale=False)
    torch.testing.assert_close(part.out, reference(Q, K, V, scale=False), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(part.lse, torch.logsumexp(Q @ K.mT, -1), rtol=1e-13, atol=0)


@pytest.mark.parametrize("cuts", [[1], [7], [2, 3, 11]], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["open", "rows-and-parts-blocked"])
def test_parts_merged_are_the_whole_values_and_gradients(cuts, masked):
    mask = torch.rand(T, S, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[2] = False  # a row with no key at all
    mask[3, :7] = False  # rows with none in some of the parts
    mask[4, 7:] = False
    mask = mask if masked else None
    tensors, pieces = parts(cuts, mask)
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = merge(joined, piece)
    assert_same(joined, partial_attention(*tensors, mask), tensors)


def test_merging_is_commutative():
    tensors, (a, b) = parts([4])
    assert_same(merge(a, b), merge(b, a), tensors, 1e-15)


@pytest.mark.parametrize("empty", [None, 0, 1, 2], ids=["all-full", "first-empty", "second-empty", "third-empty"])
def test_merging_is_associative(empty):
    tensors, pieces = parts([4, 9])
    if empty is not None:
        pieces[empty] = empty_partial(pieces[0].out.shape, dtype=torch.float64)
    a, b, c = pieces
    assert_same(merge(merge(a, b), c), merge(a, merge(b, c)), tensors)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_empty_part_is_the_identity(side):
    tensors, (a,) = parts([])
    nothing = empty_partial(a.out.shape, dtype=torch.float64)
    joined = merge(nothing, a) if side == "left" else merge(a, nothing)
    assert torch.equal(joined.out, a.out)
    torch.testing.assert_close(joined.lse, a.lse, rtol=1e-15, atol=1e-15)
    assert_same(joined, a, tensors, 1e-14)


def test_two_empty_parts_are_an_empty_part_and_pass_zeros_back():
    out, lse = normal(2, T, D_V), torch.full((2, T), -torch.inf, dtype=torch.float64, requires_grad=True)
    joined = merge(Partial(out, lse), empty_partial((2, T, D_V), dtype=torch.float64))
    assert (joined.out == 0).all()
    assert (joined.lse == -torch.inf).all()
    joined.out.sum().backward()
    assert (out.grad == 0).all()
    assert (lse.grad == 0).all()


def test_blocked_by_the_mask_and_never_given_are_the_same():
    Q, K, V = inputs(2)
    mask = torch.ones(T, S, dtype=torch.bool)
    mask[:, 6:] = False
    assert_same(partial_attention(Q, K, V, mask), partial_attention(Q, K[:, :6], V[:, :6]), (Q, K, V), 1e-14)


def test_derivatives_of_merge():
    a = Partial(normal(2, 3, seed=1), normal(2, seed=2))
    b = Partial(normal(2, 3, seed=3), normal(2, seed=4))
    function = lambda *four: tuple(merge(Partial(*four[:2]), Partial(*four[2:])))
    assert torch.autograd.gradcheck(function, (*a, *b))
    assert torch.autograd.gradgradcheck(function, (*a, *b))


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=7))
@settings(deadline=None)
def test_it_never_overflows_and_never_leaves_the_hull(lses):
    """One number a part: its average stays between the least and the greatest, however far the weights are apart."""
    outs = [float(i) for i in range(len(lses))]
    joined = empty_partial((1, 1), dtype=torch.float64)
    for out, lse in zip(outs, lses, strict=True):
        joined = merge(joined, Partial(torch.tensor([[out]]).double(), torch.tensor([lse]).double()))
    right = torch.tensor(lses).double()
    torch.testing.assert_close(joined.lse[0], torch.logsumexp(right, 0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        joined.out[0, 0], (torch.softmax(right, 0) * torch.tensor(outs).double()).sum(), rtol=1e-10, atol=1e-10
    )
    assert -1e-12 <= float(joined.out) <= outs[-1] * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_precisions(dtype):
    part = partial_attention(*(x.to(dtype) for x in inputs()))
    joined = merge(part, empty_partial(part.out.shape, dtype=dtype))
    assert joined.out.dtype == part.out.dtype == dtype
    assert joined.lse.dtype == part.lse.dtype == torch.promote_types(dtype, torch.float32)
    with foreign_defaults():
        nothing = empty_partial((5, 3), dtype=dtype)
    assert nothing.out.dtype == dtype
    assert nothing.lse.dtype == part.lse.dtype
    assert nothing.out.device == nothing.lse.device == part.out.device
    assert {x.device.type for x in empty_partial((5, 3), dtype=dtype, device="meta")} == {"meta"}


def test_a_causal_row_can_be_read_from_the_right():
    """Any order of the parts will do."""
    Q, K, V = normal(S, D_K, seed=1), normal(S, D_K, seed=2), normal(S, D_V, seed=3)
    mask = create_causal_mask(S)
    joined = empty_partial((S, D_V), dtype=torch.float64)
    for j in reversed(range(S)):
        joined = merge(joined, partial_attention(Q, K[j : j + 1], V[j : j + 1], mask[:, j : j + 1]))
    torch.testing.assert_close(joined.out, attention(Q, K, V, mask)[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((5, 3), (5, 2), "a and b must have outputs of one shape, got [5, 3] and [5, 2]."),
        ((5, 3), (7, 3), "a and b must have outputs of one shape, got [5, 3] and [7, 3]."),
    ],
)
def test_parts_of_different_queries_do_not_merge(a, b, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        merge(empty_partial(a), empty_partial(b))


def test_an_output_without_its_own_denominators_does_not_merge():
    good = empty_partial((5, 3))
    bad, said = (
        Partial(good.out, torch.zeros(3)),
        "must have the shape of {}.out without its last axis, got [3] and [5, 3].",
    )
    for name, pair in {"a": (bad, good), "b": (good, bad)}.items():
        with pytest.raises(ValueError, match=f"^{re.escape(f'{name}.lse {said.format(name)}')}$"):
            merge(*pair)
