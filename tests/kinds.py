"""Attentions of other kinds: sound ones that are no plain attention, and what goes wrong with each."""

import math

import torch

from surgeon import stable_softmax


def made(scores=lambda Q, K, scores: scores, share=stable_softmax, seen=None):
    """Attention with its scores changed, shared out in another way, or with keys hidden by their places."""

    def subject(Q, K, V, mask=None):
        changed = scores(Q, K, (Q / math.sqrt(Q.shape[-1])) @ K.mT)
        allowed = mask
        if seen is not None:
            i, j = torch.arange(Q.shape[-2])[:, None] + K.shape[-2] - Q.shape[-2], torch.arange(K.shape[-2])
            allowed = seen(i, j) if mask is None else mask & seen(i, j)
        if allowed is not None:
            changed = changed.masked_fill(~allowed, -math.inf)
        return share(changed) @ V

    return subject


def distance(scores):
    T, S = scores.shape[-2:]
    return torch.arange(T)[:, None] + S - T - torch.arange(S)


def turned(mixed=False):
    """Rotary by halves; mixed, by the angles of neighbours."""

    def turn(x, first=0):
        T, d = x.shape[-2:]
        angles = torch.arange(first, first + T, dtype=x.dtype)[:, None] * 10000 ** (
            -torch.arange(0, d - d % 2, 2, dtype=x.dtype) / d
        )
        angles = angles.repeat_interleave(2, -1) if mixed else torch.cat([angles, angles], -1)
        even, rest = x[..., : angles.shape[-1]], x[..., angles.shape[-1] :]
        left, right = even.chunk(2, -1)
        return torch.cat([even * angles.cos() + torch.cat([-right, left], -1) * angles.sin(), rest], -1)

    return made(lambda Q, K, _: turn(Q, K.shape[-2] - Q.shape[-2]) @ turn(K).mT / math.sqrt(Q.shape[-1]))


def with_sink(scores, one=0.0):
    """Softmax of a row with one more score, dropped."""
    column = torch.full_like(scores[..., :1], one)
    return stable_softmax(torch.cat([scores, column], -1))[..., :-1]


def unshifted_one(scores):
    """The one of softmax-plus-one, beside powers of which the maximum was taken."""
    top = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    powers = torch.exp(scores - top)
    return powers / (1 + powers.sum(-1, keepdim=True))


def cosines(wrong=False):
    def scores(Q, K, plain):
        norms = Q.norm(dim=-1, keepdim=True), K.norm(dim=-1, keepdim=True)
        both = norms[0] * norms[1] if wrong and Q.shape == K.shape else norms[0] @ norms[1].mT
        return 10 * (Q @ K.mT) / both.clamp(min=1e-6)

    return made(scores)


def normed(queries):
    """A norm on one side alone."""

    def scores(Q, K, plain):
        lengths = (Q if queries else K.mT).norm(dim=-1 if queries else -2, keepdim=True)
        return 3 * plain / lengths.clamp(min=1e-6)

    return made(scores)


def unit(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def capped(cap, late=False):
    """Scores bent to a limit; late, after hidden ones became minus infinity."""
    bend = lambda scores: cap * torch.tanh(scores / cap)
    if late:
        return made(share=lambda scores: stable_softmax(bend(scores)))
    return made(lambda Q, K, scores: bend(scores))


def with_keys_of_places(Q, K, scores):
    places = torch.sin(torch.arange(K.shape[-2])[:, None] * (1 + torch.arange(K.shape[-1]))).to(K.dtype)
    return scores + Q @ places.mT


def of_the_next_query(Q, K, scores):
    """A term that belongs to the query below, as by a relative shift made for a decoder."""
    return scores + 0.1 * torch.cat([Q[..., 1:, :], Q[..., :1, :]], -2) @ K.mT * (distance(scores) < 0)


def in_blocks_of(size):
    """Keys are padded to whole blocks by zeros, which are not hidden."""

    def share(scores):
        extra = -scores.shape[-1] % min(size, scores.shape[-1])
        return stable_softmax(torch.nn.functional.pad(scores, (0, extra)))[..., : scores.shape[-1]]

    return made(share=share)


def by_features(Q, K, V, mask=None):
    """Products of features, and no exponential."""
    Q, K = (torch.nn.functional.elu(x) + 1 for x in (Q, K))
    weights = Q @ K.mT if mask is None else (Q @ K.mT) * mask
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0) @ V


def in_halves(Q, K, V, mask=None):
    """Whatever comes, it is computed in bfloat16."""
    return made()(Q.bfloat16(), K.bfloat16(), V.bfloat16(), mask).to(Q.dtype)


def in_single(subject):
    """Whatever comes, it is computed in float32."""
    return lambda Q, K, V, mask=None: subject(Q.float(), K.float(), V.float(), mask).to(Q.dtype)


