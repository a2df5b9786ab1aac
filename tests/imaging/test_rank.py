"""Effective rank, equal rows and convex hulls: closed forms, laws, and a certificate for the optimum."""

import math
import re
import subprocess
import sys

import pytest
import torch
from oracle import normal

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.rank import (
    distance_to_rank_one,
    effective_rank,
    hull_distance,
    in_convex_hull,
)

T, S, WIDTH = 5, 7, 3
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


# Convex hulls

SIMPLEX = torch.eye(S, WIDTH * S, dtype=torch.float64)  # corners at distance 1 from the origin, in more dimensions


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ([1.0, 1.0], 0.0),
        ([0.0, 0.0], 0.0),
        ([2.0, 2.0], 0.0),
        ([1.0, -3.0], 3.0),
        ([-3.0, -4.0], 5.0),
        ([5.0, 5.0], math.sqrt(18)),
        ([7.0, 0.0], 3.0),
        ([2.0, 2.0 + 1e-6], 1e-6 / math.sqrt(2)),
    ],
    ids=["inside", "corner", "edge", "below", "beyond-corner", "beyond-edge", "along-edge", "just-outside"],
)
def test_a_triangle_by_hand(point, distance):
    triangle = number([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    found = hull_distance(number([point]), triangle)
    torch.testing.assert_close(found, number([distance]), rtol=1e-9, atol=1e-11)
    assert in_convex_hull(number([point]), triangle).tolist() == [distance == 0]


def test_a_simplex_in_more_dimensions():
    """Its centre is 1/√S from the origin; a point straight above the centre is as far as it is high."""
    centre = SIMPLEX.mean(0)
    above = centre + 11.0 * torch.eye(WIDTH * S, dtype=torch.float64)[-1]
    found = hull_distance(torch.stack([centre, 0 * centre, above, 2 * SIMPLEX[0]]), SIMPLEX)
    torch.testing.assert_close(found, number([0.0, S**-0.5, 11.0, 1.0]), rtol=1e-10, atol=1e-11)


def test_one_vertex_is_a_hull():
    point, vertex = rows(T, WIDTH), rows(1, WIDTH, seed=1)
    torch.testing.assert_close(hull_distance(point, vertex), (point - vertex).norm(dim=-1), **EXACT)


@pytest.mark.parametrize(("n", "width"), [(2, 1), (5, 3), (3, 5), (31, 2), (17, 17), (47, 23)])
@pytest.mark.parametrize("sharpness", [1.0, 30.0, 1e4], ids=["even", "sharp", "one-hot"])
def test_averages_lie_within(n, width, sharpness):
    vertices = rows(n, width)
    weights = torch.softmax(sharpness * rows(13, n), -1)
    size = float(vertices.abs().max())
    assert float(hull_distance(weights @ vertices, vertices).max()) < 1e-11 * size
    assert in_convex_hull(weights @ vertices, vertices).all()


@pytest.mark.parametrize(("n", "width"), [(5, 3), (3, 5), (31, 2), (47, 23)])
def test_no_point_of_the_hull_is_nearer_than_the_distance(n, width):
    """In any direction u, p lies u·p − max u·v beyond all vertices; for u the gradient, that is the distance."""
    vertices, points = rows(n, width), 5 * rows(13, width, seed=1)
    found = hull_distance(points, vertices)
    step = 1e-5 * torch.eye(width, dtype=torch.float64)
    both = [hull_distance((points[:, None] + sign * step).flatten(0, 1), vertices).view(13, width) for sign in (1, -1)]
    u = (both[0] - both[1]) / 2e-5
    u = u / u.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    outside = found > 1e-3
    least = (u * points).sum(-1) - (u @ vertices.mT).amax(-1)
    assert int(outside.sum()) > 3
    torch.testing.assert_close(found[outside], least[outside], rtol=1e-6, atol=1e-6)
    assert (found >= least - 1e-9).all()


def test_hulls_move_turn_and_grow_with_what_is_in_them():
    vertices, turn, shift = rows(S, WIDTH), orthogonal(WIDTH), rows(WIDTH)
    points = torch.cat([2 * rows(13, WIDTH), vertices.mean(0, keepdim=True)])
    found = hull_distance(points, vertices)
    assert (found > 0.1).any()
    assert (found < 1e-11).any()
    for scale in (1e-100, 1.0, 1e100):
        moved = hull_distance(scale * (points @ turn + shift), scale * (vertices @ turn + shift))
        torch.testing.assert_close(moved / scale, found, rtol=1e-9, atol=1e-11)


def test_what_is_said_twice_or_lies_within_changes_no_hull():
    points, vertices = 2 * rows(13, WIDTH), rows(S, WIDTH)
    more = torch.cat([vertices, vertices, vertices.mean(0, keepdim=True)])
    torch.testing.assert_close(hull_distance(points, more), hull_distance(points, vertices), rtol=1e-9, atol=1e-11)


def test_vertices_that_are_all_one_point():
    vertices = torch.ones(S, WIDTH)
    found = hull_distance(torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, -2.0]]), vertices)
    torch.testing.assert_close(found, number([0.0, 5.0]), **EXACT)
    assert in_convex_hull(torch.zeros(1, WIDTH), torch.zeros(S, WIDTH)).all()


def test_every_head_has_a_hull_of_its_own():
    points, vertices = 2 * rows(2, 11, T, WIDTH), rows(11, S, WIDTH)
    each = torch.stack([torch.stack([hull_distance(p, v) for p, v in zip(b, vertices, strict=True)]) for b in points])
    torch.testing.assert_close(hull_distance(points, vertices), each, rtol=1e-9, atol=1e-11)


def test_attention_stays_within_the_hull_of_its_values_and_dropout_leaves_it():
    Q, K, V = rows(11, T, 13), rows(11, T, 13, seed=1), rows(11, T, WIDTH)
    for mask in (None, create_causal_mask(T)):
        assert in_convex_hull(attention(Q, K, V, mask)[0], V).all()
    dropped, _ = attention(Q, K, V, dropout=0.5, generator=torch.Generator().manual_seed(0))
    assert not in_convex_hull(dropped, V).all()


def test_tolerance_is_in_units_of_the_largest_number():
    vertices = number([[0.0], [100.0]])
    assert in_convex_hull(number([[101.0], [103.0]]), vertices, tolerance=0.02).tolist() == [True, False]


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
        (
            lambda: hull_distance(MATRIX, torch.ones(5, 7)),
            "points and vertices must share their last axis (width), got 3 and 7.",
        ),
        (
            lambda: hull_distance(torch.ones(5, 2, 3), torch.ones(7, 2, 3)),
            "points and vertices must have leading axes that broadcast, got [5] and [7].",
        ),
        (lambda: hull_distance(MATRIX, None), "vertices must be a floating-point tensor, got NoneType."),
        (lambda: in_convex_hull(MATRIX, MATRIX, tolerance=-1), "tolerance must not be negative, got -1."),
    ],
    ids=["list", "integers", "vector", "empty", "infinite", "widths", "axes", "none", "tolerance"],
)
def test_errors_name_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_whoever_asks_for_no_hull_does_not_load_what_finds_one():
    code = "import sys, surgeon.imaging.rank; print('scipy.optimize' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
