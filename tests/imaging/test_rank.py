"""Effective rank and equal rows: closed forms and laws."""

import re

import pytest
import torch
from oracle import normal

from surgeon.imaging.rank import distance_to_rank_one, effective_rank

T, S = 5, 7
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def rows(*shape, **kwargs):
    return normal(*shape, grad=False, **kwargs)


def orthogonal(n, seed=0):
    return torch.linalg.qr(rows(n, n, seed=seed)).Q


def number(x, **kwargs):
    return torch.tensor(x, dtype=torch.float64, **kwargs)


# Effective rank


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_orthogonal_matrix_has_full_effective_rank(n):
    torch.testing.assert_close(effective_rank(orthogonal(n)), number(n), **EXACT, check_dtype=False)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_a_projection_has_the_rank_that_it_projects_on(rank):
    Q = orthogonal(S)[:, :rank]
    torch.testing.assert_close(effective_rank(Q @ Q.mT), number(float(rank)), rtol=1e-10, atol=0)


def test_a_diagonal_matrix_by_hand():
    """Shares ½, ¼, ¼: entropy 3/2 bits, and two to the power of that; squares would give shares 4/6, 1/6, 1/6."""
    torch.testing.assert_close(effective_rank(torch.diag(number([2.0, -1.0, 1.0]))), number(2**1.5), **EXACT)


def test_a_matrix_of_zeros_has_none_and_a_rank_one_matrix_one():
    assert effective_rank(torch.zeros(T, S)) == 0
    torch.testing.assert_close(effective_rank(torch.outer(rows(T), rows(S))), number(1.0), rtol=1e-10, atol=0)


def test_effective_rank_lies_between_one_and_the_rank():
    for seed in range(11):
        found = float(effective_rank(rows(T, 2, seed=seed) @ rows(2, S, seed=seed)))
        assert 1 < found < 2 + 1e-9


@pytest.mark.parametrize("scale", [1e-30, -3.0, 1e30])
def test_effective_rank_knows_no_scale_rotation_or_transposition(scale):
    x = rows(T, S)
    turned = scale * (orthogonal(T) @ x @ orthogonal(S))
    torch.testing.assert_close(effective_rank(turned), effective_rank(x), **EXACT)
    torch.testing.assert_close(effective_rank(x.mT), effective_rank(x), **EXACT)


# Equal rows


def test_equal_rows_are_at_distance_zero_and_rows_around_zero_at_one():
    x = rows(T, S)
    assert float(distance_to_rank_one(x[:1].expand(T, -1))) < 1e-15
    torch.testing.assert_close(distance_to_rank_one(x - x.mean(0)), number(1.0), **EXACT)
    assert distance_to_rank_one(torch.zeros(T, S)) == 0


def test_unequal_multiples_of_one_row_are_not_at_distance_zero():
    """Rank one, and yet: the distance is that of the factors alone."""
    factors = rows(T)
    expected = factors.std(correction=0) / factors.square().mean().sqrt()
    torch.testing.assert_close(distance_to_rank_one(torch.outer(factors, rows(S))), expected, **EXACT)


def test_the_mean_row_is_the_best_row():
    x = rows(T, S).requires_grad_(False)
    best = distance_to_rank_one(x) * x.norm()
    for seed in range(5):
        other = x.mean(0) + 1e-3 * rows(S, seed=seed)
        assert (x - other).norm() > best


@pytest.mark.parametrize("scale", [1e-200, -3.0, 1e200])
def test_distance_knows_no_scale_no_order_and_no_rotation_of_the_width(scale):
    """The squares of the first and last underflow and overflow."""
    x = rows(T, S)
    turned = scale * (x[torch.tensor([3, 0, 4, 1, 2])] @ orthogonal(S))
    torch.testing.assert_close(distance_to_rank_one(turned), distance_to_rank_one(x), **EXACT)


@pytest.mark.parametrize("measure", [effective_rank, distance_to_rank_one])
def test_leading_axes_are_batches_and_half_precision_is_widened(measure):
    x = rows(2, 11, T, S)
    each = torch.stack([torch.stack([measure(matrix) for matrix in heads]) for heads in x])
    torch.testing.assert_close(measure(x), each, **EXACT)
    assert measure(x.half()).dtype == torch.float32
    assert not measure(x.requires_grad_()).requires_grad


MATRIX = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: effective_rank([[1.0]]), "matrix must be a floating-point tensor, got list."),
        (lambda: effective_rank(MATRIX.int()), "matrix must be a floating-point tensor, got torch.int32."),
        (
            lambda: distance_to_rank_one(torch.ones(3)),
            "x must have shape [..., rows, columns], none of them 0, got [3].",
        ),
        (
            lambda: distance_to_rank_one(torch.ones(0, 3)),
            "x must have shape [..., rows, columns], none of them 0, got [0, 3].",
        ),
        (lambda: effective_rank(MATRIX / 0), "matrix must hold finite numbers, got NaN or infinity."),
    ],
    ids=["list", "integers", "vector", "empty", "infinite"],
)
def test_errors_name_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