# what it is called: (the attention, what its portrait says it looks like)
SOUND = {
    "ALiBi": (made(lambda Q, K, s: s - distance(s).abs() / 2), "a bias by distance (as ALiBi's or T5's)"),
    "a table of distances": (
        made(lambda Q, K, s: s + torch.sin(7.0 * distance(s)).to(s.dtype)),
        "a bias by distance (as ALiBi's or T5's)",
    ),
    "a table of places": (
        made(lambda Q, K, s: s + torch.sin(torch.arange(s.shape[-2])[:, None] * torch.arange(s.shape[-1])).to(s.dtype)),
        "a bias by place, added to the scores",
    ),
    "rotary": (turned(), "queries and keys turned by their places (rotary)"),
    "keys with places": (made(with_keys_of_places), "places added to queries or keys"),
    "a sink": (made(share=lambda s: with_sink(s, 0.5)), "a sink, which takes "),
    "softmax-plus-one": (made(share=with_sink), "a sink, which takes "),
    "nine tenths": (made(share=lambda s: 0.9 * stable_softmax(s)), "weights multiplied by 0.9"),
    "cosines": (cosines(), "cosines for scores (a norm of queries and keys)"),
    "normed queries": (normed(True), "a norm of queries"),
    "normed keys": (normed(False), "a norm of keys"),
    "a cap of 5": (capped(5.0), "scores bent to a limit of 5 (a cap)"),
    "a cap of 50": (capped(50.0), "scores bent to a limit of 50 (a cap)"),
    "a cap of 100": (capped(100.0), "scores bent to a limit"),
    "a sink of -7": (made(share=lambda s: with_sink(s, -7.0)), "a sink, which takes "),
    "root mean squares": (
        made(lambda Q, K, s: 2 * unit(Q) @ unit(K).mT),
        "cosines for scores (a norm of queries and keys)",
    ),
    "a window": (made(seen=lambda i, j: (i - j < 3) & (j <= i)), "keys hidden by place (a window, or documents)"),
    "documents": (made(seen=lambda i, j: i // 3 == j // 3), "keys hidden by place (a window, or documents)"),
    "a window of twenty": (
        made(seen=lambda i, j: (i - j).abs() < 20),
        "the last query sees 20 (a window, or documents)",
    ),
}

# what it is called: (the attention, the law that it breaks, what is said of it)
WRONG = {
    "rotary, pairs mixed": (
        turned(mixed=True),
        "known form",
        "Positions turn scores, and not by their distance: angles do not fit the pairs that they turn.",
    ),
    "cosines, norm of the row": (
        cosines(wrong=True),
        "known form",
        "A score belongs to more than its query and its key: another key's scores change with key 0,"
        " as by a norm of another row.",
    ),
    "the next query's distances": (
        made(of_the_next_query),
        "known form",
        "A score belongs to more than its query and its key: another query's scores change with query 1, above the"
        " diagonal alone: a relative shift made for a decoder, in an encoder.",
    ),
    "all but the last two keys dropped": (
        made(seen=lambda i, j: (i >= 0) & (j >= len(j) - 2)),
        "known form",
        "Keys are dropped: query 0 does not see key 0.",
    ),
    "one added after the shift": (
        made(share=unshifted_one),
        "known form",
        "Rows sum to less than one by as much whatever is added to their scores:"
        " the one beside them was not shifted with the maximum.",
    ),
    "capped after the mask": (
        capped(5.0, late=True),
        "minus infinity",
        "Hidden scores are all set to one number, which leaves them a share.",
    ),
    "empty keys of a block": (
        in_blocks_of(128),
        "known form",
        "Right for some sizes, but not for 3 queries, 193 keys and 1 sequences."
        " Rows sum to less: empty keys of a last block count.",
    ),
    "a sink, unscaled": (
        made(lambda Q, K, s: Q @ K.mT, share=with_sink),
        "scale",
        "Scores are multiplied by an unusual factor.",
    ),
}


def sigmoid(Q, K, V, mask=None):
    weights = torch.sigmoid((Q / math.sqrt(Q.shape[-1])) @ K.mT)
    return (weights if mask is None else weights * mask) @ V


# sound or not, nobody can tell: (the attention, what is said of its form)
UNTOLD = {
    "something added": (
        lambda Q, K, V, mask=None: made()(Q, K, V, mask) + 0.01,
        "With values of zero the output is not zero: something else is added to it (a residual, a bias).",
    ),
    "a residual": (
        lambda Q, K, V, mask=None: made()(Q, K, V, mask) + torch.cat([Q, Q], -1)[..., : V.shape[-1]],
        "With values of zero the output is not zero: something else is added to it (a residual, a bias).",
    ),
    "a product of values": (
        lambda Q, K, V, mask=None: made()(Q, K, V, mask).tanh(),
        "The output is no sum of values by any weights: values or outputs are changed in another way (a norm, a gate).",
    ),
    "values of one length": (
        lambda Q, K, V, mask=None: made()(Q, K, unit(V), mask),
        "The output is no sum of values by any weights: their lengths do not count (a norm of values).",
    ),
    "sigmoid": (
        sigmoid,
        "The weights of a query share nothing: each is a number of its own query and key (as a sigmoid's).",
    ),
}
