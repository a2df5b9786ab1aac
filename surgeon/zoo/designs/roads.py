"""Faults on a road that is seldom taken: long texts, wide heads."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch
from torch import nn

from surgeon.zoo.arithmetic import assumes_contiguous
from surgeon.zoo.designs.design import scored, sound, weighed, wrong
from surgeon.zoo.fault import seen


@sound()
def plain(Q, K, V, mask=None):
    """The textbook's attention."""
    return weighed(scored(Q, K), mask) @ V


@sound(layout="B H T d", heads=3)
def plain_in_heads(Q, K, V, mask=None):
    """The textbook's, with an axis of heads."""
    return plain(Q, K, V, mask)


def tiled(Q, K, V, mask=None, *, block=64, hide=True, grows=1.0):
    """Attention over blocks of keys, one after the other."""
    T, S = Q.shape[-2], K.shape[-2]
    extra = -S % min(block, S)
    shown = torch.ones(T, S, dtype=torch.bool)
    if mask is not None:
        shown = seen(mask, scored(Q, K))
    shown = nn.functional.pad(shown, (0, extra), value=not hide)
    K, V = (nn.functional.pad(x, (0, 0, 0, extra)) for x in (K, V))
    top = torch.full((*Q.shape[:-1], 1), -math.inf, dtype=Q.dtype)
    total, output = torch.zeros_like(top), torch.zeros_like(top)
    factor = 1 / math.sqrt(Q.shape[-1])
    width = min(block, S)
    parts = [x.split(width, -2) for x in (K, V)]
    for k, v, near in zip(*parts, shown.split(width, -1), strict=True):
        scores = (Q * factor @ k.mT).masked_fill(~near, -math.inf)
        higher = torch.maximum(top, scores.detach().amax(-1, keepdim=True))
        safe = higher.masked_fill(higher == -math.inf, 0.0)
        powers, fade = (scores - safe).exp(), (top - safe).exp()
        output = output * fade + powers @ v
        total = total * fade + powers.sum(-1, keepdim=True)
        top, factor = higher, factor * grows
    return output / total.masked_fill(total == 0, 1.0)


@sound()
def in_blocks(Q, K, V, mask=None):
    """The textbook's attention, over blocks of sixty-four keys."""
    return tiled(Q, K, V, mask)


@wrong(
    in_blocks,
    "known form",
    thread="jax-ml/jax#27224",
    repair="Hide the columns that fill up the last block.",
)
def last_block_unhidden(Q, K, V, mask=None):
    """Zeros fill up the last block of keys, and each takes a share."""
    return tiled(Q, K, V, mask, hide=False)


@wrong(
    in_blocks,
    "known form",
    thread="flagos-ai/FlagGems#424",
    repair="A factor that no turn of the loop changes.",
)
def factor_grows_with_blocks(Q, K, V, mask=None):
    """The factor of the scores grows with every block of keys."""
    return tiled(Q, K, V, mask, grows=1 / math.log(2))


@wrong(
    plain_in_heads,
    "strided inputs",
    thread="pytorch/pytorch#181133",
    repair="Read the strides at every width.",
)
def strides_of_wide_heads(Q, K, V, mask=None):
    """Heads of sixty-four columns and more are read as if they lay dense."""
    if K.shape[-1] < 64:
        return plain(Q, K, V, mask)
    return assumes_contiguous(Q, K, V, mask)[0]


@wrong(
    plain,
    "padding on keys",
    repair="A mask for each sequence.",
)
def mask_of_the_first(Q, K, V, mask=None):
    """The first sequence's mask is used for the whole batch."""
    if mask is not None and mask.ndim > 2:
        mask = mask[:1]
    return plain(Q, K, V, mask)


@wrong(plain, "rectangular mask", repair="squeeze a named axis, or none.")
def single_query_unmasked(Q, K, V, mask=None):
    """One query alone is taken for a step of writing, and sees all keys."""
    return plain(Q, K, V, None if Q.shape[-2] == 1 else mask)


@wrong(
    plain,
    "mask obeyed",
    thread="huggingface/diffusers#14342",
    repair="masked_fill(~mask, -inf).",
)
def mask_for_a_bias(Q, K, V, mask=None):
    """A boolean mask is handed to what adds it to the scores."""
    scores = scored(Q, K)
    if mask is not None:
        scores = scores + mask.to(scores)
    return weighed(scores) @ V


@sound(layout="B H T d", heads=8, kv_heads=4)
def grouped(Q, K, V, mask=None):
    """Eight query heads on four key heads, neighbours on one."""
    group = Q.shape[-3] // K.shape[-3]
    K, V = (x.repeat_interleave(group, -3) for x in (K, V))
    return plain(Q, K, V, mask)


@wrong(
    grouped,
    "grouped heads in order",
    thread="PSAL-POSTECH/ONNXim#34",
    repair="head // (heads // key heads).",
)
def head_by_the_wrong_divisor(Q, K, V, mask=None):
    """A head's number is divided by the key heads, not by the group."""
    use = torch.arange(Q.shape[-3]) // K.shape[-3]
    return plain(Q, K[..., use, :, :], V[..., use, :, :], mask)
