"""Faults of softmax: over the wrong axis, without its maximum, without its sum."""

import math

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import fault, seen


def masked_scores(Q: Tensor, K: Tensor, mask: Tensor | None) -> Tensor:
    """Scores, scaled, minus infinity where the mask hides."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    return (
        scores
        if mask is None
        else scores.masked_fill(~seen(mask, scores), -math.inf)
    )


@fault("softmax over keys", thread="labml146", repair="dim=-1.")
def softmax_over_queries(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax runs down the columns: keys share out queries."""
    weights = stable_softmax(masked_scores(Q, K, mask), -2)
    return weights @ V, weights


@fault("softmax over keys", repair="dim=-1, said aloud.", layout="B H T d")
def softmax_over_heads(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Without `dim`, PyTorch's old default for four axes was the second: the heads."""
    scores = masked_scores(Q, K, mask)
    weights = stable_softmax(scores, 1 if scores.ndim > 3 else -1)
    return weights @ V, weights


@fault(
    "softmax over keys", thread="pytorchnlp2", repair="dim=-1, said aloud."
)
def softmax_over_batch(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Without `dim`, PyTorch's old default for three axes was the first: the batch."""
    weights = stable_softmax(masked_scores(Q, K, mask), 0)
    return weights @ V, weights


@fault("convex hull", repair="Divide the powers by their sum.")
def undivided(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The powers are never divided by their sum, and weights are no shares."""
    scores = masked_scores(Q, K, mask)
    top = scores.detach().amax(-1, keepdim=True)
    weights = torch.exp(scores - top.masked_fill(top == -math.inf, 0.0))
    return weights @ V, weights


@fault(
    "large scores",
    thread="executorch18407",
    repair="Subtract each row's maximum first.",
)
def no_maximum(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The textbook's softmax: powers of large scores overflow, and infinity over infinity is NaN."""
    powers = torch.exp(masked_scores(Q, K, mask))
    total = powers.sum(-1, keepdim=True)
    weights = powers / total.masked_fill(total == 0, 1.0)
    return weights @ V, weights


@fault("large scores", repair="The maximum of each row, keepdim=True.")
def one_maximum_for_all(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The largest score of all rows is subtracted, and rows far below it vanish."""
    scores = masked_scores(Q, K, mask)
    powers = torch.exp(
        scores
        - scores.detach().max().clamp(min=torch.finfo(scores.dtype).min)
    )
    total = powers.sum(-1, keepdim=True)
    weights = powers / total.masked_fill(total == 0, 1.0)
    return weights @ V, weights


@fault("large scores", repair="Subtract each row's maximum; cut nothing off.")
def clipped_scores(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores are cut off at 50 so that powers do not overflow, and all that are larger become alike."""
    weights = stable_softmax(masked_scores(Q, K, mask).clamp(max=50.0))
    return weights @ V, weights
