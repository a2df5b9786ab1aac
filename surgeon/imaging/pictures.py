"""How much of a head is a picture: weight on the cells that it means.

A picture is a set of cells: the diagonal, a column, what followed a token
when it stood there before. What a head gives these cells is compared with
what `uniform_weights` of the same mask gives them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.arguments import natural_number
from surgeon.imaging.patterns import check_blocked, check_weights


def weight_on(
    attention_weights: Tensor, cells: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    r"""The weight that queries give to the cells of a picture.

    With :math:`C_i` the cells of query `i` that it may look at, and `R` the
    queries that have a choice, that is, may look at some of their cells and
    at some key besides:

    .. math:: \frac1{|R|} \sum_{i \in R} \sum_{j \in C_i} a_{ij}

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, S]: each row sums to one or to zero.
    cells : Tensor
        Booleans [T, S]: where the picture is.
    mask : Tensor, optional
        The mask that the weights were made under, [T, S]; without it every
        key counts as visible.

    Returns
    -------
    Tensor
        [...], from 0 to 1. For a baseline, ask the same of
        `uniform_weights(mask)`.

    Raises
    ------
    ValueError
        If the weights are none, if `cells` are no booleans [T, S], if weight
        lies where the mask blocks, or if no query has a choice.

    Examples
    --------
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> from surgeon.imaging.patterns import uniform_weights
    >>> causal = create_causal_mask(3)
    >>> first = torch.tensor([True, False, False]).expand(3, 3)
    >>> even = uniform_weights(causal)
    >>> round(float(weight_on(even, first, mask=causal)), 4)
    0.4167

    The first query has no choice; the others give 1/2 and 1/3.
    """
    weights, seen = _read(attention_weights, mask)
    _check_cells(cells, weights)
    meant = cells.to(weights.device) & seen  # [T, S]
    choice = meant.any(-1) & (seen & ~meant).any(-1)  # [T]
    if not choice.any():
        raise ValueError(
            "cells must leave some query a choice, got none that may look at"
            " some of them and at a key besides."
        )
    rows = weights[..., choice, :] * meant[choice]
    return rows.sum(-1).mean(-1)


def repeat_cells(ids: Sequence[int] | Tensor, step: int = 1) -> Tensor:
    """Where a token stood before, or what followed it there.

    Parameters
    ----------
    ids : sequence of int or Tensor
        The `T` tokens' numbers.
    step : int
        How far from the earlier place: 0 is the earlier place itself, 1 the
        token that followed.

    Returns
    -------
    Tensor
        Booleans [T, T]: True at query `i` and key `j` where the token of `i`
        stood at ``j - step``, an earlier place than `i`, and `j` is before
        `i`.

    Raises
    ------
    ValueError
        If `ids` are no integers in a row, or `step` is none from 0 on.

    Examples
    --------
    The third token is the first again, which the second followed:

    >>> repeat_cells([7, 5, 7]).nonzero().tolist()
    [[2, 1]]
    >>> repeat_cells([7, 5, 7], step=0).nonzero().tolist()
    [[2, 0]]
    """
    number = torch.as_tensor(ids)
    if number.ndim != 1 or number.is_floating_point():
        raise ValueError(
            f"ids must be integers [T], got {list(number.shape)} of"
            f" {number.dtype}."
        )
    T = len(number)
    step = natural_number("step", step)
    place = torch.arange(T, device=number.device)
    same = (number[:, None] == number) & (place < place[:, None])
    followed = torch.zeros_like(same)
    followed[:, min(step, T) :] = same[:, : max(T - step, 0)]
    return followed & (place < place[:, None])


def mean_distance(
    attention_weights: Tensor, *, skip: int = 0, mask: Tensor | None = None
) -> Tensor:
    r"""How far queries look, in tokens, as their weights have it.

    .. math::
       \frac{\sum_i \sum_{j \ge s} a_{ij} |i - j|}
            {\sum_i \sum_{j \ge s} a_{ij}}

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, S]: each row sums to one or to zero.
    skip : int
        How many of the first keys are left out, as :math:`s` above: a head
        that gives all its weight to the first token looks at nothing far.
    mask : Tensor, optional
        The mask that the weights were made under, [T, S].

    Returns
    -------
    Tensor
        [...], in tokens; NaN where there is no weight. For a baseline, ask
        the same of `uniform_weights(mask)`.

    Raises
    ------
    ValueError
        If the weights are none, if weight lies where the mask blocks, or if
        `skip` leaves no key.

    Examples
    --------
    >>> steps = torch.eye(3).roll(1, 1)  # of 1, 1 and 2 tokens
    >>> round(float(mean_distance(steps)), 4)
    1.3333
    """
    weights, _ = _read(attention_weights, mask)
    T, S = weights.shape[-2:]
    skip = natural_number("skip", skip)
    if skip >= S:
        raise ValueError(f"skip must leave some of the {S} keys, got {skip}.")
    query = torch.arange(T, device=weights.device)
    key = torch.arange(skip, S, device=weights.device)
    far = (query[:, None] - key).abs() * weights[..., skip:]
    return far.sum((-2, -1)) / weights[..., skip:].sum((-2, -1))


def lead_within(
    attention_weights: Tensor, groups: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """Weight within groups of tokens that distance does not explain.

    For each distance that two tokens of one group can have, on either side:
    the mean weight on such pairs, less the mean weight on pairs as far apart
    in two groups; times the number of pairs within a group; added up, and
    divided by the number of tokens. A head that goes by distance alone has
    zero.

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, T]: each row sums to one or to zero.
    groups : Tensor
        Integers [T]: to which group each token belongs, from 0 on, or
        negative for a token that is left out.
    mask : Tensor, optional
        The mask that the weights were made under, [T, T]; pairs that it
        hides count nowhere.

    Returns
    -------
    Tensor
        [...], weight for each query. A distance at which no pair lies in two
        groups counts nowhere, nor does distance 0.

    Raises
    ------
    ValueError
        If the weights are none, if `groups` are no integers [T], if all are
        negative, or if weight lies where the mask blocks.

    Examples
    --------
    Each token reads the other of its pair, and none across:

    >>> pairs = torch.eye(4)[[1, 0, 3, 2]]
    >>> float(lead_within(pairs, torch.tensor([0, 0, 1, 1])))
    1.0

    Each reads the one before it, in whichever pair:

    >>> before = torch.eye(4)[[0, 0, 1, 2]]
    >>> float(lead_within(before, torch.tensor([0, 0, 1, 1])))
    0.0
    """
    weights, seen = _read(attention_weights, mask)
    T = weights.shape[-2]
    whole = isinstance(groups, Tensor) and not groups.is_floating_point()
    if not whole or list(groups.shape) != [T] or weights.shape[-1] != T:
        raise ValueError(
            f"groups must be integers [{T}] for weights [..., {T}, {T}], got"
            f" {list(getattr(groups, 'shape', []))} for"
            f" {list(weights.shape)}."
        )
    kept = groups >= 0
    if not kept.any():
        raise ValueError("groups must hold some token, got none from 0 on.")
    pairs = seen & kept & kept[:, None]
    same = pairs & (groups == groups[:, None])
    place = torch.arange(T)
    step = place - place[:, None]
    lead = weights.new_zeros(weights.shape[:-2])
    for d in sorted(set(step[same].tolist()) - {0}):
        near, far = same & (step == d), pairs & ~same & (step == d)
        if far.any():
            gap = weights[..., near].mean(-1) - weights[..., far].mean(-1)
            lead = lead + near.sum() * gap
    return lead / kept.sum()


def _read(weights: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weights, and which key each query may look at, [T, S]."""
    weights = check_weights(weights).detach()
    seen = visible(mask, weights.shape[-2:], weights.device)
    check_blocked(weights, seen.expand(weights.shape))
    return weights, seen


def _check_cells(cells: Tensor, weights: Tensor) -> None:
    wanted = list(weights.shape[-2:])
    got = getattr(cells, "dtype", type(cells).__name__)
    shape = list(getattr(cells, "shape", []))
    if got != torch.bool or shape != wanted:
        raise ValueError(
            f"cells must be booleans {wanted}, got {shape} of {got}."
        )
