"""Models whose programs disagree, whose gradients do, or whose halves do."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch.utils.checkpoint import checkpoint

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.padding import (
    BOTH_WAYS,
    ENCODER,
    divide_by_the_sum,
)
from surgeon.zoo.models.reader import Reader


class WithSink(Reader):
    """A score of 0 beside the keys takes its share of every row."""

    def attend(self, Q, K, V, allowed):
        scores = self.scores(Q, K, allowed)
        sink = torch.zeros_like(scores[..., :1])
        return stable_softmax(torch.cat([scores, sink], -1))[..., :-1] @ V

    def fused(self, Q, K, V, allowed):
        return self.attend(Q, K, V, allowed)


@model_fault(
    "back ends agree",
    thread="radixark/miles#1500",
    repair="Hand the sink to every program, or refuse those without.",
    twin=WithSink,
)
class SinkOnOneRoad(WithSink):
    """The plain program has a sink, and the fused one drops it."""

    def fused(self, Q, K, V, allowed):
        return Reader.fused(self, Q, K, V, allowed)


@model_fault(
    "back ends, padding",
    thread="huggingface/transformers#36585",
    repair="Hand the mask to the fused program.",
    checkpointing=None,
)
class FusedForgetsThePadding(Reader):
    """The fused program is told of the future, and of no padding."""

    def fused(self, Q, K, V, allowed):
        T, S = allowed.shape[-2:]
        return super().fused(Q, K, V, Reader.allowed(self, T, S, None, None))


@model_fault(
    "back ends, padding",
    repair="Mend rows that see nothing in the fused program, too.",
    weight="hazard",
    sizes=BOTH_WAYS,
    **ENCODER,
)
class FusedEmptyRowIsNaN(Reader):
    """A row of padding alone gives zeros by one program, NaN by the other."""

    def fused(self, Q, K, V, allowed):
        return divide_by_the_sum(self.scores(Q, K, allowed), V)


@model_fault(
    "back ends, gradients",
    repair="Let gradients through the sum of powers, too.",
)
class FusedStopsGradients(Reader):
    """The fused program takes its sum for a constant on the way back."""

    def fused(self, Q, K, V, allowed):
        scores = self.scores(Q, K, allowed)
        total = scores.exp().sum(-1, keepdim=True).detach()
        return scores.exp() / total @ V


@model_fault("gradients", repair="Keep keys in the graph: no detach.")
class DetachedKeys(Reader):
    """Keys are detached, and their matrix learns nothing."""

    def scores(self, Q, K, allowed):
        return super().scores(Q, K.detach(), allowed)


@model_fault(
    "checkpointing",
    thread="mlfoundations/open_clip#573",
    repair="Write checkpoint(…, use_reentrant=False).",
)
class CheckpointDropsGradients(Reader):
    """With checkpoints, nothing is sent back through a layer's matrices."""

    def through(self, layer, x, *more):
        if not (self.saving and self.training):
            return super().through(layer, x, *more)

        def step(x):
            with torch.no_grad():
                looked = self.step(layer, x, *more) - x
            return x + looked

        return checkpoint(step, x, use_reentrant=False)


@model_fault(
    "bfloat16",
    repair="Add offsets in float32, or none.",
    weight="hazard",
)
class OffsetInHalf(Reader):
    """A large offset is added and taken off again, digits with it."""

    def told(self, x, seen):
        return super().told((x + 4096) - 4096, seen)


@model_fault(
    "float16",
    repair="Scale before the product, not behind it.",
    weight="hazard",
)
class ScaledTooLate(Reader):
    """Scores are large before they are scaled, too large for float16."""

    def scores(self, Q, K, allowed):
        products = (Q * 512) @ (K * 512).mT / 512**2
        return (products / Q.shape[-1] ** 0.5).masked_fill(
            ~allowed, -torch.inf
        )
