"""Tiles give what the whole matrix gives: values, gradients, rows without a key, whatever the tiles are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CONVENTIONS, budget, normal, reference
from tensors import inputs, lower
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon.anatomy.dot_product import attention
from surgeon.procedures import tile_loops
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.online import (
    Partial,
    empty_partial,
    merge,
    partial_attention,
)

SIZES = [(1, 1), (5, 5), (13, 13), (3, 7), (7, 3), (23, 11)]


def pull(part):
    """A number that depends on every entry of the output and of the log-sum-exp, rows without a key left out."""
    seen = part.lse > -torch.inf
    out = (part.out * normal(*part.out.shape, grad=False).to(part.out.dtype)).sum()
    return out + (part.lse * normal(*part.lse.shape, seed=9, grad=False).to(part.lse.dtype))[seen].sum()


def assert_same(ours, theirs, tensors, tolerance=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    pairs = zip(torch.autograd.grad(pull(ours), tensors), torch.autograd.grad(pull(theirs), tensors), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# The same as the whole matrix


@pytest.mark.parametrize("causal", [False, True], ids=["open", "causal"])
@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize(("T", "S"), SIZES)
@pytest.mark.parametrize("size", [1.0, 50.0], ids=["small-scores", "large-scores"])
def test_tiles_are_attention_values_and_gradients(T, S, scale, causal, size):
    """Large scores need the running maximum, small ones do without; (7, 3) and (23, 11) leave rows without a key."""
    Q, K, V = inputs(2, T=T, S=S, size=size)
    ours = flash_attention(Q, K, V, scale=scale, causal=causal, block_q=4, block_k=3, return_lse=True)
    theirs = partial_attention(Q, K, V, lower(T, S) if causal else None, scale)
    assert_same(ours, theirs, (Q, K, V), 1e-11)
    assert not causal or T <= S or (ours.out[:, : T - S] == 0).all()


def test_both_ways_through_the_scores_are_tried():
    """The test above would be half as good if its large scores were small."""
    for size, small in [(1.0, True), (50.0, False)]:
        Q, K, V = (x.detach() for x in inputs(2, size=size))
        assert tile_loops.scores_are_small(Q, K, V, None, 1 / math.sqrt(7)) is small


@pytest.mark.parametrize(
    "mask", [None, torch.zeros(13, 13), torch.full((13, 13), torch.nan)], ids=["none", "add", "nan"]
)
def test_scores_are_small_only_where_that_is_certain(mask):
    """Numbers to add are scores as well, and of NaN nothing is certain."""
    Q, K, V = (x.detach() for x in inputs(2))
    assert tile_loops.scores_are_small(Q, K, V, mask, 0.1) is (mask is None)
    assert not tile_loops.scores_are_small(Q * torch.nan, K, V, None, 0.1)
    assert not tile_loops.scores_are_small(Q, K, V * 1e30, None, 0.1)
    assert float((Q @ K.mT).abs().max()) * 0.1 <= tile_loops.SMALL


def test_it_is_pytorch_s_attention():
    Q, K, V = inputs(2, 3, S=17)
    expected = reference(Q, K, V)
    ours = flash_attention(Q, K, V, block_q=5, block_k=7)
    torch.testing.assert_close(ours, expected, rtol=1e-13, atol=1e-13)
    Q, K, V = inputs(2, 3)
    torch.testing.assert_close(flash_attention(Q, K, V, causal=True), reference(Q, K, V, lower(13, 13)))


@given(
    T=st.integers(1, 17),
    S=st.integers(1, 17),
    block_q=st.integers(1, 19),
    block_k=st.integers(1, 19),
    causal=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_the_tiles_do_not_matter(T, S, block_q, block_k, causal, seed):
    Q, K, V = inputs(2, T=T, S=S)
    mask = torch.rand(2, T, S, generator=torch.Generator().manual_seed(seed)) < 0.7
    ours = flash_attention(Q, K, V, mask, causal=causal, block_q=block_q, block_k=block_k, return_lse=True)
    theirs = flash_attention(Q, K, V, mask, causal=causal, block_q=99, block_k=99, return_lse=True)
    assert_same(ours, theirs, (Q, K, V))


# Masks


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
def test_every_mask_convention_blocks_alike(name, lead):
    """In tiles of 2 by 2 a 0/1 mask has a tile of zeros, which by itself would read as numbers to add."""
    Q, K, V = inputs(*lead, T=5, S=5)
    ours = flash_attention(Q, K, V, CONVENTIONS[name], block_q=2, block_k=2, return_lse=True)
    assert_same(ours, partial_attention(Q, K, V, CONVENTIONS[name]), (Q, K, V))


@pytest.mark.parametrize("shape", [(13, 17), (1, 17), (3, 13, 17), (3, 1, 17), (2, 1, 13, 17), (2, 3, 1, 17)], ids=str)
@pytest.mark.parametrize("kind", ["boolean", "numbers", "numbers-with-blocked"])
def test_masks_of_every_shape_and_the_gradient_of_numbers_to_add(shape, kind):
    Q, K, V = inputs(2, 3, S=17)
    mask = normal(*shape, seed=5, grad=False)
    if kind == "numbers-with-blocked":
        mask = mask.masked_fill(mask > 0.5, -torch.inf)
    mask = mask > -0.5 if kind == "boolean" else mask.requires_grad_()
    tensors = (Q, K, V) if kind == "boolean" else (Q, K, V, mask)
    ours = flash_attention(Q, K, V, mask, causal=True, block_q=5, block_k=4, return_lse=True)
    blocked = torch.zeros(13, 17, dtype=torch.float64).masked_fill(~lower(13, 17), -torch.inf)
    if kind == "boolean":
        theirs = partial_attention(Q, K, V, mask & lower(13, 17))
    else:
        theirs = partial_attention(Q, K, V, mask + blocked)
    assert_same(ours, theirs, tensors)


def test_rows_and_tiles_with_no_key_are_zero_and_pass_no_nan_back():
    Q, K, V = inputs(2)
    mask = torch.ones(13, 13, dtype=torch.bool)
    mask[:5] = False  # the first block of rows entirely, and a row of the second
    part = flash_attention(Q, K, V, mask, block_q=4, block_k=4, return_lse=True)
    assert (part.out[:, :5] == 0).all()
    assert (part.lse[:, :5] == -torch.inf).all()
    grads = torch.autograd.grad(part.out.sum() + part.lse.exp().sum(), (Q, K, V))
    assert all(g.isfinite().all() for g in grads)
    assert (grads[0][:, :5] == 0).all()


@pytest.mark.parametrize("careful", [False, True], ids=["small-scores", "large-scores"])
def test_not_one_key_for_anybody(careful):
    Q, K, V = inputs(2, size=50.0 if careful else 1.0)
    out = flash_attention(Q, K, V, torch.zeros(13, 13, dtype=torch.bool), block_q=4, block_k=4)
    assert (out == 0).all()
    assert all((g == 0).all() for g in torch.autograd.grad(out.sum(), (Q, K, V)))


# What it does not do


class Products(TorchDispatchMode):
    """Counts the matrix products of a run, and the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.products += "bmm" in str(func)
        sizes = [x.numel() for x in (result if isinstance(result, tuple | list) else [result]) if torch.is_tensor(x)]
        self.largest = max([self.largest, *sizes])
        return result


