"""What fused kernels compute, in steps: PyTorch's own, taken apart."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32, without_autocast
from surgeon.anatomy.softmax import stable_softmax
from surgeon.recording.comparing import autocast_to


@dataclass
class Asked:
    """One call of a fused attention.

    Parameters
    ----------
    query, key, value : Tensor
        [..., T, d_k], [..., S, d_k] and [..., S, d_v].
    attn_mask : Tensor, optional
        Booleans, True may attend, or numbers to add.
    dropout_p : float
        How many of the weights become zero.
    is_causal : bool
        Whether the first query sees the first key alone, and so on.
    scale : float, optional
        One over the square root of d_k, if not given.
    enable_gqa : bool
        Whether several heads of queries share one of keys.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is one that PyTorch itself does not refuse."""
        Q, K, V = self.query, self.key, self.value
        nested = any(x.is_nested for x in (Q, K, V))
        twice = self.is_causal and self.attn_mask is not None
        return not nested and not twice and min(Q.ndim, K.ndim, V.ndim) > 1


def in_precision(*tensors: Tensor) -> Iterator[Tensor]:
    """Tensors in the precision that autocast would give them."""
    kinds = autocast_to(tensors[0].device.type)
    for x in tensors:
        for kind in kinds if x.dtype != torch.float64 else ():
            x = x.to(kind)
        yield x


# From weights [..., T, S] and the scores they were made of, to those to use
Change = Callable[[Tensor, Tensor], Tensor]


def in_steps(asked: Asked, change: Change) -> Tensor:
    """Its output, [..., T, d_v], by scores, weights and a sum.

    `change` is given the weights and the masked scores, and gives what
    multiplies the values.
    """
    Q, K, V = in_precision(asked.query, asked.key, asked.value)
    return _attend(Q, K, V, asked, change)


@without_autocast
def _attend(
    Q: Tensor, K: Tensor, V: Tensor, asked: Asked, change: Change
) -> Tensor:
    given, working = Q.dtype, at_least_float32(Q.dtype)
    Q, K, V = Q.to(working), K.to(working), V.to(working)
    if asked.enable_gqa:
        K = K.repeat_interleave(Q.shape[-3] // K.shape[-3], dim=-3)
        V = V.repeat_interleave(Q.shape[-3] // V.shape[-3], dim=-3)
    # 1. Every query meets every key.
    d_k = Q.shape[-1]
    scale = 1 / math.sqrt(d_k) if asked.scale is None else asked.scale
    scores = Q @ K.mT * scale
    # 2. What is hidden, or added.
    mask, (T, S) = asked.attn_mask, scores.shape[-2:]
    if asked.is_causal:
        past = torch.ones(T, S, dtype=torch.bool, device=Q.device).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    elif mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask.to(working)
    # 3. Each row becomes shares of one; where nothing is seen, zeros.
    weights = stable_softmax(scores)
    if asked.dropout_p:
        weights = torch.dropout(weights, asked.dropout_p, True)
    # 4. Each query's sum of the values.
    return (change(weights, scores) @ V).to(given)


def asked_of(args: tuple, named: dict[str, Any]) -> Asked | None:
    """A call of fused attention, or None if it is of another form."""
    try:
        asked = Asked(*args, **named)
    except TypeError:
        return None
    return asked if asked.plain else None


def without_overrides(function: Any) -> Any:
    """A copy of a function of PyTorch's that asks nobody to override it.

    Within, every call is seen by a mode, and not the whole alone.
    """
    names = {**function.__globals__, "has_torch_function": lambda _: False}
    copy = FunctionType(
        function.__code__,
        names,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def through_the_kernel(
    function: Any, args: tuple, named: dict[str, Any]
) -> tuple[Any, dict[str, Any], bool, bool]:
    """How to ask multi-head attention so that it goes through the kernel.

    Returns
    -------
    function : callable
        A copy that shows what it calls.
    given : dict
        Its arguments, without a wish for weights.
    wanted, averaged : bool
        Whether weights were wished for, and their mean over heads.
    """
    bound = inspect.signature(function).bind(*args, **named)
    bound.apply_defaults()
    given = dict(bound.arguments)
    wanted, averaged = given["need_weights"], given["average_attn_weights"]
    if wanted:  # it then reads the mask, whatever the hint says
        given |= {"need_weights": False, "is_causal": False}
    return without_overrides(function), given, wanted, averaged
