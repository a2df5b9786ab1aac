"""Query heads in groups, each with one head of keys and values, which is not copied."""

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.mask_reading import as_additive


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
    r"""Attention in which neighbouring query heads share a key and value head.

    .. math:: \mathrm{head}_h = \mathrm{Attention}(Q_h, K_j, V_j), \qquad
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
    >>> Q, K, V = torch.ones(6, 5, 7), torch.ones(2, 11, 7), torch.ones(2, 11, 7)  # 6 heads, 2 pairs
    >>> output, weights = grouped_attention(Q, K, V)
    >>> list(output.shape), list(weights.shape)
    ([6, 5, 7], [6, 5, 11])
    """
    _check_groups(Q, K, V)
    group, T = Q.shape[-3] // K.shape[-3], Q.shape[-2]
    if mask is not None:
        mask = _fold_mask(mask, Q, K)
    Q = Q.unflatten(-3, (-1, group)).flatten(
        -3, -2
    )  # [..., H_kv, G * T, d]: neighbours share
    output, weights = attention(
        Q, K, V, mask, scale, dropout=dropout, generator=generator
    )
    output, weights = (
        x.unflatten(-2, (group, T)) for x in (output, weights)
    )  # [..., H_kv, G, T, d or S]
    return output.flatten(-4, -3), weights.flatten(
        -4, -3
    )  # [..., H, T, d or S]


def _fold_mask(mask: Tensor, Q: Tensor, K: Tensor) -> Tensor:
    """A mask for scores [..., H, T, S] as one for [..., H_kv, G * T, S]; it stays one for all heads if it was."""
    lead = torch.broadcast_shapes(Q.shape[:-3], K.shape[:-3])
    H, T, S = *Q.shape[-3:-1], K.shape[-2]
    # float64, so that no number in it is rounded to one that reads otherwise
    mask = as_additive(
        mask, (*lead, H, T, S), dtype=torch.float64, device=Q.device
    )
    group = H // K.shape[-3]
    one_for_all = mask.ndim == 2 or mask.shape[-3] == 1
    mask = mask.expand(*mask.shape[:-3], group if one_for_all else H, T, S)
    return mask.unflatten(-3, (-1, group)).flatten(-3, -2)


def _check_groups(Q: Tensor, K: Tensor, V: Tensor) -> None:
    for name, x in (("Q", Q), ("K", K), ("V", V)):
        if not isinstance(x, Tensor) or x.ndim < 3:
            got = (
                f"shape {list(x.shape)}"
                if isinstance(x, Tensor)
                else type(x).__name__
            )
            raise ValueError(
                f"{name} must be a tensor [..., heads, sequence, width], got"
                f" {got}."
            )
    if K.shape[-3] != V.shape[-3]:
        raise ValueError(
            "K and V must have as many heads as each other, got"
            f" {K.shape[-3]} and {V.shape[-3]}."
        )
    if K.shape[-3] < 1 or Q.shape[-3] % K.shape[-3]:
        raise ValueError(
            f"K must have a number of heads that divides Q's ({Q.shape[-3]}),"
            f" got {K.shape[-3]}."
        )
    try:
        torch.broadcast_shapes(*(x.shape[:-3] for x in (Q, K, V)))
    except RuntimeError:
        lead = ", ".join(str(list(x.shape[:-3])) for x in (Q, K, V))
        raise ValueError(
            "Q, K and V must have axes before the heads that broadcast, got"
            f" {lead}."
        ) from None