def count(**options):
    """Products forward, then backward, and the largest tensor, for 8 by 8 blocks of 4 tokens."""
    Q, K, V = inputs(2, T=32, S=32, d_k=3, d_v=5)
    with Products() as forward:
        out = flash_attention(Q, K, V, block_q=4, block_k=4, **options)
    with Products() as backward:
        torch.autograd.grad(out.sum(), (Q, K, V))
    return forward.products, backward.products, max(forward.largest, backward.largest)


def test_tiles_that_are_blocked_entirely_are_skipped():
    """Two products a tile forward, five backward."""
    assert count()[:2] == (2 * 64, 5 * 64)
    assert count(causal=True)[:2] == (2 * 36, 5 * 36)
    band = torch.ones(32, 32, dtype=torch.bool).tril().triu(-3)  # blocks on the diagonal and below it
    assert count(mask=band)[:2] == (2 * 15, 5 * 15)


def test_nothing_of_the_size_of_queries_by_keys_is_ever_made():
    """The largest tensors are the inputs themselves, and room for two tiles."""
    assert count()[2] == count(causal=True)[2] == max(2 * 32 * 5, 2 * 2 * 4 * 4)
    assert 2 * 32 * 5 < 32 * 32


def test_the_inputs_are_left_alone_and_need_not_be_contiguous():
    Q, K, V = inputs(2, T=5, S=7)
    before = [x.detach().clone() for x in (Q, K, V)]
    strided = [x.mT.contiguous().mT for x in (Q, K, V)]
    out = flash_attention(*strided, block_k=3)
    torch.testing.assert_close(out, attention(Q, K, V)[0])
    grads = torch.autograd.grad(out.sum(), (Q, K, V))  # of a sum: a gradient of stride 0
    for a, b in zip(grads, torch.autograd.grad(attention(Q, K, V)[0].sum(), (Q, K, V)), strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(x, y) for x, y in zip((Q, K, V), before, strict=True))


