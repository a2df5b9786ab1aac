"""The formula that a subject is compared with, in float64."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.designs.design import PLAIN, Design, spread

# Q [B, H, T, d_k], K [B, H_kv, S, d_k], V [B, H_kv, S, d_v]
Inputs = tuple[Tensor, Tensor, Tensor]
# from these to [B, H, T, d_v]
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal(T: int, S: int = 0) -> Tensor:
    """Boolean [T, S]: the last query sees the last key."""
    S = S or T
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def weigh(
    Q: Tensor,
    K: Tensor,
    allowed: Tensor | None = None,
    *,
    factor: float | None = None,
    turns: bool = False,
    axis: int = -1,
    fill: float = -math.inf,
    after: bool = False,
    design: Design = PLAIN,
) -> Tensor:
    """Weights [B, H, T, S] in float64; NaN in rows that see no key.

    Parameters
    ----------
    Q, K : Tensor
        [B, H, T, d_k], [B, H_kv, S, d_k].
    allowed : Tensor, optional
        Boolean, broadcastable to [B, H, T, S].
    factor : float, optional
        What scores are multiplied by, what the design says if not given.
    turns : bool
        Whether key heads are in the order of `repeat`, where neighbours
        should share one.
    axis : int
        The axis that sums to one.
    fill : float
        What a hidden score becomes.
    after : bool
        Whether weights are hidden after softmax instead.
    design : Design
        What happens to queries, keys and scores.
    """
    seen = design.sees(Q.shape[2], K.shape[2])
    if design.linear:
        return _of_features(Q, K, allowed, seen, factor, design)
    scores = design.scores(Q.double(), K.double(), factor, turns)
    if allowed is not None and not after:
        scores = scores.masked_fill(~allowed.expand(scores.shape), fill)
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    weights = design.share(scores, axis)
    if allowed is not None and after:
        return weights * allowed
    if allowed is None and seen is None:
        return weights
    alive = torch.ones_like(scores, dtype=torch.bool)
    for some in (allowed if fill == -math.inf else None, seen):
        alive = alive if some is None else alive & some
    return weights.masked_fill(~alive.any(-1, keepdim=True), math.nan)


def _of_features(
    Q: Tensor,
    K: Tensor,
    allowed: Tensor | None,
    seen: Tensor | None,
    factor: float | None,
    design: Design,
) -> Tensor:
    """Weights of linear attention; NaN in rows that see no key."""
    shown = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool)
    for some in (allowed, seen):
        shown = shown if some is None else shown & some
    weights = design.weights(Q.double(), K.double(), factor, shown)
    dead = ~shown.any(-1, keepdim=True)
    return weights.masked_fill(dead, math.nan)


def attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    allowed: Tensor | None = None,
    *,
    turns: bool = False,
    **how: Any,
) -> Tensor:
    """Output [B, H, T, d_v] in float64, as `weigh` has it.

    NaN in rows that see no key.
    """
    weights = weigh(Q, K, allowed, turns=turns, **how)
    return weights @ spread(V.double(), Q.shape[1], turns)
