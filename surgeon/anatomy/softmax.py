"""Softmax by hand: the form in the textbooks, and the form that survives real scores."""

import torch
from torch import Tensor


def naive_softmax(scores: Tensor, dim: int = -1) -> Tensor:
    r"""Softmax as the formula says it, :math:`e^{s_j} / \sum_k e^{s_k}`, overflow included.

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
    powers = torch.exp(scores)
    return powers / powers.sum(dim, keepdim=True)


def stable_softmax(scores: Tensor, dim: int = -1) -> Tensor:
    r"""Softmax that neither overflows nor turns an empty row into NaN.

    .. math:: a_j = \frac{e^{s_j - m}}{\sum_k e^{s_k - m}}, \qquad m = \max_k s_k

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
    wide = scores.to(at_least_float32(scores.dtype))
    # The largest power is e^0 = 1; those of blocked scores are e^-inf = 0.
    powers = torch.exp(wide - finite_maximum(wide, dim))
    total = powers.sum(dim, keepdim=True)
    # A row of zeros: divide by anything but zero.
    total = total.masked_fill(total == 0, 1.0)
    return (powers / total).to(scores.dtype)


def log_sum_exp(
    scores: Tensor, dim: int = -1, keepdim: bool = False
) -> Tensor:
    r"""The logarithm of softmax's denominator, :math:`\log \sum_k e^{s_k}`, without overflow.

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

    Examples
    --------
    >>> log_sum_exp(torch.tensor([1000.0, 1000.0]))  # 1000 + log 2
    tensor(1000.6932)
    """
    wide = scores.to(at_least_float32(scores.dtype))
    top = finite_maximum(wide, dim)
    total = torch.exp(wide - top).sum(dim, keepdim=True)
    empty = total == 0
    result = (torch.log(total.masked_fill(empty, 1.0)) + top).masked_fill(
        empty, -torch.inf
    )
    return result if keepdim else result.squeeze(dim)


def finite_maximum(scores: Tensor, dim: int) -> Tensor:
    """The largest score of each row, `dim` kept; 0 for a row of -inf. A constant for autograd, since it cancels."""
    top = scores.detach().amax(dim, keepdim=True)
    return top.masked_fill(top == -torch.inf, 0.0)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The precision to add up in: float32 for the half precisions, otherwise the one that came."""
    return torch.promote_types(dtype, torch.float32)
