"""Convex hulls: closed forms, laws, and a certificate for the optimum."""

import math
import re
import subprocess
import sys

import pytest
import torch
from oracle import normal

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.hull import hull_distance, in_convex_hull, widest

T, S, WIDTH = 5, 7, 3
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def rows(*shape, **kwargs):
    return normal(*shape, grad=False, **kwargs)


def orthogonal(n, seed=0):
    return torch.linalg.qr(rows(n, n, seed=seed)).Q


def number(x, **kwargs):
    return torch.tensor(x, dtype=torch.float64, **kwargs)


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
        (
            lambda: hull_distance(MATRIX, torch.ones(5, 7)),
            "points and vertices must share their last axis (width), got 3 and 7.",
        ),
        (
            lambda: hull_distance(torch.ones(5, 2, 3), torch.ones(7, 2, 3)),
            "points and vertices must have leading axes that broadcast, got [5] and [7].",
        ),
        (
            lambda: hull_distance(torch.ones(3), MATRIX),
            "points must have shape [..., rows, columns], none of them 0, got [3].",
        ),
        (
            lambda: hull_distance(MATRIX, MATRIX.to("meta")),
            "points and vertices must be on one device, got cpu and meta.",
        ),
        (lambda: hull_distance([[1.0]], MATRIX), "points must be a floating-point tensor, got list."),
        (lambda: hull_distance(MATRIX, None), "vertices must be a floating-point tensor, got NoneType."),
        (lambda: in_convex_hull(MATRIX, MATRIX, tolerance=-1), "tolerance must not be negative, got -1."),
    ],
    ids=["widths", "axes", "vector", "devices", "list", "none", "tolerance"],
)
def test_errors_name_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_distances_are_as_precise_as_the_device_can_hold():
    assert widest(torch.device("mps")) == torch.float32
    assert widest(torch.device("cpu")) == widest(torch.device("cuda")) == torch.float64


def test_whoever_asks_for_no_hull_does_not_load_what_finds_one():
    """Of all that the package hands on, two functions need SciPy's optimisers."""
    code = "import sys, surgeon; [getattr(surgeon, name) for name in surgeon.__all__ if 'hull' not in name]"
    code += "; print('scipy.optimize' in sys.modules, surgeon.hull_distance, 'scipy.optimize' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False <function hull_distance")
    assert done.stdout.endswith("True\n")
