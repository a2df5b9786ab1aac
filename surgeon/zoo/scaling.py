"""Faults of the scale: missing, of the wrong width or power, or too late."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import math

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import fault, right, seen


@fault("scale", thread="mlcllm3426", repair="Divide by √d_k.")
def unscaled(Q, K, V, mask=None):
    """Scores are used as they come, and the wider, the more they saturate."""
    return right(Q * math.sqrt(Q.shape[-1]), K, V, mask)


@fault("scale", thread="cntkx10", repair="√d_k, not d_k.")
def no_root(Q, K, V, mask=None):
    """Scores are divided by d_k, and attention starts nearly uniform."""
    return right(Q / math.sqrt(Q.shape[-1]), K, V, mask)


@fault(
    "scale",
    thread="vitpytorch65",
    repair="The width of one head, not of the model.",
    layout="B H T d",
)
def width_of_the_model(Q, K, V, mask=None):
    """Scores are divided by the root of d_model, all heads together."""
    heads = Q.shape[-3] if Q.ndim > 3 else 1
    return right(Q / math.sqrt(heads), K, V, mask)


@fault(
    "scale",
    thread="perceiverio9",
    repair="Multiply by d ** -0.5, or divide by d ** 0.5.",
)
def scaled_the_wrong_way(Q, K, V, mask=None):
    """Scores are divided by d ** -0.5, which multiplies by the root."""
    return right(Q * Q.shape[-1], K, V, mask)


@fault(
    "scale before overflow",
    thread="mistral66",
    repair="(Q / √d_k) @ Kᵀ: scale before the product.",
    scene="large entries, float16",
)
def scaled_too_late(Q, K, V, mask=None):
    """The product is scaled when in float16 it may have overflowed."""
    scores = (Q @ K.mT) / math.sqrt(Q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    weights = stable_softmax(scores)
    return weights @ V, weights
