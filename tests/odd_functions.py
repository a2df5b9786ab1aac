"""Attentions with one oddity each, for the sentences of the check-up."""

import itertools
import math
import random

import torch
from examined import causal

from surgeon import attention, stable_softmax


def changed(before=lambda Q, K, V: (Q, K, V), after=lambda output, Q, K, V: output):
    """Our attention with its inputs or its output changed; it hands back no weights."""

    def subject(Q, K, V, mask=None):
        output = attention(*before(Q, K, V), mask)[0]
        return after(output, Q, K, V)

    return subject


def padded_in_turns(Q, K, V, mask=None, padding=None):
    """The padding of each sequence is copied for its heads in another order than rows of both lie."""
    if padding is not None:
        mask = padding.repeat(Q.shape[1], 1).unflatten(0, Q.shape[:2])[:, :, None]
    return attention(Q, K, V, mask)[0]


def refusing(when):
    """Our attention, unless its inputs or its mask are such."""

    def subject(Q, K, V, mask=None):
        if when(Q, K, V, mask):
            raise RuntimeError("not like this")
        return attention(Q, K, V, mask)

    return subject


def scaled(factor):
    """Scores are multiplied by another factor, which the sizes give."""
    return changed(lambda Q, K, V: (Q * Q.shape[-1] ** 0.5 * factor(Q, K, V), K, V))


def padded(read):
    """Our attention with padding, [B, S] and True for real keys, read in some way into an output."""

    def subject(Q, K, V, padding=None):
        return attention(Q, K, V) if padding is None else read(Q, K, V, padding)

    return subject


def on_queries(Q, K, V, real):
    """NaN for queries that are padding."""
    scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
    return torch.softmax(scores.masked_fill(~real[..., None], -torch.inf), -1) @ V


def of_the_next(Q, K, V, real):
    return attention(Q, K, V, real.roll(1, 0)[:, None])


def bend(scores):
    return scores.sin()


def forgetful(change):
    """Causal by nature, until it is told of padding; scores may be changed."""

    def subject(Q, K, V, padding=None):
        scores = change(Q / math.sqrt(Q.shape[-1]) @ K.mT)
        past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
        shown = past if padding is None else padding[:, None]
        return stable_softmax(scores.masked_fill(~shown, -math.inf)) @ V

    return subject


def halved_for_one(Q, K, V, is_causal=False):
    """Behind a causal flag, the scores of one query are halved."""
    few = is_causal and Q.shape[-2] == 1 and K.shape[-2] > 1
    return causal(0.5 * Q if few else Q, K, V, is_causal=is_causal)


def halved_for_three(Q, K, V, is_causal=False):
    """Behind a causal flag, scores of three queries beside a cache are halved."""
    few = is_causal and Q.shape[-2] == 3 and K.shape[-2] > 3
    return causal(0.5 * Q if few else Q, K, V, is_causal=is_causal)


def hole_beside_a_cache(Q, K, V, is_causal=False):
    """Beside a cache, new tokens are written one place too far: an empty key lies between."""
    first = K.shape[-2] - Q.shape[-2]
    if not first:
        return causal(Q, K, V, is_causal=is_causal)
    K, V = (torch.cat([x[..., :first, :], torch.zeros_like(x[..., :1, :]), x[..., first:, :]], -2) for x in (K, V))
    return causal(Q, K, V, is_causal=is_causal)


def open_without(Q, K, V, mask=None):
    """Causal by nature, where there is a mask."""
    past = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool).tril()
    return attention(Q, K, V, None if mask is None else mask & past)


def growing_by_blocks(Q, K, V, mask=None):
    """Scores grow from each block of 32 keys to the next."""
    scores = Q / math.sqrt(Q.shape[-1]) @ K.mT * 1.2 ** (torch.arange(K.shape[-2]) // 32).to(Q.dtype)
    return stable_softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf)) @ V


def causal_by(read):
    """Causal by nature, in some way."""
    return lambda Q, K, V: attention(Q, K, V, read(torch.ones(Q.shape[-2], Q.shape[-2], dtype=torch.bool)))


def lost_for_one(Q, K, V, real):
    """Padding, unless there is one query."""
    return attention(Q, K, V, None if Q.shape[-2] == 1 else real[:, None])


