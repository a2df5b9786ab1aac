"""The formula that a subject is compared with, in float64."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax

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
) -> Tensor:
    """Weights [B, H, T, S] in float64; NaN in rows that see no key.

    Parameters
    ----------
    Q, K : Tensor
        [B, H, T, d_k], [B, H_kv, S, d_k].
    allowed : Tensor, optional
        Boolean, broadcastable to [B, H, T, S].
    factor : float, optional
        What scores are multiplied by, one over the square root of d_k if not
        given.
    turns : bool
        Whether key heads are in the order of `repeat`, where neighbours
        should share one.
    axis : int
        The axis that sums to one.
    fill : float
        What a hidden score becomes.
    after : bool
        Whether weights are hidden after softmax instead.
    """
    Q, K = Q.double(), spread(K.double(), Q.shape[1], turns)
    factor = 1 / math.sqrt(Q.shape[-1]) if factor is None else factor
    scores = Q @ K.mT * factor
    if allowed is None:
        return stable_softmax(scores, axis)
    allowed = allowed.expand(scores.shape)
    if after:
        return stable_softmax(scores, axis) * allowed
    weights = stable_softmax(scores.masked_fill(~allowed, fill), axis)
    dead = ~allowed.any(-1, keepdim=True) & (fill == -math.inf)
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


def spread(x: Tensor, heads: int, turns: bool = False) -> Tensor:
    """[B, H_kv, S, d] to [B, H, S, d]: keys for neighbours, or not."""
    group = heads // x.shape[1]
    if turns:
        return x.repeat(1, group, 1, 1)
    return x.repeat_interleave(group, 1)
