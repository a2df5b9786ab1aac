"""Attentions that are right as they are usually asked, and wrong when they are asked in another way."""

import math

import torch

from surgeon import attention, stable_softmax
from surgeon.zoo.fault import Layer


def triangle(T, S, offset):
    return torch.ones(T, S, dtype=torch.bool).tril(offset)


def keeps_offsets():
    """Causal by nature; how far queries lie behind the first key is kept under the number of queries alone."""
    kept = {}

    def subject(Q, K, V):
        T, S = Q.shape[-2], K.shape[-2]
        return attention(Q, K, V, triangle(T, S, kept.setdefault(T, S - T)))

    return subject


def keeps_halves():
    """A table of distances is kept in the precision of the first question."""
    kept = {}

    def subject(Q, K, V):
        sizes = T, S = Q.shape[-2], K.shape[-2]
        if sizes not in kept:
            kept[sizes] = (torch.arange(T)[:, None] + S - T - torch.arange(S)).to(Q.dtype) / 7
        return stable_softmax(Q / math.sqrt(Q.shape[-1]) @ K.mT - kept[sizes].abs()) @ V

    return subject


class KeepsItsMask(Layer):
    """The causal mask of the first length, for all."""

    def attend(self, Q, K, V, mask):
        if not hasattr(self, "kept"):
            self.kept = triangle(Q.shape[-2], Q.shape[-2], 0)
        return super().attend(Q, K, V, self.kept)


class KeepsItsLength(Layer):
    """Scores are scaled by the length of the first question."""

    def attend(self, Q, K, V, mask):
        if not hasattr(self, "kept"):
            self.kept = math.log(Q.shape[-2], 5)
        return super().attend(Q * self.kept, K, V, mask)


class ForgetsToDrop(Layer):
    """Dropout, until it was asked once in evaluation."""

    def __init__(self):
        super().__init__(28, 4)
        self.chance = 0.25

    def attend(self, Q, K, V, mask):
        output, weights = super().attend(Q, K, V, mask)
        if not self.training:
            self.chance = 0.0
        return torch.nn.functional.dropout(output, self.chance), weights


class TiresOfTraining(ForgetsToDrop):
    """Raises in training, once it was asked in evaluation."""

    def attend(self, Q, K, V, mask):
        output = Layer.attend(self, Q, K, V, mask)
        if self.training and not self.chance:
            raise RuntimeError("not like this")
        self.chance = self.chance if self.training else 0.0
        return output


def reading(read):
    """Our attention, its mask changed by what is asked."""

    def subject(Q, K, V, mask=None):
        return attention(Q, K, V, None if mask is None else read(Q, K, mask))

    return subject


def for_the_first(Q, K, mask):
    """One mask for all hides from the first sequence alone."""
    if len(mask) == len(Q):
        return mask
    return torch.cat([mask, torch.ones_like(mask).expand(len(Q) - 1, -1, -1)])


def for_others(Q, K, mask):
    """One mask for all hides other keys."""
    return mask if len(mask) == len(Q) else mask.roll(1, -1)


def squares_alone(other):
    """Masks with as many keys as queries are read, all else by something else."""
    return reading(lambda Q, K, mask: mask if Q.shape[-2] == K.shape[-2] else other(mask))


def with_padding(read):
    """A mask and padding, each read as it is; both in some way."""

    def subject(Q, K, V, mask=None, padding=None):
        if padding is not None:
            keys = padding[:, None].expand(-1, Q.shape[-2], -1)
            mask = keys if mask is None else read(mask, keys)
        return attention(Q, K, V, mask)

    return subject


def flag_with_padding(Q, K, V, is_causal=False, padding=None):
    """Beside a causal flag, padding is lost."""
    T, S = Q.shape[-2], K.shape[-2]
    if is_causal:
        return attention(Q, K, V, triangle(T, S, S - T))
    return attention(Q, K, V, None if padding is None else padding[:, None])


def asked_for(change):
    """With its weights asked for, its output or its mask is another."""

    def subject(Q, K, V, mask=None, return_weights=False):
        if not return_weights:
            return attention(Q, K, V, mask)[0]
        return change(Q, K, V, mask)

    return subject


def changed_if(when, by=0.01):
    """Our attention, and something added if so."""

    def subject(Q, K, V, mask=None):
        output = attention(Q, K, V, mask)[0]
        return output + by if when(Q, K, V, mask) else output

    return subject


def autocasting(*_):
    return torch.is_autocast_enabled("cpu")


def at_width(width):
    return lambda Q, K, V, mask: Q.shape[-1] == V.shape[-1] == width


def behind_a_mask(when):
    return lambda Q, K, V, mask: mask is not None and when(Q, K, V, mask)


def with_slopes(times):
    """Dropout by hand, whose way back multiplies by something else."""

    def subject(Q, K, V, mask=None, p=0.0):
        Q, K = (times(x, p) for x in (Q, K)) if p else (Q, K)
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        weights = torch.softmax(scores, -1)
        return (weights * (torch.rand(weights.shape) >= p) / (1 - p) if p else weights) @ V

    return subject


def a_quarter(x, p):
    """The same number, and a quarter of its gradient."""
    return x.detach() + (x - x.detach()) / 4


def odd_slopes(x, p):
    return x.detach() + (x - x.detach()) * torch.arange(1.0, x.shape[-2] + 1, dtype=x.dtype)[:, None]


def cut_by_dropout(Q, K, V, mask=None, p=0.0):
    output = attention(Q, K, V, mask)[0]
    return (output * (torch.rand(output.shape) >= p)).detach() if p else output
