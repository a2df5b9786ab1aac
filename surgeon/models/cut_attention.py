"""Attention with cuts: the steps, and where each cut acts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.mask_reading import as_additive, visible
from surgeon.anatomy.positions import Positions
from surgeon.models.cuts import Cut


def attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    real: Tensor,
    cuts: Sequence[Cut],
    added: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention with cuts: output, scores and weights.

    Without cuts it is `surgeon.attention`, which is two of the five stages of
    `dissect`.

    Parameters
    ----------
    Q, K, V : Tensor
        [B, H, T, d_k], [B, H, S, d_k] and [B, H, S, d_v].
    real : Tensor
        Booleans [B, 1, S]: which tokens are no padding. The queries are those
        of the last T.
    cuts : sequence of Cut
        The cuts in this layer.
    added : Tensor, optional
        What the model itself adds to the scores, [H, T, S], or broadcastable
        to it.

    Returns
    -------
    output, scores, weights : Tensor
        [B, H, T, d_v] and twice [B, H, T, S].

    Raises
    ------
    ValueError
        If there is no such head, or if a cut's mask or weights do not fit.
    """
    H = Q.shape[1]
    # 1. What multiplies the queries multiplies the scores.
    factor = Q.new_ones(H, 1, 1)
    for cut in cuts:
        factor[cut.heads_of(H)] *= cut.scale
    # 2. Padding is hidden from every head, and more from some.
    mask = real[:, None]  # [B, 1, 1, S]
    if added is not None or any(cut.mask or cut.hide != () for cut in cuts):
        mask = _bias(cuts, Q, K, added).masked_fill(~mask, -torch.inf)
    # 3. Attention, in which some values count as zero.
    V = _mute(V, cuts)
    stages = dissect(Q * factor, K, V, mask)
    output, weights = stages.output, stages.weights
    # 4. Some heads are given other weights to take their values with.
    if any(cut.weights is not None for cut in cuts):
        seen = visible(mask, weights.shape, weights.device)
        weights = _replace(weights, seen, real, cuts)
        output = weights @ V
    return output, stages.scores, weights


def turn(
    Q: Tensor, K: Tensor, own: Positions, cuts: Sequence[Cut]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys told where they stand, head by head.

    Parameters
    ----------
    Q, K : Tensor
        [B, H, T, d_k] and [B, H, S, d_k]; the queries are those of the last
        T tokens.
    own : Positions
        How the model tells them.
    cuts : sequence of Cut
        The cuts in this layer.

    Returns
    -------
    Q, K : Tensor
        As they were given, and turned.
    bias : Tensor
        What is added to the scores, [H, T, S]: zeros, unless distances count
        there.

    Raises
    ------
    ValueError
        If there is no such head, or if a scheme is for another number of
        heads.
    """
    H, (T, S) = Q.shape[1], (Q.shape[2], K.shape[2])
    places = torch.arange(S, device=Q.device)
    # 1. What each head uses: a scheme, and two shifts.
    schemes: list[tuple[Positions, float, float]] = [(own, 0, 0)] * H
    for cut in cuts:
        for h in cut.heads_of(H):
            scheme, of_queries, of_keys = schemes[h]
            schemes[h] = (
                scheme if cut.positions is None else cut.positions,
                of_queries + cut.shift_queries,
                of_keys + cut.shift_keys,
            )
    # 2. Heads that use the same are turned together.
    turned_Q, turned_K = torch.empty_like(Q), torch.empty_like(K)
    bias = Q.new_zeros(H, T, S)
    for each in set(schemes):
        scheme, of_queries, of_keys = each
        heads = [h for h in range(H) if schemes[h] == each]
        queries, keys = places[S - T :] + of_queries, places + of_keys
        turned_Q[:, heads] = scheme.turn(Q[:, heads], queries)
        turned_K[:, heads] = scheme.turn(K[:, heads], keys)
        of_distance = scheme.bias(queries, keys)
        if of_distance is not None:
            _check_bias(of_distance, H)
            bias[heads] = of_distance.to(bias)[heads]
    return turned_Q, turned_K, bias


def open_heads(cuts: Sequence[Cut], H: int) -> list[int]:
    """The heads of a layer whose own mask was taken away."""
    return sorted({h for c in cuts if not c.causal for h in c.heads_of(H)})


def _bias(
    cuts: Sequence[Cut], Q: Tensor, K: Tensor, added: Tensor | None
) -> Tensor:
    """What is added to the scores of each head, [H, T, S]."""
    H, T, S = Q.shape[1], Q.shape[2], K.shape[2]
    bias = Q.new_zeros(H, T, S)
    if added is not None:
        bias = bias + added
    for cut in cuts:
        heads = cut.heads_of(H)
        if cut.mask is not None:
            # of all tokens; the queries are the last of them
            hidden = as_additive(
                cut.mask(S), (S, S), dtype=Q.dtype, device=Q.device
            )
            bias[heads] += hidden.expand(S, S)[S - T :]
        for token in cut.hidden_of(S):
            bias[heads, :, token] = -torch.inf
    return bias


def _mute(V: Tensor, cuts: Sequence[Cut]) -> Tensor:
    """Values [B, H, S, d_v], of which some tokens' are zero."""
    H, S = V.shape[1:3]
    for cut in cuts:
        tokens = cut.muted_of(S)
        if tokens:
            gives = V.new_ones(H, S, 1)
            for h in cut.heads_of(H):
                gives[h, tokens] = 0.0
            V = V * gives
    return V


def _replace(
    weights: Tensor, seen: Tensor, real: Tensor, cuts: Sequence[Cut]
) -> Tensor:
    """Weights [B, H, T, S], with those that the cuts give in their place."""
    weights = weights.clone()
    for cut in cuts:
        if cut.weights is not None:
            heads = cut.heads_of(weights.shape[1])
            before = weights[:, heads]
            after = cut.weights(before, seen[:, heads])
            weights[:, heads] = _without_padding(after, before, real)
    return weights


def fitting(after: Any, before: Tensor) -> Tensor:
    """What a cut gave for weights, as wide and of their kind.

    An error if it is no tensor of their shape, or of [T, S].
    """
    whole = before.shape
    if not isinstance(after, Tensor) or after.shape not in (whole, whole[2:]):
        tensor = isinstance(after, Tensor)
        got = list(after.shape) if tensor else type(after).__name__
        raise ValueError(
            f"weights of a cut must give a tensor {list(whole)}, as they were"
            f" given, got {got}."
        )
    return after.to(before).expand(whole)


def _without_padding(after: Any, before: Tensor, real: Tensor) -> Tensor:
    """Weights that a cut gave: none for padding, and an error for any on it.

    As wide as the weights before the cut, of their kind, and where they are.
    """
    after = fitting(after, before)
    keys = real[:, None]  # [B, 1, 1, S]
    queries = keys[..., -before.shape[2] :].mT  # [B, 1, T, 1]
    after = after.masked_fill(~queries, 0.0)
    if (after.masked_fill(keys, 0.0) != 0).any():
        raise ValueError(
            "weights of a cut must be 0 on padding, where its second argument"
            " is False, got other numbers."
        )
    return after


def _check_bias(bias: Tensor, H: int) -> None:
    if bias.ndim != 3 or bias.shape[0] != H:
        heads = bias.shape[0] if bias.ndim == 3 else list(bias.shape)
        raise ValueError(
            f"positions of a cut must be for all {H} heads of a layer, got"
            f" some for {heads}."
        )
