"""Softmax by hand: as textbooks write it, and as it survives real scores."""

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32
from surgeon.arguments import truth, whole_number


def naive_softmax(scores: Tensor, dim: int = -1) -> Tensor:
    r"""Softmax as the formula says it, overflow included.

    .. math:: a_j = \frac{e^{s_j}}{\sum_k e^{s_k}}

    Parameters
    ----------
    scores : Tensor
        Any shape, floating point.
    dim : int
        The axis that will sum to one.

    Returns
    -------
    Tensor
        The shape and dtype of `scores`. Where :math:`e^s` overflows, ``inf /
        inf`` gives NaN; where every score of a row is so low that :math:`e^s`
        underflows, ``0 / 0`` does.

    Raises
    ------
    ValueError
        If `scores` is no floating tensor, or has no numbers along `dim`.

    Notes
    -----
    Kept for the page that shows how it fails; everything else calls
    `stable_softmax`.

    Examples
    --------
    >>> naive_softmax(torch.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    >>> naive_softmax(torch.tensor([1000.0, 0.0]))
    tensor([nan, 0.])
    """
    check_scores(scores, dim)

    # 1. A power for each score: none is negative.
    powers = torch.exp(scores)
    # 2. Divided by their sum, they are shares of one.
    return powers / powers.sum(dim, keepdim=True)


def stable_softmax(scores: Tensor, dim: int = -1) -> Tensor:
    r"""Softmax that neither overflows nor turns an empty row into NaN.

    .. math::

        a_j = \frac{e^{s_j - m}}{\sum_k e^{s_k - m}}, \qquad m = \max_k s_k

    The factor :math:`e^{-m}` cancels, so `m` changes no value; it makes the
    largest exponent 0. A row in which every score is :math:`-\infty` has
    nothing to share its weight between: it gives zeros, and passes zeros
    back.

    Parameters
    ----------
    scores : Tensor
        Any shape, floating point; :math:`-\infty` marks what may not be
        chosen.
    dim : int
        The axis that will sum to one.

    Returns
    -------
    Tensor
        The shape and dtype of `scores`; float16 and bfloat16 are computed in
        float32. Each row sums to one, or is zero throughout where all its
        scores are :math:`-\infty`.

    Raises
    ------
    ValueError
        If `scores` is no floating tensor, or has no numbers along `dim`.

    Notes
    -----
    Source: milakov2018, blanchard2021 (book/references.bib).

    Examples
    --------
    >>> stable_softmax(torch.tensor([1000.0, 0.0]))
    tensor([1., 0.])
    >>> stable_softmax(torch.tensor([-torch.inf, -torch.inf]))
    tensor([0., 0.])
    """
    check_scores(scores, dim)
    wide = scores.to(at_least_float32(scores.dtype))

    # 1. The largest score of each row; 0 for a row of -inf.
    top = finite_maximum(wide, dim)
    # 2. A power for each score: at most e^0 = 1, and e^-inf = 0.
    powers = torch.exp(wide - top)
    # 3. Divided by their sum, they are shares of one; a row of zeros stays.
    total = powers.sum(dim, keepdim=True)
    total = total.masked_fill(total == 0, 1.0)
    return (powers / total).to(scores.dtype)


def log_sum_exp(
    scores: Tensor, dim: int = -1, keepdim: bool = False
) -> Tensor:
    r"""The logarithm of softmax's denominator, without overflow.

    .. math:: \log \sum_k e^{s_k}

    Parameters
    ----------
    scores : Tensor
        Any shape, floating point.
    dim : int
        The axis to sum over.
    keepdim : bool
        Whether `dim` stays, with size one.

    Returns
    -------
    Tensor
        `scores` without `dim`, at least float32; :math:`-\infty` for a row of
        :math:`-\infty`, which passes zeros back.

    Raises
    ------
    ValueError
        If `scores` is no floating tensor, or has no numbers along `dim`, or
        if `keepdim` is no boolean.

    Examples
    --------
    >>> log_sum_exp(torch.tensor([1000.0, 1000.0]))  # 1000 + log 2
    tensor(1000.6932)
    """
    check_scores(scores, dim)
    keepdim = truth("keepdim", keepdim)
    wide = scores.to(at_least_float32(scores.dtype))
    top = finite_maximum(wide, dim)
    total = torch.exp(wide - top).sum(dim, keepdim=True)
    empty = total == 0
    result = torch.log(total.masked_fill(empty, 1.0)) + top
    result = result.masked_fill(empty, -torch.inf)
    return result if keepdim else result.squeeze(dim)


def finite_maximum(scores: Tensor, dim: int) -> Tensor:
    """The largest score of each row, `dim` kept; 0 for a row of -inf.

    A constant for autograd, since it cancels.
    """
    top = scores.detach().amax(dim, keepdim=True)
    return top.masked_fill(top == -torch.inf, 0.0)


def check_scores(scores: Tensor, dim: int) -> None:
    """Raise a ValueError if softmax cannot be taken along `dim`."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        tensor = isinstance(scores, Tensor)
        got = scores.dtype if tensor else type(scores).__name__
        raise ValueError(
            f"scores must be a floating-point tensor, got {got}."
        )
    axes, axis = max(scores.ndim, 1), whole_number(dim)
    if axis is None or not -axes <= axis < axes:
        raise ValueError(
            f"dim must be an axis of scores, from {-axes} to {axes - 1}, got"
            f" {dim!r}."
        )
    if scores.ndim and not scores.shape[axis]:
        raise ValueError(
            f"scores must hold a number along axis {axis}, got shape"
            f" {list(scores.shape)}."
        )
