"""How many directions a matrix has, in degrees, and how its rows lie.

How far are they from equal, and how far from an average of others?
"""

import torch
from torch import Tensor

from surgeon.anatomy.softmax import at_least_float32


def effective_rank(matrix: Tensor) -> Tensor:
    r"""A rank that counts in degrees.

    It is the exponential of the entropy of the singular values, as shares of
    their sum:

    .. math::
       \exp\left(-\sum_i p_i \log p_i\right), \qquad
       p_i = \frac{\sigma_i}{\sum_k \sigma_k}

    Shares are of the singular values themselves, as in the source, not of
    their squares.

    Parameters
    ----------
    matrix : Tensor
        [..., rows, columns].

    Returns
    -------
    Tensor
        [...], at least float32: the rank `r` where `r` singular values are
        equal and the others zero, less where they differ, never less than 1;
        0 for a matrix of zeros. The matrix's scale does not count.

    Raises
    ------
    ValueError
        If `matrix` is no floating tensor [..., rows, columns] of finite
        numbers.

    Notes
    -----
    Source: roy2007 (book/references.bib).

    Examples
    --------
    >>> round(float(effective_rank(torch.eye(7))), 4)
    7.0
    >>> effective_rank(torch.tensor([[100.0, 0.0], [0.0, 1.0]]))  # rank 2
    tensor(1.0571)
    """
    singular = torch.linalg.svdvals(_check_matrix("matrix", matrix))
    total = singular.sum(-1, keepdim=True)
    shares = singular / total.masked_fill(total == 0, 1.0)
    entropy = torch.special.entr(shares).sum(-1)
    return torch.exp(entropy) * (total.squeeze(-1) > 0)


def distance_to_rank_one(x: Tensor) -> Tensor:
    r"""How far the rows of `x` are from being all the same.

    It is 0 if they are the same, 1 if their mean is zero:

    .. math::
       \frac{\lVert x - 1 \bar x^\top \rVert_F}{\lVert x \rVert_F}, \qquad
       \bar x = \text{mean row}
       = \arg\min_u \lVert x - 1 u^\top \rVert_F

    A matrix with equal rows has rank one, and is the kind of rank one that
    repeated averaging leads to. One whose rows are unequal multiples of one
    row has rank one as well, and is not at distance 0.

    Parameters
    ----------
    x : Tensor
        [..., tokens, width].

    Returns
    -------
    Tensor
        [...], at least float32, from 0 to 1; 0 for a matrix of zeros.

    Raises
    ------
    ValueError
        If `x` is no floating tensor [..., tokens, width] of finite numbers.

    Notes
    -----
    Source: dong2021 (book/references.bib), which measures the same residual
    in the norm :math:`\sqrt{\lVert x \rVert_1 \lVert x \rVert_\infty}`
    (largest column sum and largest row sum of absolute values) instead of
    Frobenius', in which the best row is the mean.

    Examples
    --------
    >>> distance_to_rank_one(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
    tensor(0.)

    The mean is 4, the distance the root of (9 + 9) / (49 + 1):

    >>> distance_to_rank_one(torch.tensor([[7.0], [1.0]]))
    tensor(0.6000)
    """
    x = _check_matrix("x", x)
    x = x / _size(x)  # no square overflows or underflows
    whole = torch.linalg.matrix_norm(x)
    apart = torch.linalg.matrix_norm(x - x.mean(-2, keepdim=True))
    return apart / whole.masked_fill(whole == 0, 1.0)


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
    device = points.device
    points, vertices = _check_rows(points, vertices)
    lead = torch.broadcast_shapes(points.shape[:-2], vertices.shape[:-2])
    points, vertices = (
        x.expand(*lead, -1, -1).reshape(-1, *x.shape[-2:])
        for x in (points, vertices)
    )
    hulls = zip(points, vertices, strict=True)
    distances = [_distance(p, hull) for some, hull in hulls for p in some]
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
    size = vertices.detach().cpu().double().abs().amax((-2, -1))
    return distances <= tolerance * size.unsqueeze(-1).to(distances)


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
    # Only hulls need it, and it takes a while to load.
    from scipy.optimize import nnls

    towards = vertices - point
    ones = towards.new_ones(len(vertices), 1)
    system = torch.cat([towards / _size(towards), ones], 1)
    weights, _ = nnls(system.T.numpy(), [0.0] * len(point) + [1.0])
    nearest = torch.from_numpy(weights / weights.sum()) @ towards
    return float(torch.linalg.vector_norm(nearest))


def _size(x: Tensor) -> Tensor:
    """The largest absolute number, 1 if there is none but zeros."""
    size = x.abs().amax((-2, -1), keepdim=True)
    return size.masked_fill(size == 0, 1.0)


def _check_matrix(name: str, x: Tensor) -> Tensor:
    """The tensor in at least float32, without its gradient."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = getattr(x, "dtype", type(x).__name__)
        raise ValueError(
            f"{name} must be a floating-point tensor, got {got}."
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{name} must have shape [..., rows, columns], none of them 0,"
            f" got {list(x.shape)}."
        )
    if not x.isfinite().all():
        raise ValueError(
            f"{name} must hold finite numbers, got NaN or infinity."
        )
    return x.detach().to(at_least_float32(x.dtype))


def _check_rows(points: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 on the CPU, if they can be held against each other."""
    points = _check_matrix("points", points)
    vertices = _check_matrix("vertices", vertices)
    if points.device != vertices.device:
        raise ValueError(
            "points and vertices must be on one device, got"
            f" {points.device} and {vertices.device}."
        )
    if points.shape[-1] != vertices.shape[-1]:
        raise ValueError(
            "points and vertices must share their last axis (width), got"
            f" {points.shape[-1]} and {vertices.shape[-1]}."
        )
    try:
        torch.broadcast_shapes(points.shape[:-2], vertices.shape[:-2])
    except RuntimeError:
        lead = f"{list(points.shape[:-2])} and {list(vertices.shape[:-2])}"
        raise ValueError(
            "points and vertices must have leading axes that broadcast, got"
            f" {lead}."
        ) from None
    return points.cpu().double(), vertices.cpu().double()
