"""Faults of dropout and of random numbers: in the wrong mode, at the wrong place, or everybody's."""

import math

import torch
from torch import Tensor, nn

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import Layer, fault, seen


@fault(
    "same answer twice",
    thread="pytorch124464",
    repair="dropout(weights, p, self.training).",
)
class DropoutInEvaluation(Layer):
    """The probability is passed on whatever the mode: the function that gets it knows of no evaluation."""

    def drop(self, weights: Tensor) -> Tensor:
        return nn.functional.dropout(weights, self.dropout, training=True)


@fault(
    "dropout after softmax",
    thread="parakeet74",
    repair="Drop weights, after softmax.",
)
class DropoutBeforeSoftmax(Layer):
    """Scores are dropped, not weights: a score of 0 still has a share, and minus infinity times 0 is NaN."""

    def attend(
        self, Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        scores = (Q / (math.sqrt(Q.shape[-1]) if self.scale else 1.0)) @ K.mT
        scores = nn.functional.dropout(scores, self.dropout, self.training)
        if mask is not None:
            scores = scores.masked_fill(~seen(mask, scores), -math.inf)
        weights = stable_softmax(scores)
        return weights @ V, weights


@fault("random state", repair="A generator of its own; or nothing.")
class SeedsEverything(Layer):
    """The global generator is seeded, so that dropout can be repeated, and so is all that draws after it."""

    def drop(self, weights: Tensor) -> Tensor:
        torch.default_generator.manual_seed(0)
        return super().drop(weights)
