"""Attention without softmax: features, and what they are divided by."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch.nn.functional import elu

from surgeon.zoo.designs.design import ahead, sound, wrong


def features(x):
    """elu(x) + 1, which is positive."""
    return elu(x) + 1


def seen(Q, K):
    """Products of features, and 0 ahead."""
    return (features(Q) @ features(K).mT) * (ahead(Q, K) <= 0)


@sound(linear="elu+1", mask="none")
def linear(Q, K, V):
    """Linear attention with elu + 1, normalised."""
    weights = features(Q) @ features(K).mT
    return weights @ V / weights.sum(-1, keepdim=True)


@sound(linear="elu+1", causal=True, mask="none")
def causal_linear(Q, K, V):
    """The same, causal: sums run up to each query."""
    weights = seen(Q, K)
    return weights @ V / weights.sum(-1, keepdim=True)


@sound(linear="elu+1", causal=True, mask="none", layout="B H T d", heads=3)
def causal_linear_in_heads(Q, K, V):
    """The same with an axis of heads."""
    return causal_linear(Q, K, V)


@wrong(
    causal_linear,
    "linear attention",
    repair="Sums up to the query: cumsum.",
)
def normaliser_of_all(Q, K, V):
    """What it is divided by is summed over all keys, later ones too."""
    total = (features(Q) @ features(K).mT).sum(-1, keepdim=True)
    return seen(Q, K) @ V / total


@wrong(
    linear,
    "linear attention",
    repair="Divide by the sum of the products.",
)
def normaliser_missing(Q, K, V):
    """Nothing is divided."""
    return features(Q) @ features(K).mT @ V


@wrong(linear, "linear attention", repair="The feature map of both.")
def keys_without_features(Q, K, V):
    """The feature map is laid on queries alone; keys are made positive."""
    weights = features(Q) @ K.exp().mT
    return weights @ V / weights.sum(-1, keepdim=True)


@wrong(
    causal_linear_in_heads,
    "convex hull",
    thread="fla-org/flash-linear-attention#594",
    repair="cumsum along the axis of tokens.",
)
def normaliser_along_heads(Q, K, V):
    """The sum of keys runs along the heads, and not along the tokens."""
    summed = features(K).cumsum(-3 if K.ndim > 3 else -2)
    total = (features(Q) * summed[..., -Q.shape[-2] :, :]).sum(-1, True)
    return seen(Q, K) @ V / total


@wrong(
    causal_linear,
    "gradients",
    thread="fla-org/flash-linear-attention#875",
    repair="No kernel outside autograd on the way.",
)
def normaliser_cut(Q, K, V):
    """The keys' gradient lacks the part that goes through the division."""
    total = features(Q) @ features(K.detach()).mT * (ahead(Q, K) <= 0)
    return seen(Q, K) @ V / total.sum(-1, keepdim=True)


@wrong(linear, "linear attention", repair="One feature map for both.")
def maps_apart(Q, K, V):
    """Queries and keys have feature maps of their own."""
    weights = torch.relu(Q).add(1e-3) @ features(K).mT
    return weights @ V / weights.sum(-1, keepdim=True)
