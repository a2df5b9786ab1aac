"""Entropy without the weights is the entropy of the weights, values and gradients."""

import math

import pytest
import torch
from oracle import CONVENTIONS, normal

from surgeon.anatomy.dot_product import attention
from surgeon.imaging.patterns import row_entropy
from surgeon.procedures.entropy import attention_entropy
from surgeon.procedures.flash import flash_attention


def inputs(*lead, T=13, S=17):
    return normal(*lead, T, 7, seed=1), normal(*lead, S, 7, seed=2)


def dense(Q, K, mask=None, scale=True):
    return row_entropy(attention(Q, K, K, mask, scale)[1])


def assert_same(ours, theirs, tensors, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    pull = normal(*ours.shape, grad=False)
    gradients = zip(*(torch.autograd.grad((x * pull).sum(), tensors) for x in (ours, theirs)), strict=True)
    for a, b in gradients:
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
def test_it_is_the_entropy_of_the_weights(lead, scale):
    Q, K = inputs(*lead)
    assert_same(attention_entropy(Q, K, scale=scale), dense(Q, K, scale=scale), (Q, K))


@pytest.mark.parametrize(("T", "S"), [(13, 13), (5, 11), (11, 5)])
def test_causal(T, S):
    """(11, 5) leaves six queries without a key."""
    Q, K = inputs(2, T=T, S=S)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    ours = attention_entropy(Q, K, causal=True)
    assert_same(ours, dense(Q, K, mask), (Q, K))
    assert (ours[:, : max(T - S, 0)] == 0).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_mask_that_only_blocks(name):
    Q, K = inputs(2, T=5, S=5)
    assert_same(attention_entropy(Q, K, CONVENTIONS[name]), dense(Q, K, CONVENTIONS[name]), (Q, K))


def test_a_row_that_sees_nothing_has_none_and_passes_no_nan_back():
    Q, K = inputs(2)
    mask = torch.ones(13, 17, dtype=torch.bool)
    mask[3] = False
    entropy = attention_entropy(Q, K, mask)
    assert (entropy[:, 3] == 0).all()
    assert (entropy[:, 4] > 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(entropy.sum(), (Q, K)))


def test_the_ends_of_the_range():
    """All alike: the logarithm of how many. One far above the others: nothing, not less than nothing."""
    even = attention_entropy(torch.zeros(3, 7), normal(11, 7, grad=False).float())
    torch.testing.assert_close(even, torch.full((3,), math.log(11)))
    one = attention_entropy(torch.full((3, 1), 50.0), torch.tensor([[3.0], [-3.0], [0.1]]))
    assert ((one >= 0) & (one < 1e-4)).all()


def test_rounding_takes_no_row_below_nothing():
    """Whoever sees one key has no choice; its score, rounded twice, may exceed its log-sum-exp by a little."""
    Q, K = (x.detach().float() for x in (normal(1009, 7), normal(1, 7)))
    entropy = attention_entropy(Q, K)
    assert (entropy >= 0).all()
    lse = flash_attention(Q, K, K, return_lse=True).lse
    rounded = torch.finfo(torch.float32).eps * float(lse.abs().max())
    assert float(entropy.max()) <= 8 * rounded


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_it_is_computed_in_at_least_float32(dtype):
    Q, K = (x.detach().to(dtype) for x in inputs(2))
    ours = attention_entropy(Q, K)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), dense(Q.double(), K.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convention", [torch.float32, torch.float16], ids=str)
def test_numbers_to_add_are_refused(convention):
    mask = torch.zeros(13, 17, dtype=convention)
    mask[2, 3], mask[4, 5] = 0.5, -torch.inf
    message = r"^mask must only block where entropy is taken without weights, got 0.5 to add\.$"
    with pytest.raises(ValueError, match=message):
        attention_entropy(*(x.detach() for x in inputs()), mask)


@pytest.mark.parametrize(
    ("Q", "K", "mask"),
    [
        (torch.zeros(5, 3), torch.zeros(5, 2), None),
        ([[0.0]], torch.zeros(5, 2), None),
        (torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, 7)),
        (torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(3)),
        (torch.zeros(5, 3), torch.zeros(5, 3), torch.full((5, 5), torch.nan)),
    ],
    ids=["d_k", "no tensor", "mask shape", "mask axes", "mask NaN"],
)
def test_bad_input_is_refused_in_the_words_of_attention(Q, K, mask):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as plain:
        attention(Q, K, K, mask)
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as ours:
        attention_entropy(Q, K, mask)
    assert str(ours.value) == str(plain.value)
