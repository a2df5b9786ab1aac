"""PyTorch's flexible attention in steps: any function of the scores."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32, without_autocast
from surgeon.anatomy.softmax import log_sum_exp, stable_softmax
from surgeon.recording.fused import Change, in_precision


def is_flexible(function: Any) -> bool:
    """Whether it is the operation behind `flex_attention`."""
    operation = isinstance(function, torch._ops.HigherOrderOperator)
    return operation and function.__name__ == "flex_attention"


def flexibly_in_steps(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: tuple[Any, ...],
    scale: float,
    *_: Any,
    change: Change,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the operation gives: output, log-sum-exps and maxima.

    Parameters
    ----------
    Q, K, V : Tensor
        [B, H, T, d_k], [B or 1, H_kv, S, d_k] and [B or 1, H_kv, S, d_v].
    score_mod : callable
        From a score and its place (b, h, q, k) to another.
    block_mask : tuple
        Ends with a function from a place to whether it is seen.
    scale : float
        What scores are multiplied by.
    change : callable
        Is given the weights and the masked scores, and gives what multiplies
        the values.

    Returns
    -------
    output, lse, largest : Tensor
        [B, H, T, d_v], [B, H, T] and [B, H, T]; the last two over log 2, as
        the operation has them.
    """
    Q, K, V = in_precision(Q, K, V)
    return _attend(Q, K, V, score_mod, block_mask[-1], scale, change)


@without_autocast
def _attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    score_mod: Callable[..., Tensor],
    mask_mod: Callable[..., Tensor],
    scale: float,
    change: Change,
) -> tuple[Tensor, Tensor, Tensor]:
    given, working = Q.dtype, at_least_float32(Q.dtype)
    (B, H, T), (S, groups) = Q.shape[:3], (K.shape[-2], K.shape[1])
    K, V = (x.expand(B, *x.shape[1:]).to(working) for x in (K, V))
    K, V = (x.repeat_interleave(H // groups, dim=1) for x in (K, V))
    # 1. Every query meets every key.
    scores = Q.to(working) @ K.mT * scale
    # 2. Each score, and whether it is seen, by its place.
    places = [torch.arange(n, device=Q.device) for n in (B, H, T, S)]
    scores = _everywhere(score_mod, 1)(scores, *places)
    seen = _everywhere(mask_mod, 0)(*places)
    scores = scores.masked_fill(~seen, -torch.inf)
    # 3. Shares of one; zeros where nothing is seen. 4. Sums of the values.
    output = change(stable_softmax(scores), scores) @ V
    lse, largest = log_sum_exp(scores), scores.amax(-1)
    return output.to(given), lse / math.log(2), largest / math.log(2)


def _everywhere(function: Any, scores: int) -> Any:
    """A function of single places, at all of [B, H, T, S] at once."""
    for place in (3, 2, 1, 0):
        places = [0 if n == place else None for n in range(4)]
        function = torch.vmap(function, in_dims=(*[0] * scores, *places))
    return function
