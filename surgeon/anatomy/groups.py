"""Query heads in groups that share a head of keys, which is not copied."""

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import (
    attend,
    check_inputs,
    check_tokens,
    common_shape,
    read_mask,
)
from surgeon.arguments import probability, truth


def grouped_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Attention in which neighbouring query heads share keys and values.

    .. math::

        \mathrm{head}_h = \mathrm{Attention}(Q_h, K_j, V_j), \qquad
        j = \lfloor h / G \rfloor, \quad G = H / H_{kv}

    No head of keys is repeated for it: the queries of a group stand below
    each other, as if they were `G * T` queries of one head.

    Parameters
    ----------
    Q : Tensor
        [..., H, T, d].
    K, V : Tensor
        [..., H_kv, S, d]; H_kv divides H.
    mask : Tensor, optional
        As `attention` reads it, for scores [..., H, T, S].
    scale, dropout, generator
        As `attention` takes them.

    Returns
    -------
    output : Tensor
        [..., H, T, d].
    weights : Tensor
        [..., H, T, S].

    Raises
    ------
    ValueError
        If the heads of K and V are not alike, or do not divide those of Q, or
        as `attention`.

    Notes
    -----
    Source: ainslie2023 (book/references.bib).

    Examples
    --------
    >>> Q = torch.ones(6, 5, 7)  # 6 heads, and 2 key-value heads
    >>> K, V = torch.ones(2, 11, 7), torch.ones(2, 11, 7)
    >>> output, weights = grouped_attention(Q, K, V)
    >>> list(output.shape), list(weights.shape)
    ([6, 5, 7], [6, 5, 11])
    """
    check_groups(Q, K, V)
    scale, dropout = truth("scale", scale), probability("dropout", dropout)
    # [..., 1 or H, T, S]
    additive = read_mask(mask, Q, K[..., :1, :, :])
    return attend_in_groups(Q, K, V, additive, scale, dropout, generator)


def attend_in_groups(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    softcap: float | None = None,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The steps of grouped attention, for inputs that have been checked.

    `mask` is what is added to the scores, [..., H, T, S], `softcap` as
    `attend` takes it, and `sink` a score for each head, [H]. All other
    parameters are as `grouped_attention` takes them.
    """
    group, T = Q.shape[-3] // K.shape[-3], Q.shape[-2]

    # 1. A group's queries below each other: [..., H_kv, G * T, d].
    below = fold(Q, group)
    # 2. What is added to their scores goes with them.
    if mask is not None:
        mask = fold(for_each_head(mask, Q.shape[-3], group, T), group)
    if sink is not None:
        sink = fold(sink[:, None, None].expand(-1, T, 1), group)
    # 3. They attend as if they were queries of one head.
    stages = attend(
        below, K, V, mask, scale, dropout, generator, softcap, sink
    )
    # 4. Each head takes its rows: [..., H, T, d] and [..., H, T, S].
    return unfold(stages.output, group), unfold(stages.weights, group)


def fold(x: Tensor, group: int) -> Tensor:
    """[..., H, T, n] -> [..., H_kv, G * T, n]: neighbours share."""
    return x.unflatten(-3, (-1, group)).flatten(-3, -2)


def unfold(x: Tensor, group: int) -> Tensor:
    """[..., H_kv, G * T, n] -> [..., H, T, n]: undo `fold`."""
    return x.unflatten(-2, (group, -1)).flatten(-4, -3)


def for_each_head(mask: Tensor, H: int, group: int, T: int) -> Tensor:
    """A row for each query of each head, [..., H, T, S].

    If one mask serves all heads it is repeated for one group alone, [...,
    G, T, S]: folded, it serves all groups.
    """
    one_for_all = mask.ndim == 2 or mask.shape[-3] == 1
    heads = group if one_for_all else H
    return mask.expand(*mask.shape[:-3], heads, T, mask.shape[-1])


def check_groups(Q: Tensor, K: Tensor, V: Tensor) -> None:
    """Raise a ValueError, as `grouped_attention` documents it."""
    for name, x in (("Q", Q), ("K", K), ("V", V)):
        if not isinstance(x, Tensor) or x.ndim < 3:
            tensor = isinstance(x, Tensor)
            got = f"shape {list(x.shape)}" if tensor else type(x).__name__
            raise ValueError(
                f"{name} must be a tensor [..., heads, sequence, width], got"
                f" {got}."
            )
        check_tokens(name, x)
    H, H_kv = Q.shape[-3], K.shape[-3]
    if H_kv != V.shape[-3]:
        raise ValueError(
            f"K and V must have as many heads as each other, got {H_kv} and"
            f" {V.shape[-3]}."
        )
    if not H or not H_kv or H % H_kv:
        raise ValueError(
            f"K must have a number of heads that divides Q's ({H}), got"
            f" {H_kv}."
        )
    try:
        common_shape(*(x.shape[:-3] for x in (Q, K, V)))
    except RuntimeError:
        lead = ", ".join(str(list(x.shape[:-3])) for x in (Q, K, V))
        raise ValueError(
            "Q, K and V must have axes before the heads that broadcast, got"
            f" {lead}."
        ) from None
    # the rest is as between any queries, keys and values of one head
    check_inputs(Q[..., 0, :, :], K[..., 0, :, :], V[..., 0, :, :])
