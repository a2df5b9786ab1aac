"""One more column in softmax, and what becomes of it."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.designs.design import scored, sound, wrong
from surgeon.zoo.fault import seen

SINKS = torch.tensor([0.5, -0.25, 1.5], dtype=torch.float64)


def sunk(scores, V, sinks, mask=None):
    """Softmax over a row and its sink; the sink's share goes nowhere."""
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    sinks = sinks.to(scores).expand(*scores.shape[:-1], -1)
    row = torch.cat([scores, sinks], -1)
    return stable_softmax(row, -1)[..., : scores.shape[-1]] @ V


@sound(sink=SINKS, layout="B H T d", heads=3)
def learned_sink(Q, K, V, mask=None):
    """A sink for each head: a learned number beside the scores."""
    return sunk(scored(Q, K), V, SINKS[:, None, None], mask)


@sound(sink=0.0)
def softmax_plus_one(Q, K, V, mask=None):
    """Softmax plus one: a sink of 0."""
    return sunk(scored(Q, K), V, torch.zeros(1), mask)


@wrong(
    learned_sink,
    "sink",
    thread="vllm-project/vllm-metal#550",
    repair="Pass the sinks on to the kernel.",
)
def sink_forgotten(Q, K, V, mask=None):
    """The fast road has no argument for sinks, and leaves them out."""
    return sunk(scored(Q, K), V, torch.full((1,), -math.inf), mask)


@wrong(
    softmax_plus_one,
    "sink",
    thread="kyegomez/AttentionIsOFFByOne#5",
    repair="exp(-maximum), in place of 1.",
)
def one_unshifted(Q, K, V, mask=None):
    """Scores are shifted by their maximum, and the one is not."""
    scores = scored(Q, K)
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    top = scores.detach().amax(-1, keepdim=True)
    powers = (scores - top.masked_fill(top == -math.inf, 0.0)).exp()
    return powers / (1 + powers.sum(-1, keepdim=True)) @ V


@wrong(
    learned_sink,
    "sink",
    thread="ROCm/rocm-libraries#12229",
    repair="One part of the row adds the sink, the others do not.",
)
def sink_counted_twice(Q, K, V, mask=None):
    """Keys are worked on in two parts, and each adds the sink."""
    sinks = SINKS[:, None, None].expand(-1, -1, 2)
    return sunk(scored(Q, K), V, sinks, mask)


@wrong(
    learned_sink,
    "sink",
    thread="ROCm/rocm-libraries#12229",
    repair="The sink is a score already: do not scale it.",
)
def sink_scaled(Q, K, V, mask=None):
    """The sink is divided by √d with the scores."""
    sinks = SINKS[:, None, None] / math.sqrt(Q.shape[-1])
    return sunk(scored(Q, K), V, sinks, mask)


@wrong(
    learned_sink, "sink", repair="A sink for each head, in the heads' order."
)
def sinks_in_reverse(Q, K, V, mask=None):
    """Heads take each other's sinks."""
    return sunk(scored(Q, K), V, SINKS.flip(0)[:, None, None], mask)