@pytest.mark.parametrize("shared", [(1, 1), (3, 1), (1, 2)], ids=["keys-values", "values", "both"])
def test_leading_axes_broadcast(shared):
    """One head of keys for every head of queries."""
    Q = normal(2, 3, 5, 7)
    K, V = normal(2, shared[0], 11, 7, seed=4), normal(shared[1], 1, 11, 13, seed=5)
    assert_same(flash_attention(Q, K, V, block_k=4, return_lse=True), partial_attention(Q, K, V), (Q, K, V))


# Derivatives, precision, merging


@pytest.mark.parametrize("mask", [None, "dead", "numbers"], ids=str)
def test_derivatives(mask):
    Q, K, V = inputs(2, T=3, S=5, d_k=2, d_v=3)
    masks = {"dead": torch.tensor([[0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 1, 1]]), "numbers": normal(3, 5, seed=7)}
    extra = masks.get(mask)
    tensors = (Q, K, V, extra) if mask == "numbers" else (Q, K, V)

    def function(q, k, v, bias=extra):
        part = flash_attention(q, k, v, bias, block_q=2, block_k=2, return_lse=True)
        return part.out, part.lse.masked_fill(part.lse == -torch.inf, 0.0)

    assert torch.autograd.gradcheck(function, tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["open", "causal"])
@pytest.mark.parametrize("size", [1.0, 7.0], ids=["small-scores", "large-scores"])
def test_rounding_stays_within_what_pytorch_allows_itself(dtype, causal, size):
    Q, K, V = inputs(2, 3, T=31, S=31, d_k=17, d_v=13, dtype=dtype, size=size)
    allowed = lower(31, 31) if causal else None
    exact_inputs = [x.detach().double().requires_grad_() for x in (Q, K, V)]
    exact, low = reference(*exact_inputs, allowed), reference(Q, K, V, allowed)
    ours = flash_attention(Q, K, V, causal=causal, block_q=8, block_k=8)
    assert ours.dtype == dtype
    assert float((ours.double() - exact).detach().abs().max()) <= budget(exact.detach(), low.detach())
    weigh = lambda out, xs: torch.autograd.grad((out * normal(*out.shape, grad=False).to(out.dtype)).sum(), xs)
    lse = partial_attention(*exact_inputs, allowed).lse
    recomputed = torch.finfo(torch.float32).eps / 2 * float(lse.detach().abs().max())  # of e^(s - lse), lse rounded
    grads = zip(weigh(ours, (Q, K, V)), weigh(exact, exact_inputs), weigh(low, (Q, K, V)), strict=True)
    for a, right, theirs in grads:
        allowance = budget(right, theirs) + recomputed * float(right.abs().max())
        assert float((a.double() - right).abs().max()) <= allowance


def test_the_log_sum_exp_is_at_least_float32():
    part = flash_attention(*inputs(dtype=torch.float16), return_lse=True)
    assert (part.out.dtype, part.lse.dtype) == (torch.float16, torch.float32)


def test_scores_far_beyond_what_an_exponential_can_hold():
    """300 and more on either side; the largest comes last, after everything was counted against smaller ones."""
    K = torch.linspace(-300.0, 300.0, 7)[:, None]
    part = flash_attention(torch.tensor([[1.0], [-1.0]]), K, torch.eye(7), scale=False, block_k=2, return_lse=True)
    torch.testing.assert_close(part.out, torch.eye(7)[[6, 0]], rtol=0, atol=1e-38)
    torch.testing.assert_close(part.lse, torch.tensor([300.0, 300.0]))


