"""How many directions a matrix has; how far its rows are from equal."""

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
    singular = torch.linalg.svdvals(check_matrix("matrix", matrix))
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
    Source: dong2021 (book/references.bib), which measures what a best row
    leaves by :math:`\sqrt{\lVert x \rVert_1 \lVert x \rVert_\infty}`
    (largest column sum and largest row sum of absolute values) instead of
    Frobenius' norm, in which the best row is the mean.

    Examples
    --------
    >>> distance_to_rank_one(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
    tensor(0.)

    The mean is 4, the distance the root of (9 + 9) / (49 + 1):

    >>> distance_to_rank_one(torch.tensor([[7.0], [1.0]]))
    tensor(0.6000)
    """
    x = check_matrix("x", x)
    x = x / size_of(x)  # no square overflows or underflows
    whole = torch.linalg.matrix_norm(x)
    apart = torch.linalg.matrix_norm(x - x.mean(-2, keepdim=True))
    return apart / whole.masked_fill(whole == 0, 1.0)


def size_of(x: Tensor) -> Tensor:
    """The largest absolute number, 1 if there is none but zeros."""
    size = x.abs().amax((-2, -1), keepdim=True)
    return size.masked_fill(size == 0, 1.0)


def check_matrix(name: str, x: Tensor) -> Tensor:
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
