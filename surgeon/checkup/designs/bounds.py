"""What keeps scores and weights within bounds: a cap, and a sink."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surgeon.anatomy.softmax import finite_maximum, stable_softmax


@dataclass(frozen=True)
class Cap:
    """Scores bent to a limit, c tanh(s / c).

    Parameters
    ----------
    size : float
        The limit.
    outer : float, optional
        What the tangent is multiplied by, if not by the limit.
    hard : bool
        Whether scores are cut off instead.
    raw : bool
        Whether products are bent, before they are scaled.
    late : bool
        Whether it comes after keys are hidden.
    own : bool
        Whether the tangent is multiplied by the score itself.
    """

    size: float
    outer: float | None = None
    hard: bool = False
    raw: bool = False
    late: bool = False
    own: bool = False

    def bent(self, products: Tensor, factor: float | Tensor) -> Tensor:
        """Scores, of products and what they are multiplied by."""
        if self.raw:
            return self.bend(products) * factor
        scores = products * factor
        return scores if self.late else self.bend(scores)

    def bend(self, scores: Tensor) -> Tensor:
        if self.hard:
            return scores.clamp(-self.size, self.size)
        if self.own:
            return scores * torch.tanh(scores / self.size)
        outer = self.size if self.outer is None else self.outer
        return outer * torch.tanh(scores / self.size)


@dataclass(frozen=True)
class Sink:
    """A score beside the keys, which takes its share and gives nothing.

    Parameters
    ----------
    scores : Tensor or None
        [H] or [1], or [n, 1] where each query has its own, in turns; None if
        they are learned, and not read off yet.
    unshifted : bool
        Whether its power stays while the others are divided by that of the
        row's maximum.
    bare : bool
        Whether the score itself, and no power of it, is in the denominator.
    """

    scores: Tensor | None
    unshifted: bool = False
    bare: bool = False

    def share(self, scores: Tensor) -> Tensor:
        """Weights [B, H, T, S], of rows that sum to less than one."""
        assert self.scores is not None
        sink = self.scores.to(scores)
        T = scores.shape[-2]
        each = sink[torch.arange(T) % len(sink)] if sink.ndim > 1 else sink
        sink = each if sink.ndim > 1 else sink[:, None, None]
        sink = sink.expand(*scores.shape[:-1], 1)
        if not self.unshifted and not self.bare:
            return stable_softmax(torch.cat([scores, sink], -1))[..., :-1]
        top = finite_maximum(scores, -1)
        powers = torch.exp(scores - top)
        beside = sink.exp() if self.unshifted else sink * torch.exp(-top)
        return powers / (powers.sum(-1, keepdim=True) + beside)
