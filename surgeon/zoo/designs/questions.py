"""Right for the usual question, and wrong for one that is seldom asked."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.designs.design import ahead, scored, sound, weighed, wrong
from surgeon.zoo.designs.roads import plain
from surgeon.zoo.fault import right, seen


@sound()
def with_weights(Q, K, V, mask=None, return_weights=False):
    """The textbook's attention, and its weights if they are wanted."""
    output, weights = right(Q, K, V, mask)
    return (output, weights) if return_weights else output


@wrong(
    with_weights,
    "same by every road",
    thread="keras-team/keras#23038",
    repair="The mask on both roads.",
)
def weights_without_the_mask(Q, K, V, mask=None, return_weights=False):
    """Where weights are wanted, another road is taken, without the mask."""
    if return_weights:
        mask = None
    return with_weights(Q, K, V, mask, return_weights)


@wrong(plain, "one mask for all", repair="Broadcast a batch of one.")
def one_mask_for_the_first(Q, K, V, mask=None):
    """A mask with a batch of one is laid on the first sequence alone."""
    if mask is not None and mask.ndim == Q.ndim and len(mask) < len(Q):
        rest = torch.ones_like(mask).expand(len(Q) - 1, *mask.shape[1:])
        mask = torch.cat([mask, rest])
    return plain(Q, K, V, mask)


@wrong(plain, "rectangular mask", repair="Hide what the mask hides.")
def square_masks_alone(Q, K, V, mask=None):
    """A mask is read where queries and keys are as many, and not else."""
    square = Q.shape[-2] == K.shape[-2]
    return plain(Q, K, V, mask if square else None)


@sound(padding="keys")
def with_padding(Q, K, V, mask=None, *, keys=None):
    """The textbook's attention, with a mask and with padding."""
    near = torch.ones_like(ahead(Q, K), dtype=torch.bool)
    if mask is not None:
        near = near & seen(mask, scored(Q, K))
    if keys is not None:
        near = near & keys[:, None]
    return weighed(scored(Q, K), near) @ V


@wrong(with_padding, "mask and padding", repair="mask & keys[:, None].")
def padding_for_the_mask(Q, K, V, mask=None, *, keys=None):
    """Told of padding, it forgets the mask."""
    return with_padding(
        Q, K, V, None if keys is not None else mask, keys=keys
    )


@wrong(
    plain,
    "single precision",
    repair="Leave it to autocast to choose a precision.",
)
def multiplied_in_bfloat16(Q, K, V, mask=None):
    """Products of float32 are made in bfloat16, to save time."""
    scores = scored(Q, K)
    if Q.dtype == torch.float32:
        scores = scored(Q.bfloat16(), K.bfloat16()).float()
    return weighed(scores, mask) @ V


@wrong(
    plain,
    "autocast",
    thread="unit8co/darts#3081",
    repair="masked_fill(~mask, -inf).",
)
def lowest_of_another_precision(Q, K, V, mask=None):
    """Hidden scores get a number that fits Q, and scores are in half."""
    scores = scored(Q, K)
    if mask is None:
        return weighed(scores) @ V
    near = seen(mask, scores)
    lowest = torch.finfo(Q.dtype).min
    weights = stable_softmax(scores.masked_fill(~near, lowest), -1)
    return (weights * near.any(-1, keepdim=True)) @ V


@sound(causal="causal")
def with_a_switch(Q, K, V, mask=None, *, causal=False):
    """The textbook's attention, causal if it is told so."""
    near = ahead(Q, K) <= (0 if causal else K.shape[-2])
    if mask is not None:
        near = near & seen(mask, scored(Q, K))
    return weighed(scored(Q, K), near) @ V