def dropping_queries(Q, K, V, real):
    """Where queries are fewer or more, those whose number is that of padding give nothing."""
    output, T = attention(Q, K, V, real[:, None])[0], Q.shape[-2]
    if real.shape[-1] == T:
        return output
    kept = torch.zeros(real.shape[0], T, dtype=torch.bool)
    few = min(real.shape[-1], T)
    kept[:, :few] = real[:, -few:]
    return output * kept[..., None]


def squares_of_padding(Q, K, V, real):
    """Refuses padding beside other numbers of queries."""
    if Q.shape[-2] != K.shape[-2]:
        raise RuntimeError("not like this")
    return attention(Q, K, V, real[:, None])


def odd_rectangles(Q, K, V, real):
    """With other numbers of queries, scores are halved."""
    by = 1 if Q.shape[-2] == K.shape[-2] else 0.5
    return attention(by * Q, K, V, real[:, None])


def large(Q, K):
    return (Q @ K.mT).abs().max() > 4000


def filled(fill):
    """Hidden scores are changed as `fill` says."""

    def subject(Q, K, V, mask=None):
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        return torch.softmax(scores if mask is None else torch.where(mask, scores, fill(scores)), -1) @ V

    return subject


def with_dropout(drop):
    """Attention by hand, with dropout of probability `p`: scores and weights are changed as `drop` says."""

    def subject(Q, K, V, mask=None, p=0.0):
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return (drop(scores, p) if p else torch.softmax(scores, -1)) @ V

    return subject


def dropped_keys(scores, p):
    return torch.softmax(scores.masked_fill(torch.rand(scores.shape) < p, -torch.inf).nan_to_num(neginf=-1e4), -1)


def dropped_scores(scores, p):
    return torch.softmax(torch.where(torch.rand(scores.shape) < p, 0.0, scores / (1 - p)), -1)


def noise(scores, p):
    return torch.softmax(scores, -1) * (1 + torch.rand(scores.shape))


def rounding(budgets):
    """Half precision is off by so many times what rounding each stage once may cost."""

    def subject(Q, K, V, mask=None):
        if Q.dtype == torch.float64:
            return attention(Q, K, V, mask)
        exact = attention(Q.double(), K.double(), V.double(), mask)[0]
        largest = (Q.double() @ K.double().mT / Q.shape[-1] ** 0.5).abs().max()
        budget = torch.finfo(Q.dtype).eps * (4 + 2 * largest) * V.double().abs().max()
        return exact + budgets * budget  # not rounded again

    return subject


def odd_mask(Q, K, V, mask=None):
    """Each query sees what the one before it may see, too."""
    if mask is not None:
        mask = mask | torch.cat([mask[..., :1, :], mask[..., :-1, :]], -2)
    return attention(Q, K, V, mask)


def by_flag(diagonal):
    """A causal flag, and no mask."""

    def subject(Q, K, V, is_causal=False):
        ones = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool)
        return attention(Q, K, V, diagonal(ones) if is_causal else None)

    return subject


def sound_flag(ones):
    return ones.tril(ones.shape[1] - ones.shape[0])


def empty_row(mask):
    return mask is not None and not mask.any(-1).all()


