"""Faults of masks: read the wrong way round, lost, too late, transposed."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.fault import Mask, Result, fault, right, seen


@fault(
    "mask polarity",
    thread="llmsfromscratch1061",
    repair="masked_fill(~mask, -inf): True attends.",
)
def inverted_mask(Q, K, V, mask=None):
    """True means "blocked" in here, and "may attend" to the caller."""
    return right(Q, K, V, None if mask is None else ~seen(mask, Q @ K.mT))


@fault(
    "mask polarity",
    repair="Add the mask to the scores; or let it be boolean.",
    mask="additive",
)
def two_conventions(Q, K, V, mask=None):
    """masked_fill(mask == 0) blocks where an additive mask says 0: look."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -math.inf)
    weights = stable_softmax(scores)
    return weights @ V, weights


@fault(
    "mask obeyed", thread="pytorchtutorials2478", repair="Pass the mask on."
)
def lost_mask(Q, K, V, mask=None):
    """The mask is taken as an argument and passed on to nobody."""
    return right(Q, K, V)


@fault(
    "mask obeyed",
    repair="masked_fill(mask == 0, -inf), or a mask of 0 and -inf.",
    mask="0-1",
)
def added_ones(Q, K, V, mask=None):
    """A mask of zeros and ones is added to the scores, and hides nothing."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores + mask
    weights = stable_softmax(scores)
    return weights @ V, weights


@fault(
    "mask before softmax",
    thread="timm2236",
    repair="Hide scores before softmax, not weights after it.",
)
def masked_after_softmax(Q, K, V, mask=None):
    """Hidden weights become zero after softmax; the rest miss their sum."""
    _, weights = right(Q, K, V)
    if mask is not None:
        weights = weights * seen(mask, weights)
    return weights @ V, weights


@fault(
    "minus infinity",
    thread="goodfeatures1",
    repair="masked_fill(~mask, -inf).",
)
def multiplied_by_zero(Q, K, V, mask=None):
    """Hidden scores become 0, and softmax gives a score of 0 its share."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores * seen(mask, scores)
    weights = stable_softmax(scores)
    return weights @ V, weights


@fault(
    "minus infinity",
    thread="hyunwoongko10",
    repair="masked_fill(~mask, -inf): not -1e-12.",
)
def minus_epsilon(Q, K, V, mask=None):
    """Hidden scores become -1e-12, which looks low and is as good as 0."""
    return filled_with(-1e-12, Q, K, V, mask)


@fault(
    "minus infinity",
    thread="transformers17121",
    repair="masked_fill(~mask, -inf).",
    scene="very low scores",
)
def minus_ten_thousand(Q, K, V, mask=None):
    """Hidden scores become -10 000, which a model can learn to outbid."""
    return filled_with(-1e4, Q, K, V, mask)


@fault(
    "minus infinity",
    repair="masked_fill(~mask, -inf).",
    scene="very low scores",
)
def minus_ten_billion(Q, K, V, mask=None):
    """Hidden scores become -1e10, which scores that run away fall below."""
    return filled_with(-1e10, Q, K, V, mask)


def filled_with(
    number: float, Q: Tensor, K: Tensor, V: Tensor, mask: Mask
) -> Result:
    """Attention whose hidden scores become a number."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        filler = max(number, torch.finfo(scores.dtype).min)
        scores = scores.masked_fill(~seen(mask, scores), filler)
    weights = stable_softmax(scores)
    return weights @ V, weights


@fault(
    "padding on keys",
    thread="seq2seq96",
    repair="unsqueeze(-2): hide keys, for every query.",
    needs="padding",
    scene="two keys hidden",
)
def padding_on_queries(Q, K, V, mask=None):
    """The mask is laid across the queries, and words see padding."""
    if mask is not None:
        shown = seen(mask, Q @ K.mT)
        mask = shown.mT if shown.shape[-1] == shown.shape[-2] else shown
    return right(Q, K, V, mask)


@fault(
    "padding on keys",
    repair="mask[:, None, :]: (batch, 1, keys).",
    needs="padding",
    scene="two keys hidden",
    padding="lengths",
)
def batch_taken_for_queries(Q, K, V, mask=None, *, lengths=None):
    """A mask (batch, keys) is used as (queries, keys), where that fits."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    for hidden in (mask, lengths):
        if hidden is not None:
            scores = scores.masked_fill(~seen(hidden, scores), -math.inf)
    weights = stable_softmax(scores)
    return weights @ V, weights


@fault(
    "dead rows, forward",
    thread="pytorch103749",
    repair="Divide by a sum that is never 0, as stable_softmax does.",
    scene="two queries see nothing",
)
def dead_rows_nan(Q, K, V, mask=None):
    """A query that may look at nothing divides zero by zero."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    powers = torch.exp(scores - scores.amax(-1, keepdim=True))
    weights = powers / powers.sum(-1, keepdim=True)
    return weights @ V, weights


@fault(
    "dead rows, forward",
    repair="masked_fill with -inf, and zeros where no key is left.",
    scene="two queries see nothing",
)
def dead_rows_uniform(Q, K, V, mask=None):
    """A query without a key sees all: hidden scores are low, but finite."""
    return filled_with(-math.inf, Q, K, V, mask)


@fault(
    "dead rows, backward",
    thread="pytorch41508",
    repair="Avoid the NaN: divide by a sum that is never 0.",
    scene="two queries see nothing",
)
def dead_rows_nan_backward(Q, K, V, mask=None):
    """NaN weights are replaced by zero, and their gradient is still NaN."""
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        zeros = torch.zeros_like(scores)
        scores = scores + zeros.masked_fill(~seen(mask, scores), -math.inf)
    powers = torch.exp(scores - scores.amax(-1, keepdim=True))
    weights = powers / powers.sum(-1, keepdim=True)
    weights = weights.masked_fill(weights.isnan(), 0.0)
    return weights @ V, weights