@pytest.mark.parametrize("signs", [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]], ids=["top", "bottom", "both"])
def test_without_a_maximum_the_largest_scores_and_values_allowed_neither_overflow_nor_vanish(signs):
    """Thousands of powers of the largest score are summed, and multiplied with nearly the largest values."""
    keys = 4099
    Q = torch.ones(2, 1, requires_grad=True)
    K = (tile_loops.SMALL * torch.tensor(signs).repeat(keys)[:keys, None]).requires_grad_()
    V = (9e19 * torch.linspace(-1.0, 1.0, keys)[:, None].sin()).requires_grad_()
    assert tile_loops.scores_are_small(Q, K, V, None, 1.0)
    exact = [x.detach().double().requires_grad_() for x in (Q, K, V)]
    ours = flash_attention(Q, K, V, scale=False, return_lse=True)
    right = partial_attention(*exact, scale=False)
    # a power is wrong by a rounding of its score twice (log2 e, product) and one of its own; sums by one a term
    eps = torch.finfo(torch.float32).eps
    relative = (2 * tile_loops.SMALL + 1 + keys) * eps
    torch.testing.assert_close(ours.lse.double(), right.lse, rtol=0, atol=relative)
    assert float((ours.out.double() - right.out).detach().abs().max()) <= 2 * relative * 9e19
    for a, b in zip(
        torch.autograd.grad(ours.out.sum(), (K, V)), torch.autograd.grad(right.out.sum(), exact[1:]), strict=True
    ):
        assert a.isfinite().all()
        assert float((a.double() - b).abs().max()) <= 4 * relative * float(b.abs().max())


@pytest.mark.parametrize(("value", "keys"), [(1e38, 2), (1e28, 101)])
def test_values_too_large_for_unshifted_sums(value, keys):
    """e^19 times the value, added up, is beyond float32; the average is not."""
    K, V = torch.full((keys, 1), 19.0), torch.full((keys, 1), value)
    out = flash_attention(torch.ones(1, 1), K, V, scale=False, block_k=1)
    torch.testing.assert_close(out, V[:1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("cut", [1, 6, 12])
def test_two_halves_of_the_keys_merge_and_pass_their_gradients(cut):
    """Through merge the gradient of the log-sum-exp is needed as well."""
    Q, K, V = inputs(2)
    halves = [flash_attention(Q, K[:, s], V[:, s], block_q=4, return_lse=True) for s in (slice(cut), slice(cut, None))]
    assert_same(merge(*halves), partial_attention(Q, K, V), (Q, K, V))


def test_a_causal_half_that_nobody_sees_merges_as_nothing():
    Q, K, V = inputs(T=5, S=5)
    nobody = flash_attention(Q, K, V, torch.zeros(5, 5, dtype=torch.bool), return_lse=True)
    whole = flash_attention(Q, K, V, return_lse=True)
    assert_same(merge(whole, nobody), partial_attention(Q, K, V), (Q, K, V))
    assert isinstance(whole, Partial)
    assert torch.equal(nobody.out, empty_partial((5, 11), dtype=torch.float64).out)


def test_a_batch_of_none():
    out = flash_attention(*(torch.zeros(0, 5, 3, requires_grad=True) for _ in range(3)))
    assert list(out.shape) == [0, 5, 3]


# Bad input


@pytest.mark.parametrize("name", ["block_q", "block_k"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_a_block_is_a_positive_integer(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be an integer of at least 1, got {value}.$"):
        flash_attention(*inputs(), **{name: value})


BAD = {
    "d_k": (torch.zeros(5, 3), torch.zeros(5, 2), torch.zeros(5, 2), None),
    "keys": (torch.zeros(5, 3), torch.zeros(7, 3), torch.zeros(5, 3), None),
    "dtype": (torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, 3).double(), None),
    "integers": (torch.zeros(5, 3, dtype=torch.int64),) * 3 + (None,),
    "one axis": (torch.zeros(3),) * 3 + (None,),
    "no tensor": ([[0.0]],) * 3 + (None,),
    "leading": (torch.zeros(2, 5, 3), torch.zeros(3, 5, 3), torch.zeros(3, 5, 3), None),
    "mask": (torch.zeros(5, 3),) * 3 + (torch.zeros(5, 7),),
    "mask NaN": (torch.zeros(5, 3),) * 3 + (torch.full((5, 5), torch.nan),),
    "mask list": (torch.zeros(5, 3),) * 3 + ([[True]],),
    "mask too large": (torch.zeros(5, 3),) * 3 + (torch.full((5, 5), 1e300, dtype=torch.float64),),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_the_words_of_attention(name):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as plain:
        attention(*BAD[name])
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as tiled:
        flash_attention(*BAD[name])
    assert str(tiled.value) == str(plain.value)
