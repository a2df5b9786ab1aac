"""Queries and keys made alike in length before they are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Norm = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# small numbers that implementations put beside the square of a length
SMALL = (0.0, 1e-6, 1e-5, 1e-8, 1e-12, torch.finfo(torch.float32).eps)


@dataclass(frozen=True)
class RowNorm:
    """Each row over its length (l2) or its root mean square (rms).

    Parameters
    ----------
    kind : str
        "l2", "rms", or "layer", which takes the mean of the row first.
    eps : float
        Added to the square under the root.
    gains : (Tensor, Tensor), optional
        [d], or [H, d], that multiply queries and keys.
    over : tuple of int
        The axes of [B, H, T, d] that share one length.
    only : str
        "Q" or "K", if the other is left alone.
    of : str
        Whose norm divides: "own"; "the query's", of the keys as well; "the
        query's key", of the queries as well; both where there are as many
        keys as queries, and broadcasting lets them pass.
    power : int
        1 for the root, 2 if it is forgotten.
    """

    kind: str
    eps: float = 0.0
    gains: tuple[Tensor, Tensor] | None = None
    over: tuple[int, ...] = (-1,)
    only: str = ""
    of: str = "own"
    power: int = 1

    def __call__(self, Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        q, k = (self.centred(x) for x in (Q, K))
        lengths = self.length(q), self.length(k)
        mixed = self.of if Q.shape[2] == K.shape[2] else "own"
        if mixed == "the query's":
            lengths = lengths[0], _fitted(lengths[0], k)
        if mixed == "the query's key":
            both = lengths[0] * _fitted(lengths[1], q)
            lengths = both, torch.ones_like(lengths[1])
        q = Q if self.only == "K" else q / lengths[0]
        k = K if self.only == "Q" else k / lengths[1]
        if self.gains is not None:
            gains = (_for_heads(gain, q) for gain in self.gains)
            q, k = (x * gain for x, gain in zip((q, k), gains, strict=True))
        return q, k

    def centred(self, x: Tensor) -> Tensor:
        if self.kind != "layer":
            return x
        return x - x.mean(self.over, keepdim=True)

    def length(self, x: Tensor) -> Tensor:
        """By what rows are divided; a row of zeros by a small number."""
        square = x.square()
        if self.kind == "l2":
            total = square.sum(self.over, keepdim=True)
        else:
            total = square.mean(self.over, keepdim=True)
        total = (total + self.eps).clamp(min=1e-24)
        return total if self.power == 2 else total.sqrt()


@dataclass(frozen=True)
class CalledNorm:
    """A norm as the caller has it: x [B, H, T, d] and "Q" or "K" to x."""

    function: Callable[..., Any]
    only: str = ""

    def __call__(self, Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        q = Q if self.only == "K" else self.function(Q, "Q")
        k = K if self.only == "Q" else self.function(K, "K")
        return q.to(Q.dtype), k.to(K.dtype)


def _fitted(lengths: Tensor, x: Tensor) -> Tensor:
    """Lengths of one of Q and K for as many heads as the other has."""
    if lengths.shape[1] in (1, x.shape[1]):
        return lengths
    if lengths.shape[1] < x.shape[1]:
        return lengths.repeat_interleave(x.shape[1] // lengths.shape[1], 1)
    return lengths[:, :: lengths.shape[1] // x.shape[1]]


def _for_heads(gain: Tensor, x: Tensor) -> Tensor:
    """[d] as it is, [H, d] beside the tokens."""
    gain = gain.to(x.dtype)
    return gain if gain.ndim < 2 else gain[:, None]
