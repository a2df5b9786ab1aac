"""Faults of dropout and chance: a wrong mode, place, or generator."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch
from torch import nn

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import Layer, fault, seen


@fault(
    "same answer twice",
    thread="pytorch124464",
    repair="dropout(weights, p, self.training).",
    needs="dropout",
    scene="evaluating",
)
class DropoutInEvaluation(Layer):
    """Weights are dropped in either mode: the function knows of none."""

    def drop(self, weights):
        return nn.functional.dropout(weights, self.dropout, training=True)


@fault(
    "dropout after softmax",
    thread="parakeet74",
    repair="Drop weights, after softmax.",
    needs="dropout",
    scene="training",
)
class DropoutBeforeSoftmax(Layer):
    """Scores are dropped, not weights, and a score of 0 has its share."""

    def attend(self, Q, K, V, mask):
        scores = (Q / (math.sqrt(Q.shape[-1]) if self.scale else 1.0)) @ K.mT
        scores = nn.functional.dropout(scores, self.dropout, self.training)
        if mask is not None:
            scores = scores.masked_fill(~seen(mask, scores), -math.inf)
        weights = stable_softmax(scores)
        return weights @ V, weights


@fault(
    "random state",
    repair="A generator of its own; or nothing.",
    needs="dropout",
    scene="",
)
class SeedsEverything(Layer):
    """The global generator is seeded, for dropout and for all after it."""

    def drop(self, weights):
        torch.default_generator.manual_seed(0)
        return super().drop(weights)
