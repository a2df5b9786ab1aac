"""Faults of arithmetic and of memory: sums in half precision, gradients cut, inputs overwritten or misread."""

import math

import torch
from torch import Tensor

from surgeon.zoo.fault import fault, right, seen


@fault("half precision", repair="Add up in float32, and round once.")
def half_precision_sums(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The sum of the powers is kept in the inputs' precision: in bfloat16, 256 plus 1 is 256."""
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
def detached_weights(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights were detached for a plot, and queries and keys learn nothing."""
    _, weights = right(Q, K, V, mask)
    return weights.detach() @ V, weights.detach()


@fault("weights returned", repair="Hand back what multiplied V.")
def weights_before_the_mask(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The weights handed back are those from before the mask: the picture is not what was computed."""
    output, _ = right(Q, K, V, mask)
    return output, right(Q, K, V)[1]


@fault("inputs unchanged", repair="Q = Q / √d_k, not Q /= √d_k.")
def scales_in_place(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Q is scaled in place: the caller's queries are smaller afterwards, and smaller still at the next call."""
    output, weights = right(Q, K, V, mask)
    Q.data /= math.sqrt(Q.shape[-1])
    return output, weights


@fault("strided inputs", repair="K.contiguous() first, or read the strides.")
def assumes_contiguous(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A kernel walks through memory as if K lay there row by row."""
    strides: list[int] = []
    step = 1
    for size in reversed(K.shape):
        strides.insert(0, step)
        step *= size
    return right(Q, K.as_strided(K.shape, strides), V, mask)
