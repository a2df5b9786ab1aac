"""Faults of arithmetic and memory: roundings, cut gradients, overwriting."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch

from surgeon.zoo.fault import fault, right, seen


@fault(
    "half precision", repair="Add up in float32, and round once.", scene=""
)
def half_precision_sums(Q, K, V, mask=None):
    """The powers are added up in bfloat16, where 256 plus 1 is 256."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    top = scores.detach().amax(-1, keepdim=True)
    powers = torch.exp(scores - top.masked_fill(top == -math.inf, 0.0))
    total = torch.zeros_like(powers[..., :1])
    for power in powers.split(1, -1):
        total = total + power
    weights = powers / total.masked_fill(total == 0, 1.0)
    return weights @ V, weights


@fault("gradients", repair="No detach, no .data, no no_grad on the way.")
def detached_weights(Q, K, V, mask=None):
    """Weights are detached for a plot, and queries and keys learn nothing."""
    _, weights = right(Q, K, V, mask)
    return weights.detach() @ V, weights.detach()


@fault("weights returned", repair="Hand back what multiplied V.")
def weights_before_the_mask(Q, K, V, mask=None):
    """The weights handed back are those from before the mask."""
    output, _ = right(Q, K, V, mask)
    return output, right(Q, K, V)[1]


@fault(
    "inputs unchanged",
    repair="Q = Q / √d_k, not Q /= √d_k.",
    scene="asked twice",
)
def scales_in_place(Q, K, V, mask=None):
    """Q is scaled in place: the caller's queries shrink with every call."""
    output, weights = right(Q, K, V, mask)
    Q.data /= math.sqrt(Q.shape[-1])
    return output, weights


@fault("strided inputs", repair="K.contiguous() first, or read the strides.")
def assumes_contiguous(Q, K, V, mask=None):
    """A kernel walks through memory as if K lay there row by row."""
    strides: list[int] = []
    step = 1
    for size in reversed(K.shape):
        strides.insert(0, step)
        step *= size
    return right(Q, K.as_strided(K.shape, strides), V, mask)
