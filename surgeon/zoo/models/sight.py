"""Models that see too much, or too little."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

from typing import Any

import torch

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import Reader

WINDOW: dict[str, Any] = {"window": 4, "layers": 2}


@model_fault(
    "future, evaluating",
    thread="huggingface/transformers#48745",
    repair="Draw the mask for whoever is told to be a decoder.",
)
class SeesItsFuture(Reader):
    """A decoder whose mask lets everybody see everything."""

    def in_sight(self, i, j):
        return (i - j).abs() >= 0


@model_fault(
    "future, training",
    repair="Causal in both modes.",
    sizes={"dropout": 0.25},
)
class CausalInEvaluationOnly(Reader):
    """The mask is drawn when the model writes, and not when it trains."""

    def in_sight(self, i, j):
        hidden = super().in_sight(i, j)
        return torch.ones_like(hidden) if self.training else hidden


@model_fault(
    "future, evaluating",
    thread="karpathy/nanochat#844",
    repair="Average what came before: x.cumsum(1) over its count.",
)
class AveragesTheText(Reader):
    """Each token is given the mean of the whole text."""

    def told(self, x, seen):
        return super().told(x + x.mean(1, keepdim=True), seen)


@model_fault(
    "future, evaluating",
    thread="espnet/espnet#5900",
    repair="Normalise each token alone, never over time.",
)
class NormsOverTime(Reader):
    """Every mask is right, and a norm takes its spread over the text."""

    def told(self, x, seen):
        return super().told(x / x.std(1, keepdim=True), seen)


@model_fault(
    "future, evaluating",
    repair="Write j <= i: tril(), not tril(1).",
)
class SeesTheNext(Reader):
    """The causal mask is one diagonal too wide."""

    def in_sight(self, i, j):
        return j <= i + 1


@model_fault(
    "the past is seen",
    repair="Let the first key be seen: it is a token, too.",
)
class LosesTheFirst(Reader):
    """The first token is hidden from all others, as if it were padding."""

    def in_sight(self, i, j):
        return super().in_sight(i, j) & ((j > 0) | (i == 0))


@model_fault(
    "reach",
    thread="mistralai/mistral-inference#60",
    repair="Write i - j < window: the token itself is one of them.",
    sizes={"window": 4},
    **WINDOW,
)
class WindowTooWide(Reader):
    """The window shows one token more than it says."""

    def in_sight(self, i, j):
        return (j <= i) & (i - j <= self.window)


@model_fault(
    "the past is seen",
    repair="Write (i - j < window) | (j < sinks).",
    sizes={"window": 4, "sinks": 1},
    **WINDOW,
    sinks=1,
)
class WindowLosesItsSinks(Reader):
    """The first token, which should stay in sight, leaves with the window."""

    def kept(self, i, j, seen):
        return super().kept(i, j, seen) & (i - j < self.window)
