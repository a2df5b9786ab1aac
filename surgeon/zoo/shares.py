"""Faults of softmax: a wrong axis, a missing maximum, a missing sum."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import Mask, fault, seen


def masked_scores(Q: Tensor, K: Tensor, mask: Mask) -> Tensor:
    """Scores, scaled, minus infinity where the mask hides."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is None:
        return scores
    return scores.masked_fill(~seen(mask, scores), -math.inf)


@fault("softmax over keys", thread="labml146", repair="dim=-1.")
def softmax_over_queries(Q, K, V, mask=None):
    """Softmax runs down the columns: keys share out queries."""
    weights = stable_softmax(masked_scores(Q, K, mask), -2)
    return weights @ V, weights


@fault("softmax over keys", repair="dim=-1, written out.", layout="B H T d")
def softmax_over_heads(Q, K, V, mask=None):
    """PyTorch's old default `dim` for four axes was the second: the heads."""
    scores = masked_scores(Q, K, mask)
    weights = stable_softmax(scores, 1 if scores.ndim > 3 else -1)
    return weights @ V, weights


@fault(
    "softmax over keys",
    thread="pytorchnlp2",
    repair="dim=-1, written out.",
    scene="five texts in a batch",
)
def softmax_over_batch(Q, K, V, mask=None):
    """PyTorch's old default `dim` for three axes was the first: the batch."""
    weights = stable_softmax(masked_scores(Q, K, mask), 0)
    return weights @ V, weights


@fault("convex hull", repair="Divide the powers by their sum.")
def undivided(Q, K, V, mask=None):
    """The powers are never divided by their sum, and weights no shares."""
    scores = masked_scores(Q, K, mask)
    top = scores.detach().amax(-1, keepdim=True)
    weights = torch.exp(scores - top.masked_fill(top == -math.inf, 0.0))
    return weights @ V, weights


@fault(
    "large scores",
    thread="executorch18407",
    repair="Subtract each row's maximum first.",
    scene="large scores",
)
def no_maximum(Q, K, V, mask=None):
    """Powers of large scores overflow, and infinity by infinity is NaN."""
    powers = torch.exp(masked_scores(Q, K, mask))
    total = powers.sum(-1, keepdim=True)
    weights = powers / total.masked_fill(total == 0, 1.0)
    return weights @ V, weights


@fault(
    "large scores",
    repair="The maximum of each row, keepdim=True.",
    scene="large scores",
)
def one_maximum_for_all(Q, K, V, mask=None):
    """The largest of all scores is subtracted; rows far below it vanish."""
    scores = masked_scores(Q, K, mask)
    lowest = torch.finfo(scores.dtype).min
    powers = torch.exp(scores - scores.detach().max().clamp(min=lowest))
    total = powers.sum(-1, keepdim=True)
    weights = powers / total.masked_fill(total == 0, 1.0)
    return weights @ V, weights


@fault(
    "large scores",
    repair="Subtract each row's maximum; cut nothing off.",
    scene="large scores",
)
def clipped_scores(Q, K, V, mask=None):
    """Scores are cut off at 50, and all that are larger become alike."""
    weights = stable_softmax(masked_scores(Q, K, mask).clamp(max=50.0))
    return weights @ V, weights
