"""How far points are from all weighted averages of others: convex hulls."""

import torch
from scipy.optimize import nnls
from torch import Tensor

from surgeon.imaging.rank import check_matrix, size_of


def hull_distance(points: Tensor, vertices: Tensor) -> Tensor:
    r"""How far each point is from the convex hull of the vertices.

    That is, from their nearest weighted average:

    .. math::
       \min_w \Bigl\lVert p - \sum_j w_j v_j \Bigr\rVert, \qquad
       w_j \ge 0, \quad \sum_j w_j = 1

    Parameters
    ----------
    points : Tensor
        [..., N, d].
    vertices : Tensor
        [..., S, d]; leading axes broadcast with those of the points. They
        need not be corners of their hull.

    Returns
    -------
    Tensor
        [..., N] in float64 (float32 on a device that has no other): zero up
        to rounding (some 1e-12 of the size of what came) for a point of the
        hull.

    Raises
    ------
    ValueError
        If an input is no floating tensor [..., rows, width] of finite
        numbers, or if widths, leading axes or devices disagree.

    Notes
    -----
    Non-negative least squares (chapter 23 of the source), from SciPy. Its
    weights are divided by their sum, so what is returned is the distance from
    a point of the hull: never too small, but for rounding. Source: lawson1995
    (book/references.bib).

    Examples
    --------
    >>> triangle = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    >>> points = torch.tensor([[1.0, 1.0], [1.0, -3.0], [5.0, 5.0]])

    The last is at three times the root of 2:

    >>> hull_distance(points, triangle).round(decimals=6) + 0.0
    tensor([0.0000, 3.0000, 4.2426], dtype=torch.float64)
    """
    lead = _check_rows(points, vertices)
    # One hull for each set of points: [sets, N, d] and [sets, S, d].
    sets, hulls = (
        x.expand(*lead, -1, -1).reshape(-1, *x.shape[-2:])
        for x in (_exact(points), _exact(vertices))
    )
    distances = [
        _distance(point, hull)
        for some, hull in zip(sets, hulls, strict=True)
        for point in some
    ]
    device = points.device
    found = torch.tensor(distances, dtype=widest(device), device=device)
    return found.reshape(*lead, -1)


def in_convex_hull(
    points: Tensor, vertices: Tensor, *, tolerance: float = 1e-9
) -> Tensor:
    """Whether each point is a weighted average of the vertices.

    The weights of the average are not negative.

    Parameters
    ----------
    points, vertices
        As `hull_distance` takes them.
    tolerance : float
        The distance that still counts as none, in units of the largest
        absolute number in the vertices.

    Returns
    -------
    Tensor
        [..., N] booleans.

    Raises
    ------
    ValueError
        As `hull_distance`, or if `tolerance` is negative.

    Examples
    --------
    >>> interval = torch.tensor([[0.0], [1.0]])
    >>> in_convex_hull(torch.tensor([[0.5], [2.0]]), interval)
    tensor([ True, False])
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}.")
    distances = hull_distance(points, vertices)
    size = _exact(vertices).abs().amax((-2, -1))
    return distances <= tolerance * size.unsqueeze(-1).to(distances)


def _exact(x: Tensor) -> Tensor:
    """In double precision, which the CPU has, and without its gradient."""
    return x.detach().cpu().double()


def widest(device: torch.device) -> torch.dtype:
    """The most precise numbers that a device holds."""
    return torch.float32 if device.type == "mps" else torch.float64


def _distance(point: Tensor, vertices: Tensor) -> float:
    """From a point [d] to the nearest weighted average of vertices [S, d].

    Weights w that are only kept from being negative find it all the same.
    Write them as t u, where u adds up to one: the sum of squares is then t²
    |average - point|² + (t - 1)², least, whatever t is, where the average is
    nearest.
    """
    towards = vertices - point
    ones = towards.new_ones(len(vertices), 1)
    system = torch.cat([towards / size_of(towards), ones], 1)
    weights, _ = nnls(system.T.numpy(), [0.0] * len(point) + [1.0])
    nearest = torch.from_numpy(weights / weights.sum()) @ towards
    return float(torch.linalg.vector_norm(nearest))


def _check_rows(points: Tensor, vertices: Tensor) -> torch.Size:
    """Their common leading axes, if they can be held against each other."""
    here, there = (getattr(x, "device", None) for x in (points, vertices))
    if here and there and here != there:
        raise ValueError(
            "points and vertices must be on one device, got"
            f" {here} and {there}."
        )
    check_matrix("points", points)
    check_matrix("vertices", vertices)
    if points.shape[-1] != vertices.shape[-1]:
        raise ValueError(
            "points and vertices must share their last axis (width), got"
            f" {points.shape[-1]} and {vertices.shape[-1]}."
        )
    p, v = points.shape[:-2], vertices.shape[:-2]
    try:
        return torch.broadcast_shapes(p, v)
    except RuntimeError:
        raise ValueError(
            "points and vertices must have leading axes that broadcast, got"
            f" {list(p)} and {list(v)}."
        ) from None
