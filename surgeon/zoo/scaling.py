"""Faults of the scale: missing, of the wrong width, of the wrong power, or too late."""

import math

from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import fault, right, seen


@fault("scale", thread="mlcllm3426", repair="Divide by √d_k.")
def unscaled(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores are used as they come; the wider the head, the more they saturate softmax."""
    return right(Q * math.sqrt(Q.shape[-1]), K, V, mask)


@fault("scale", thread="cntkx10", repair="√d_k, not d_k.")
def no_root(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores are divided by d_k, not by its root, and attention stays nearly uniform."""
    return right(Q / math.sqrt(Q.shape[-1]), K, V, mask)


@fault(
    "scale",
    thread="vitpytorch65",
    repair="The width of one head, not of the model.",
    layout="B H T d",
)
def width_of_the_model(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores are divided by the root of d_model, the width of all heads together."""
    heads = Q.shape[-3] if Q.ndim > 3 else 1
    return right(Q / math.sqrt(heads), K, V, mask)


@fault(
    "scale",
    thread="perceiverio9",
    repair="Multiply by d ** -0.5, or divide by d ** 0.5.",
)
def scaled_the_wrong_way(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores are divided by d ** -0.5, which is to multiply by the root."""
    return right(Q * Q.shape[-1], K, V, mask)


@fault(
    "scale before overflow",
    thread="mistral66",
    repair="(Q / √d_k) @ Kᵀ: scale before the product.",
)
def scaled_too_late(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The product is scaled once it is there, and in float16 it may have overflowed by then."""
    scores = (Q @ K.mT) / math.sqrt(Q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    weights = stable_softmax(scores)
    return weights @ V, weights
