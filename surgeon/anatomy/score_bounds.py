"""What keeps scores from growing: normalised rows, and a soft cap."""

import math

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32
from surgeon.anatomy.softmax import check_scores
from surgeon.arguments import positive_integer, positive_number

# added to a mean square, so that a row of zeros stays one
EPS = 1e-6
# what a shorter row is divided by, so that it passes no NaN back
SHORTEST = 1e-12


def rms_norm(
    x: Tensor, weight: Tensor | None = None, *, epsilon: float = EPS
) -> Tensor:
    r"""Each row over its root mean square, times learned weights.

    .. math::

        y_i = \frac{x_i}{\sqrt{\tfrac1d \sum_j x_j^2 + \epsilon}}\, w_i

    Without weights the row has length :math:`\sqrt d`, whatever it had.

    Parameters
    ----------
    x : Tensor
        [..., d], floating point.
    weight : Tensor, optional
        [d]; ones if not given.
    epsilon : float
        What is added to the mean square, so that a row of zeros stays one.

    Returns
    -------
    Tensor
        The shape and dtype of `x`; half precision is computed in float32.

    Raises
    ------
    ValueError
        If `x` is no floating tensor with an axis, or if `weight` is not [d].

    Notes
    -----
    Source: zhang2019 (book/references.bib).

    Examples
    --------
    >>> rms_norm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))  # of length √2
    tensor([[0.8485, 1.1314],
            [0.8485, 1.1314]])
    """
    check_rows(x, weight)
    wide = x.to(at_least_float32(x.dtype))

    # 1. The root of the mean square of each row.
    root = (wide.square().mean(-1, keepdim=True) + epsilon).sqrt()
    # 2. Over it, every row has the same length.
    normed = wide / root
    # 3. Learned weights make some coordinates count for more.
    if weight is not None:
        normed = normed * weight

    return normed.to(x.dtype)


def unit_length(x: Tensor) -> Tensor:
    r"""Each row over its length, so that a product of two is a cosine.

    .. math:: y = \frac{x}{\lVert x \rVert_2}

    Parameters
    ----------
    x : Tensor
        [..., d], floating point.

    Returns
    -------
    Tensor
        The shape and dtype of `x`; half precision is computed in float32. A
        row of zeros stays zero.

    Raises
    ------
    ValueError
        If `x` is no floating tensor with an axis.

    Notes
    -----
    Source: henry2020 (book/references.bib).

    Examples
    --------
    >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    check_rows(x)
    wide = x.to(at_least_float32(x.dtype))
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide / length.clamp(min=SHORTEST)).to(x.dtype)


def soft_cap(scores: Tensor, cap: float) -> Tensor:
    r"""Scores that never leave ±`cap`, and are nearly themselves near 0.

    .. math:: c \tanh(s / c)

    Its slope is :math:`1 - \tanh^2(s / c)`: 1 at 0, and next to nothing far
    beyond the cap.

    Parameters
    ----------
    scores : Tensor
        Any shape, floating point. They come before the mask: of
        :math:`-\infty` the cap would make :math:`-c`, which blocks nothing.
    cap : float
        The cap `c`, positive and finite.

    Returns
    -------
    Tensor
        The shape and dtype of `scores`; half precision is computed in
        float32.

    Raises
    ------
    ValueError
        If `scores` is no floating tensor, or `cap` not positive and finite.

    Notes
    -----
    Source: gemma2024 (book/references.bib).

    Examples
    --------
    >>> soft_cap(torch.tensor([1.0, 30.0, 300.0]), 20.0)
    tensor([ 0.9992, 18.1030, 20.0000])
    """
    check_scores(scores, -1)
    cap = positive_number("cap", cap)
    wide = scores.to(at_least_float32(scores.dtype))

    # 1. Near 0 a score stays; far out it comes no further than the cap.
    capped = cap * torch.tanh(wide / cap)

    return capped.to(scores.dtype)


def weight_bound(bound: float, num_keys: int) -> float:
    r"""The largest weight that scores within ±`bound` can give one key.

    .. math:: \frac{1}{1 + (n - 1)\, e^{-2b}}

    It is reached where one score is `b` and all others are `-b`.

    Parameters
    ----------
    bound : float
        The bound `b`, positive and finite.
    num_keys : int
        Keys `n` that the row sees.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `bound` is not positive and finite, or `num_keys` no positive
        integer.

    Examples
    --------
    >>> round(weight_bound(1.0, 4), 3), round(weight_bound(1.0, 1024), 3)
    (0.711, 0.007)
    """
    bound = positive_number("bound", bound)
    others = positive_integer("num_keys", num_keys) - 1
    return 1 / (1 + others * math.exp(-2 * bound))


def check_rows(x: Tensor, weight: Tensor | None = None) -> None:
    """Raise a ValueError unless x is floating [..., d] and the weight [d]."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or not x.ndim:
        tensor = isinstance(x, Tensor)
        got = f"{x.dtype} {list(x.shape)}" if tensor else type(x).__name__
        raise ValueError(
            f"x must be a floating-point tensor [..., d], got {got}."
        )
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(
            f"weight must have shape {list(x.shape[-1:])}, got"
            f" {list(weight.shape)}."
        )
