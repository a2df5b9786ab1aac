"""The largest score of each row, in tiles, is the largest of the matrix."""

import pytest
import torch
from oracle import CONVENTIONS, normal
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon.anatomy.dot_product import attention, dissect
from surgeon.procedures.largest import largest_scores


def inputs(*lead, T=13, S=17, d=7):
    return normal(*lead, T, d, seed=1, grad=False), normal(*lead, S, d, seed=2, grad=False)


def dense(Q, K, mask=None, scale=True):
    return dissect(Q, K, K, mask, scale).masked.amax(-1)


@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize(("T", "S"), [(13, 17), (257, 131), (1, 1), (1031, 1033)])
def test_it_is_the_largest_of_the_matrix(lead, T, S, scale):
    """Several tiles each way, whose last are shorter, and tiles of another size where sequences are long."""
    if T > 1000 and lead:
        lead = lead[:1]
    Q, K = inputs(*lead, T=T, S=S)
    torch.testing.assert_close(largest_scores(Q, K, scale=scale), dense(Q, K, scale=scale))


@pytest.mark.parametrize(("T", "S"), [(13, 13), (5, 11), (11, 5), (257, 131), (131, 257)])
def test_causal(T, S):
    """Of more queries than keys, the first see none."""
    Q, K = inputs(2, T=T, S=S)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    ours = largest_scores(Q, K, causal=True)
    torch.testing.assert_close(ours, dense(Q, K, mask))
    assert (ours[:, : max(T - S, 0)] == -torch.inf).all()
    assert (ours[:, max(T - S, 0) :] > -torch.inf).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_mask(name):
    Q, K = inputs(2, T=5, S=5)
    torch.testing.assert_close(largest_scores(Q, K, CONVENTIONS[name]), dense(Q, K, CONVENTIONS[name]))


def test_what_a_mask_adds_counts():
    Q, K = inputs(3, T=131, S=257)
    mask = 9 * normal(3, 131, 257, grad=False)
    torch.testing.assert_close(largest_scores(Q, K, mask), dense(Q, K, mask))


def test_a_row_that_sees_nothing_has_minus_infinity():
    Q, K = inputs(2)
    mask = torch.ones(13, 17, dtype=torch.bool)
    mask[3] = False
    ours = largest_scores(Q, K, mask)
    assert (ours[:, 3] == -torch.inf).all()
    assert ours[:, 4].isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_it_is_computed_in_at_least_float32(dtype, autocast):
    """In float16 these products would overflow, of which the scaled scores are far from it."""
    Q, K = (200 * x.to(dtype) for x in inputs(2, d=1009))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours = largest_scores(Q, K)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), dense(Q.double(), K.double()), rtol=1e-5, atol=1e-2)


def test_it_has_no_gradient():
    Q, K = normal(5, 7), normal(5, 7)
    assert not largest_scores(Q, K).requires_grad


def test_queries_of_many_heads_share_keys():
    Q, K = normal(2, 3, 13, 7, grad=False), normal(2, 1, 17, 7, grad=False)
    torch.testing.assert_close(largest_scores(Q, K), dense(Q, K))


class Largest(TorchDispatchMode):
    """The most numbers of any tensor that is made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.most = max(self.most, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_the_matrix_is_never_made():
    Q, K = (x.float() for x in inputs(T=1009, S=1013))
    with Largest() as seen:
        largest_scores(Q, K)
    assert seen.most <= 2 * 128 * 128  # room for two tiles
    assert 2 * 128 * 128 < 1009 * 1013 / 30


@pytest.mark.parametrize(
    ("Q", "K", "mask"),
    [
        (torch.zeros(5, 3), torch.zeros(5, 2), None),
        ([[0.0]], torch.zeros(5, 2), None),
        (torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5, 7)),
        (torch.zeros(5, 3), torch.zeros(5, 3), torch.full((5, 5), torch.nan)),
    ],
    ids=["d_k", "no tensor", "mask shape", "mask NaN"],
)
def test_bad_input_is_refused_in_the_words_of_attention(Q, K, mask):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as plain:
        attention(Q, K, K, mask)
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as ours:
        largest_scores(Q, K, mask)
    assert str(ours.value) == str(plain.value)


@pytest.mark.parametrize("switch", ["scale", "causal"])
def test_a_switch_is_true_or_false(switch):
    X = torch.zeros(5, 3)
    with pytest.raises(ValueError, match=f"^{switch} must be True or False, got 1\\.$"):
        largest_scores(X, X, **{switch: 1})
