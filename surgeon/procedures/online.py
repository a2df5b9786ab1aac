"""Attention over a part of the keys, and what joins two parts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.precision import at_least_float32
from surgeon.anatomy.softmax import log_sum_exp


class Partial(NamedTuple):
    r"""What attention over some keys leaves behind: enough to go on later.

    Notes
    -----
    For a query with scores :math:`s_j` on the keys `j` of one part, with
    :math:`Z = \sum_j e^{s_j}`, `out` is :math:`\sum_j e^{s_j} v_j / Z` and
    `lse` is :math:`\log Z`: an average, and how much it weighs. Source:
    milakov2018, dao2022 (book/references.bib).
    """

    #: attention over these keys alone, [..., T, d_v]; zero where a query sees
    #: none of them
    out: Tensor
    #: logarithm of softmax's denominator over these keys, [..., T]; minus
    #: infinity where it sees none
    lse: Tensor


def partial_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
) -> Partial:
    """Attention over the keys given, as if there were no others.

    Parameters
    ----------
    Q, K, V, mask, scale
        As `surgeon.attention` takes them; K and V may be any part of the keys
        and values.

    Returns
    -------
    Partial
        out [..., T, d_v] in the precision of the inputs, lse [..., T] in at
        least float32.

    Raises
    ------
    ValueError
        As `surgeon.attention`.

    Examples
    --------
    The mean of three, and log 3:

    >>> values = torch.tensor([[1.0], [2.0], [3.0]])
    >>> part = partial_attention(torch.zeros(1, 2), torch.zeros(3, 2), values)
    >>> part.out, part.lse
    (tensor([[2.]]), tensor([1.0986]))
    """
    stages = dissect(Q, K, V, mask, scale)
    return Partial(stages.output, log_sum_exp(stages.masked))


def empty_partial(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Partial:
    r"""Attention over no key at all; merging with it changes nothing.

    Its output is zero, its log-sum-exp :math:`-\infty`.

    Parameters
    ----------
    shape : sequence of int
        Shape of `out`, [..., T, d_v].
    dtype : torch.dtype
        Precision of `out`; `lse` has at least float32.
    device : str or torch.device
        Where both are made.

    Returns
    -------
    Partial
        out of that shape, lse of that shape without its last axis.

    Raises
    ------
    ValueError
        If the shape has fewer than two axes.

    Examples
    --------
    >>> empty_partial((1, 2))
    Partial(out=tensor([[0., 0.]]), lse=tensor([-inf]))
    """
    _check_axes("shape", shape)
    rows, wide = tuple(shape[:-1]), at_least_float32(dtype)
    lse = torch.full(rows, -torch.inf, dtype=wide, device=device)
    return Partial(torch.zeros(tuple(shape), dtype=dtype, device=device), lse)


def merge(a: Partial, b: Partial) -> Partial:
    r"""Join attention over two parts of the keys into attention over both.

    .. math::

        \ell = \log(e^{\ell_a} + e^{\ell_b}), \qquad
        o = e^{\ell_a - \ell}\, o_a + e^{\ell_b - \ell}\, o_b

    Each output counts by its share of the common denominator. The order does
    not matter, nor does the grouping, and `empty_partial` changes nothing: so
    keys may be read in any pieces, one after the other or on many machines.

    Parameters
    ----------
    a, b : Partial
        Over disjoint parts of the keys, for the same queries.

    Returns
    -------
    Partial
        As if the keys had been read at once; differentiable in all four
        tensors, also where a part is empty.

    Raises
    ------
    ValueError
        If the shapes of `a` and `b`, or of an `out` and its `lse`, disagree,
        or if these have too few axes.

    Examples
    --------
    One key, of value 8, and three keys, of value 0:

    >>> one = Partial(torch.tensor([[8.0]]), torch.tensor([1.0]).log())
    >>> three = Partial(torch.tensor([[0.0]]), torch.tensor([3.0]).log())
    >>> merge(one, three).out
    tensor([[2.]])
    """
    _check_pair(a, b)
    top = torch.maximum(a.lse, b.lse).detach()
    # both empty: shift by anything finite
    top = top.masked_fill(top == -torch.inf, 0.0)
    # the larger of these is 1
    share_a, share_b = torch.exp(a.lse - top), torch.exp(b.lse - top)
    total = share_a + share_b
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    share_a, share_b = share_a / total, share_b / total
    out = share_a[..., None] * a.out + share_b[..., None] * b.out
    lse = (torch.log(total) + top).masked_fill(empty, -torch.inf)
    return Partial(out.to(a.out.dtype), lse)


def _check_pair(a: Partial, b: Partial) -> None:
    for name, part in (("a", a), ("b", b)):
        _check_axes(f"{name}.out", part.out.shape)
        if part.out.shape[:-1] != part.lse.shape:
            out, lse = list(part.out.shape), list(part.lse.shape)
            raise ValueError(
                f"{name}.lse must have the shape of {name}.out without its"
                f" last axis, got {lse} and {out}."
            )
    if a.out.shape != b.out.shape:
        raise ValueError(
            f"a and b must have outputs of one shape, got {list(a.out.shape)}"
            f" and {list(b.out.shape)}."
        )


def _check_axes(name: str, shape: Sequence[int]) -> None:
    if len(shape) < 2:
        raise ValueError(
            f"{name} must have at least two axes (sequence, width), got"
            f" {list(shape)}."
        )
