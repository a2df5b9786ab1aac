"""Modules with one oddity each, for the sentences of the check-up."""

import itertools
import time

import torch
from examined import Fused

from surgeon import MultiHeadAttention
from surgeon.zoo.fault import Layer


def layer(kind, *sizes, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*sizes, **options)


class Interleaved(Layer):
    """Each head takes every fourth column."""

    def split(self, x, heads):
        return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


class InterleavedMerge(Layer):
    def merge(self, x):
        return x.permute(0, 2, 3, 1).flatten(2)


class ViewedTwice(Layer):
    def split(self, x, heads):
        return x.reshape(len(x), heads, x.shape[1], -1)

    def merge(self, x):
        return x.reshape(len(x), x.shape[2], -1)


class SeedsInTraining(Layer):
    def drop(self, weights):
        if self.training:
            torch.manual_seed(5)
        return super().drop(weights)


class LeaksInBothModes(Layer):
    def attend(self, Q, K, V, mask):
        output, weights = super().attend(Q, K, V, mask)
        return (output if mask is None else output + 0.01 * V.mean(-2, keepdim=True)), weights


class Flagged(MultiHeadAttention):
    """A causal flag, and one sequence."""

    def forward(self, x, is_causal=False):
        T = x.shape[1]
        return super().forward(x, mask=torch.ones(T, T, dtype=torch.bool).tril() if is_causal else None)


class SelfAside(torch.nn.TransformerEncoderLayer):
    """Its own way round its self-attention."""

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        return self.linear2(self.linear1(src))


class Plain(Fused):
    """Fused, with its mask or its answer changed."""

    def read(self, mask):
        return mask

    def change(self, output, x, mask):
        return output

    def forward(self, x, attn_mask=None):
        output, weights = super().forward(x, None if attn_mask is None else self.read(attn_mask))
        return self.change(output, x, attn_mask), weights


def fused(read=None, change=None):
    """A layer on x whose projections nobody names."""

    def make():
        made = layer(Plain)
        if read:
            made.read = read
        if change:
            made.change = change
        return made

    return make


def switch(read):
    """A layer on x with a causal switch, and no mask of its caller."""

    class Switched(Fused):
        def forward(self, x, causal=False):
            ones = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
            return super().forward(x, read(ones) if causal else None)

    return lambda: layer(Switched)


def remembering():
    seen = itertools.count()
    return fused(change=lambda output, x, mask: output + 0.01 * next(seen))()


def noisy():
    return fused(change=lambda output, x, mask: output + 0.01 * torch.rand(()))()


def refusing(when):
    def change(output, x, mask):
        if when(x, mask):
            raise RuntimeError("not like this")
        return output

    return fused(change=change)


class KeepsItsPlaces(Fused):
    """Tokens grow with the first length that it is given."""

    def __init__(self, raises=False):
        super().__init__()
        self.raises, self.first = raises, None

    def forward(self, x, attn_mask=None):
        self.first = self.first or x.shape[1]
        if self.raises and self.first != x.shape[1]:
            raise RuntimeError("not like this")
        return super().forward(x * self.first, attn_mask)


def keeping_places():
    """A function on x, whose tokens grow with the longest text so far."""
    longest = [0]

    def grows(x):
        longest.append(max(longest[-1], x.shape[1]))
        return x * longest[-1]

    return grows


def tiring():
    seen = itertools.count()
    return refusing(lambda x, mask: next(seen) >= 5)()


def drawing(output, x, mask):
    torch.rand(())
    return output


def padded(change):
    class Padded(Fused):
        def forward(self, x, keep=None):
            return super().forward(x, None if keep is None else change(keep[:, None, None]))

    return lambda: layer(Padded)


def packed(change):
    class Packed(Fused):
        def forward(self, x, documents=None):
            mask = None if documents is None else change(documents)
            return super().forward(x, None if mask is None else mask[:, None])

    return lambda: layer(Packed)


def empty(mask):
    return mask is not None and not mask.any(-1).all()


class Reporting(Fused):
    """With its weights asked for, its mask or its output is another."""

    read = staticmethod(lambda mask: mask)
    by = 0.0

    def forward(self, x, attn_mask=None, return_weights=False):
        output, weights = super().forward(x, self.read(attn_mask) if return_weights else attn_mask)
        return output + self.by * return_weights, weights


class PastItsMask(Reporting):
    read = staticmethod(lambda mask: None)


class Shifted(Reporting):
    by = 0.01


class NoWayBack(torch.autograd.Function):
    """An identity whose gradient is NaN."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * torch.nan


def without_gradient(output, x, mask):
    return output.detach() if empty(mask) else output


def with_bad_gradient(output, x, mask):
    return NoWayBack.apply(output) if empty(mask) else output


def mean_of_all(output, x, mask):
    seen = None if mask is None else mask.any(-1).reshape(1, -1, 1)
    return output if seen is None else torch.where(seen, output, x.mean(1, keepdim=True))


def hangs(output, x, mask):
    while mask is not None:
        time.sleep(0.01)
    return output