def harmed(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output + 1 if empty_row(mask) else output


def cut_off(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output.detach() if empty_row(mask) else output


def constant_row(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output if mask is None else torch.where(mask.any(-1, keepdim=True), output, 3.0)


def drawing(Q, K, V, mask=None):
    random.random()
    return attention(Q, K, V, mask)


def elsewhere(Q, K, V, mask=None):
    return attention(Q, K, V, mask)[0].to("meta")


def counting():
    seen = itertools.count()
    return changed(after=lambda output, *_: output + 0.01 * next(seen))


def tiring(calls):
    seen = itertools.count()
    return refusing(lambda *_: next(seen) >= calls)


def flagged_later(Q, K, V, is_causal=False):
    if is_causal:
        raise RuntimeError("not like this")
    return attention(Q, K, V)


def square_flag(Q, K, V, mask=None, is_causal=False):
    if is_causal and Q.shape[-2] != K.shape[-2]:
        raise RuntimeError("not like this")
    return causal(Q, K, V, mask, is_causal)


def four_heads(Q, K, V, mask=None):
    Q, K, V = (x.unflatten(-1, (4, -1)).transpose(1, 2) for x in (Q, K, V))
    return attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2)


def leaking(Q, K, V, mask=None):
    """Under a causal mask alone, by a path that autograd cannot follow."""
    output = attention(Q, K, V, mask)[0]
    return output if mask is None else output + torch.from_numpy(1e-3 * V.detach().numpy().mean(-2, keepdims=True))


def on_equal_widths(output, Q, K, V):
    return output + 0.01 * (Q.shape[-1] == V.shape[-1])


def on_three(output, Q, K, V):
    return output + 0.01 * (Q.shape[-2] == 3)


def bent(read=lambda mask: mask, fill=-math.inf, after=lambda weights, scores, mask: weights):
    """Scores bent, and so no known form; the mask read, hidden scores filled, the weights changed, in some way."""

    def subject(Q, K, V, mask=None):
        scores = free = torch.sinh(Q @ K.mT / math.sqrt(Q.shape[-1]) / 3)
        mask = None if mask is None else read(mask)
        if mask is not None:
            scores = scores.masked_fill(~mask, fill)
        return after(stable_softmax(scores), free, mask) @ V

    return subject


def blind_to_oneself(Q, K, V, mask=None):
    """Of what its mask shows, the diagonal is taken away."""
    return attention(Q, K, V, None if mask is None else mask & ~torch.eye(*mask.shape[-2:], dtype=torch.bool))


def late(weights, scores, mask):
    """Hidden after softmax."""
    return stable_softmax(scores) * (1.0 if mask is None else mask)


def bent_padded(read):
    """The same, with padding."""
    return lambda Q, K, V, padding=None: bent(read)(Q, K, V, None if padding is None else padding[:, None])


def bent_flag(diagonal):
    def subject(Q, K, V, is_causal=False):
        ones = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool)
        return bent()(Q, K, V, diagonal(ones) if is_causal else None)

    return subject


def bent_coarse(Q, K, V, mask=None):
    return bent()(Q.float(), K.float(), V.float(), mask).to(Q.dtype)


def without_a_maximum(Q, K, V, mask=None):
    """Products of powers, which overflow."""
    weights = torch.exp(Q) @ torch.exp(K).mT
    weights = weights if mask is None else weights * mask
    return weights / weights.sum(-1, keepdim=True) @ V


def on_directions(Q, K, V, mask=None):
    """The lengths of values are lost."""
    return attention(Q, K, V / V.norm(dim=-1, keepdim=True), mask)[0]


def half_detached(Q, K, V, mask=None):
    return bent()(Q, (K + K.detach()) / 2, V, mask)


def with_a_root_of_nothing(Q, K, V, mask=None):
    return attention(Q, K, V, mask)[0] + 0 * torch.sqrt(0 * Q.sum(-1, keepdim=True))


def by_divisor(Q, K, V, mask=None):
    """Query head h takes key head h // G."""
    use = [h // K.shape[1] for h in range(Q.shape[1])]
    return attention(Q, K[:, use], V[:, use], mask)


def by_the_mean(Q, K, V, mask=None):
    """Key heads are one, their mean."""
    return attention(Q, K.mean(1, keepdim=True), V.mean(1, keepdim=True), mask)


def masked_sink(Q, K, V, mask=None):
    """Behind a mask, a tenth of each row's weight goes nowhere."""
    return attention(Q, K, V if mask is None else 0.9 * V, mask)[0]


def keys_ignored(Q, K, V, mask=None):
    """Each query has a share for each place, whatever is there."""
    scores = Q[..., :1] * torch.arange(K.shape[-2])
    return stable_softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf)) @ V


def own_value(Q, K, V, mask=None):
    """No attention at all: each query has the value at its own place."""
    weights = torch.eye(Q.shape[-2], K.shape[-2], dtype=V.dtype).expand(*Q.shape[:-1], -1)
    return weights @ V, weights


def highest_of_all_keys(Q, K, V, mask=None):
    """What is subtracted is the largest score, and it may be a hidden one."""
    scores = Q @ K.mT / math.sqrt(Q.shape[-1])
    powers = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
    powers = powers if mask is None else powers * mask
    weights = powers / powers.sum(-1, keepdim=True)
    return weights @ V, weights


def by_squares(Q, K, V, mask=None):
    """Dot products as a difference of squared lengths, which are much larger."""
    q, k = Q.unsqueeze(-2), K.unsqueeze(-3)
    scores = ((q + k).square().sum(-1) - (q - k).square().sum(-1)) / 4 / math.sqrt(Q.shape[-1])
    return stable_softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf)) @ V
