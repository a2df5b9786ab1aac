"""Tries at the steps that are wrong, as people write them: step -> mistake -> functions, and what is none of these."""

import math

import torch
import torch.nn.functional as F

from surgeon.practice.steps import STEPS

INF = float("inf")


def whole(Q, K, V, mask=None, scale=True, *, hide=None, softmax=None, by=None):
    s = torch.einsum("btd,bsd->bts", Q, K)
    if scale:
        s = s / (by(Q, K) if by else math.sqrt(Q.shape[-1]))
    if mask is not None:
        s = hide(s, mask) if hide else s.masked_fill(~mask, -INF)
    w = softmax(s) if softmax else F.softmax(s, -1)
    return w @ V, w


def attention_with(**how):
    return lambda Q, K, V, mask=None, scale=True: whole(Q, K, V, mask, scale, **how)


def scaled_after(Q, K, V, mask=None, scale=True):
    _, w = whole(Q, K, V, mask, False)
    if scale:
        w = w / Q.shape[-1] ** 0.5
    return torch.bmm(w, V), w


def masked_after(Q, K, V, mask=None, scale=True):
    _, w = whole(Q, K, V, None, scale)
    if mask is not None:
        w = w.masked_fill(~mask, 0.0)
    return torch.bmm(w, V), w


def early_weights(Q, K, V, mask=None, scale=True):
    return whole(Q, K, V, mask, scale)[0], whole(Q, K, V, None, scale)[1]


def gives_scores(Q, K, V, mask=None, scale=True):
    scores = Q @ K.mT
    if scale:
        scores = scores / Q.shape[-1] ** 0.5
    return whole(Q, K, V, mask, scale)[0], scores


def naive(s):
    e = s.exp()
    return e / e.sum(-1, keepdim=True)


def through_a_list(Q, K):
    return torch.tensor((Q @ K.mT).tolist(), dtype=Q.dtype)


def strided(x, h):
    B, T, width = x.shape
    return x.as_strided((B, h, T, width // h), (T * width, width // h, width, 1))


def only_in_the_first_text(Q, K, V, mask=None, scale=True):
    """The mask is used in the first text alone."""
    s = Q @ K.mT / (Q.shape[-1] ** 0.5 if scale else 1.0)
    if mask is not None:
        s[0] = s[0].masked_fill(~mask[0], -INF)
    w = torch.softmax(s, -1)
    return w @ V, w


def causal_unasked(Q, K, V, mask=None, scale=True):
    """Without a mask, the causal one."""
    if mask is None:
        mask = torch.ones(Q.shape[1], K.shape[1], dtype=torch.bool).tril()
    return whole(Q, K, V, mask, scale)


def causal_besides(Q, K, V, mask=None, scale=True):
    """The causal mask, and another."""
    past = torch.ones(Q.shape[1], K.shape[1], dtype=torch.bool).tril()
    return whole(Q, K, V, past if mask is None else past & mask, scale)


def even(Q, K, V, mask=None, scale=True):
    """Whoever may be seen has the same share."""
    return whole(0 * Q, K, V, mask, scale)


def divides_in_place(scores, d_k):
    scores /= math.sqrt(d_k)
    return scores


def fills_in_place(scores, may_look):
    return scores.masked_fill_(~may_look, -INF)


def unassigned(scores, may_look):
    scores.masked_fill(~may_look, -INF)
    return scores


def shifts_in_place(scores):
    scores -= scores.amax(-1, keepdim=True)
    return torch.softmax(scores, -1)


def sums_in_place(weights, V):
    weights *= 1.5
    return weights @ V / 1.5


def zeros_in_place(weights):
    weights[weights == 0] = 1.0
    return -(weights * weights.log()).sum(-1)


def statistics(a, *, log=torch.log, window=1, **other):
    place = torch.arange(len(a))
    local = (place[:, None] - place).abs() <= window
    found = {
        "max_attention": a.max().item(),
        "entropy": -(a * torch.where(a > 0, log(a), 0.0)).sum(-1).mean().item(),
        "diagonal_mass": a.trace().item() / a.sum().item(),
        "local_vs_global": (a[local].sum() / a[~local].sum()).item(),
    }
    return {**found, **{name: float(change(a)) for name, change in other.items()}}


def statistics_with(**how):
    return lambda attention_weights: statistics(attention_weights, **how)


def band(a, low, high):
    place = torch.arange(len(a))
    distance = (place[:, None] - place).abs()
    return a[(distance >= low) & (distance <= high)].sum()


def zero_when_nothing(a):
    far = band(a, 2, 99)
    return band(a, 0, 1) / far if far > 0 else 0.0


def positions_of_padding(lengths, n):
    return torch.tensor([[0] * (n - k) + [1] * k for k in lengths])


def across(lengths, n):
    seen = torch.arange(n) < torch.tensor(lengths)[:, None]
    return seen[:, :, None]


def both_ways(lengths, n):
    seen = torch.arange(n) < torch.tensor(lengths)[:, None]
    return seen[:, :, None] & seen[:, None, :]


def sometimes_twice():
    asked = []

    def scale(scores, d_k):
        asked.append(d_k)
        return scores / math.sqrt(d_k) / (2 if len(asked) > 8 else 1)

    return scale


WRONG = {
    "scores": {
        "no transpose": [lambda Q, K: torch.matmul(Q, K), lambda Q, K: torch.einsum("...td,...ds->...ts", Q, K)],
        "all axes turned": [lambda Q, K: Q @ K.T],
        "keys by queries": [lambda Q, K: torch.einsum("...td,...sd->...st", Q, K), lambda Q, K: (Q @ K.mT).mT],
        "scaled already": [lambda Q, K: torch.einsum("...td,...sd->...ts", Q, K) * Q.size(-1) ** -0.5],
        "mean for sum": [lambda Q, K: (Q[..., None, :] * K[..., None, :, :]).mean(-1)],
        "cosines": [lambda Q, K: F.cosine_similarity(Q[..., None, :], K[..., None, :, :], dim=-1)],
        "entry by entry": [lambda Q, K: torch.mul(Q, K)],
        "shares already": [lambda Q, K: torch.softmax(Q @ K.mT, -1)],
        "tied to float32": [lambda Q, K: Q.float() @ K.float().mT],
        "cuts the gradient": [lambda Q, K: Q.detach() @ K.mT, through_a_list],
    },
    "scale": {
        "divided by d_k": [lambda s, d: s / d, lambda s, d: s * (1 / d), lambda s, d: s / torch.tensor(d)],
        "divided by √S": [lambda s, d: s / s.size(-1) ** 0.5],
        "divided by √T": [lambda s, d: s * s.shape[-2] ** -0.5],
        "multiplied by √d_k": [lambda s, d: s * d**0.5, lambda s, d: s / d**-0.5],
        "not divided": [lambda s, d: s, lambda s, d: s.clone()],
        "halved": [lambda s, d: s / (d ** 1 / 2), lambda s, d: 2 * s / d],
        "divided by d_k and 2": [lambda s, d: s / d ** 1 / 2],
        "fourth root": [lambda s, d: s / math.sqrt(math.sqrt(d))],
        "squared": [lambda s, d: s / (d * d), lambda s, d: s * d**-2],
        "whole root": [lambda s, d: s / int(math.sqrt(d)), lambda s, d: s // 1e-9 * 1e-9 / (d**0.5 // 1)],
        "by their own spread": [lambda s, d: s / torch.std(s)],
        "changes its input": [divides_in_place, lambda s, d: s.div_(d**0.5), lambda s, d: s.mul_(d**-0.5).clone()],
        "tied to float32": [lambda s, d: s.float() / d**0.5, lambda s, d: s.to(torch.float32).div(math.sqrt(d))],
        "cuts the gradient": [lambda s, d: s.data / d**0.5, lambda s, d: s.detach() * d**-0.5],
        "another answer each time": [sometimes_twice()],
    },
    "mask": {
        "inverted": [lambda s, m: torch.where(m, -INF, s), lambda s, m: s.masked_fill(m, float("-inf"))],
        "zero for minus infinity": [lambda s, m: s * m.to(s.dtype), lambda s, m: s.masked_fill(~m, 0)],
        "ones added": [lambda s, m: s + m.double().to(s.dtype)],
        "zero times infinity": [lambda s, m: s + (1 - m.to(s.dtype)) * float("-inf")],
        "a finite number": [lambda s, m: s.masked_fill(~m, -1e9), lambda s, m: torch.where(m, s, -1e4),
                            lambda s, m: s + (1.0 - m.to(s.dtype)) * -10000.0,
                            lambda s, m: s * m + (1 - m.float()) * -1e9],
        "almost zero": [lambda s, m: s.masked_fill(~m, -1e-9), lambda s, m: s.masked_fill(m == 0, -1.0)],
        "after the softmax": [lambda s, m: torch.softmax(s, -1).masked_fill(~m, 0)],
        "shares already": [lambda s, m: torch.softmax(s.masked_fill(~m, -INF), -1)],
        "ignored": [unassigned, lambda s, m: s],
        "transposed": [lambda s, m: s.masked_fill(~m.transpose(-1, -2), -INF)],
        "always causal": [lambda s, m: s + torch.full(s.shape[-2:], -INF, dtype=s.dtype).triu(1)],
        "plus infinity": [lambda s, m: s.masked_fill(~m, float("inf"))],
        "changes its input": [fills_in_place],
        "tied to float32": [lambda s, m: s.float().masked_fill(~m, -INF)],
        "cuts the gradient": [lambda s, m: s.detach().masked_fill(~m, -INF)],
    },
    "softmax": {
        "over the queries": [lambda s: F.softmax(s, dim=-2)],
        "over the first axis": [lambda s: F.softmax(s, dim=0)],
        "over the second axis": [lambda s: F.softmax(s, dim=1) if s.ndim > 1 else s],
        "over everything": [lambda s: s.exp() / s.exp().sum()],
        "not shifted": [naive, lambda s: s.exp() / torch.einsum("...s->...", s.exp()).unsqueeze(-1)],
        "cut off": [
            lambda s: naive(s.clamp(max=80)),
            lambda s: F.softmax(torch.clip(s, -100, 100), -1),
            lambda s: F.softmax(s.clamp(min=-8000), -1),
        ],
        "one maximum for all": [lambda s: naive(s - torch.max(s))],
        "maximum of the columns": [lambda s: naive(s - s.max(dim=-2, keepdim=True).values)],
        "lowest subtracted": [lambda s: naive(s - s.min(-1, keepdim=True).values)],
        "hidden": [lambda s: torch.where(s.isinf().any(-1, keepdim=True), s * 0, s).softmax(-1)],
        "undivided": [lambda s: (s - s.max(-1, keepdim=True)[0]).exp()],
        "no powers": [lambda s: s / s.sum(dim=-1, keepdim=True)],
        "logarithms": [lambda s: F.log_softmax(s, -1), lambda s: s - s.logsumexp(-1, True)],
        "powers of two": [lambda s: 2 ** (s - s.amax(-1, True)) / (2 ** (s - s.amax(-1, True))).sum(-1, True)],
        "turned over": [lambda s: F.softmin(s, -1)],
        "changes its input": [shifts_in_place],
        "tied to float32": [lambda s: F.softmax(s, -1, dtype=torch.float32)],
        "cuts the gradient": [lambda s: torch.softmax(s, -1).detach()],
    },
    "average": {
        "columns for rows": [lambda w, V: torch.einsum("...st,...sd->...td", w, V)],
        "values first": [lambda w, V: torch.matmul(V, w)],
        "values transposed": [lambda w, V: torch.einsum("...ts,...ds->...td", w, V)],
        "averaged twice": [lambda w, V: (w[..., None] * V[..., None, :, :]).mean(-2)],
        "shared again": [lambda w, V: (w @ V) / w.sum(-1)[..., None]],
        "best value alone": [lambda w, V: F.one_hot(w.argmax(-1), w.shape[-1]).to(V.dtype) @ V],
        "added to the values": [lambda w, V: (w @ V).add(V)],
        "changes its input": [sums_in_place],
        "tied to float32": [lambda w, V: w.float() @ V.float()],
        "cuts the gradient": [lambda w, V: w.detach() @ V],
    },
    "attention": {
        "divided by d_k": [attention_with(by=lambda Q, K: Q.shape[-1])],
        "not divided": [attention_with(by=lambda Q, K: 1)],
        "multiplied by √d_k": [attention_with(by=lambda Q, K: Q.shape[-1] ** -0.5)],
        "divided by √S": [attention_with(by=lambda Q, K: K.shape[-2] ** 0.5)],
        "divided by √T": [attention_with(by=lambda Q, K: Q.shape[1] ** 0.5)],
        "scale after the softmax": [scaled_after],
        "over the queries": [attention_with(softmax=lambda s: F.softmax(s, 1))],
        "over the batch": [attention_with(softmax=lambda s: F.softmax(s, 0))],
        "undivided": [attention_with(softmax=lambda s: (s - s.max(-1, keepdim=True)[0]).exp())],
        "not shifted": [attention_with(softmax=naive)],
        "after the softmax": [masked_after],
        "zero for minus infinity": [attention_with(hide=lambda s, m: s.masked_fill(~m, 0))],
        "inverted": [attention_with(hide=lambda s, m: s.masked_fill(m, -INF))],
        "mask ignored": [attention_with(hide=lambda s, m: s)],
        "transposed": [attention_with(hide=lambda s, m: s.masked_fill(~m.transpose(1, 2), -INF))],
        "weights before the mask": [early_weights],
        "scores for weights": [gives_scores],
        "queries for keys": [lambda Q, K, V, mask=None, scale=True: whole(Q, Q, V, mask, scale)],
        "scale not heard": [lambda Q, K, V, mask=None, scale=True: whole(Q, K, V, mask)],
        "cut off": [attention_with(softmax=lambda s: F.softmax(s.clamp(-50, 50), -1))],
        "causal unasked": [causal_unasked, causal_besides],
        "all alike": [even],
        "masked": [only_in_the_first_text],
        "weights kept back": [lambda Q, K, V, mask=None, scale=True: whole(Q, K, V, mask, scale)[0]],
        "in the other order": [lambda Q, K, V, mask=None, scale=True: whole(Q, K, V, mask, scale)[::-1]],
        "changes its input": [lambda Q, K, V, mask=None, scale=True: whole(Q.div_(3).mul(3), K, V, mask, scale)],
    },
    "create_causal_mask": {
        "strict": [lambda n: torch.full((n, n), -INF).triu(), lambda n: torch.ones(n, n).tril(-1).bool(),
                   lambda n: torch.ones(n, n).tril(-1)],
        "sees the next": [lambda n: torch.full((n, n), -INF).triu(2)],
        "transposed": [lambda n: torch.full((n, n), -INF).tril(-1), lambda n: torch.ones(n, n).triu().bool()],
        "inverted": [lambda n: torch.ones(n, n).triu(1).bool(), lambda n: torch.full((n, n), -INF).tril()],
        "itself alone": [lambda n: torch.eye(n).bool()],
        "hides nothing": [lambda n: torch.zeros(n, n), lambda n: torch.ones(n, n)],
        "zero times infinity": [lambda n: torch.ones(n, n).triu(1) * float("-inf")],
        "a finite number": [lambda n: torch.full((n, n), -1e9).triu(1), lambda n: -1e4 * torch.ones(n, n).triu(1)],
        "plus infinity": [lambda n: torch.full((n, n), INF).triu(1)],
    },
    "create_reverse_mask": {
        "causal": [lambda n: torch.full((n, n), -INF).triu(1)],
        "strict": [lambda n: torch.full((n, n), -INF).tril(), lambda n: torch.ones(n, n).triu(1).bool(),
                   lambda n: torch.ones(n, n).triu(1)],
        "inverted": [lambda n: torch.ones(n, n).tril(-1).bool()],
        "sees the last": [lambda n: torch.ones(n, n).triu(-1).bool()],
        "hides nothing": [lambda n: torch.zeros(n, n)],
        "zero times infinity": [lambda n: torch.ones(n, n).tril(-1) * -INF],
        "a finite number": [lambda n: torch.full((n, n), -1e9).tril(-1)],
        "plus infinity": [lambda n: torch.full((n, n), INF).tril(-1)],
    },
    "create_padding_mask": {
        "inverted": [lambda k, n: torch.arange(n) >= torch.tensor(k)[:, None]],
        "one too many": [lambda k, n: torch.arange(n) <= torch.tensor(k)[:, None]],
        "one too few": [lambda k, n: torch.arange(n) < torch.tensor(k)[:, None] - 1],
        "first word hidden": [lambda k, n: (torch.arange(n) > 0) & (torch.arange(n) <= torch.tensor(k)[:, None])],
        "padding first": [positions_of_padding],
        "on the queries": [across, lambda k, n: across(k, n).expand(-1, -1, n)],
        "on both axes": [both_ways],
        "hides nothing": [lambda k, n: torch.ones(len(k), 1, n).bool()],
        "zero times infinity": [lambda k, n: (torch.arange(n) >= torch.tensor(k)[:, None]).float()[:, None] * -INF],
        "a finite number": [lambda k, n: (torch.arange(n) >= torch.tensor(k)[:, None]).float()[:, None] * -1e9],
        "plus infinity": [lambda k, n: torch.where(torch.arange(n) >= torch.tensor(k)[:, None], INF, 0.0)],
    },
    "split_heads": {
        "viewed": [lambda x, h: x.reshape(x.shape[0], h, x.shape[1], -1),
                   lambda x, h: x.contiguous().view(len(x), h, x.size(1), -1)],
        "every other column": [lambda x, h: torch.stack([x[..., i::h] for i in range(h)], 1)],
        "tokens before heads": [lambda x, h: x.reshape(*x.shape[:2], h, -1)],
        "heads before batch": [lambda x, h: torch.stack(x.chunk(h, -1))],
        "not cut": [lambda x, h: torch.stack([x] * h, 1)],
        "order in memory": [strided],
        "changes its input": [lambda x, h: x.mul_(2).div(2).unflatten(-1, (h, -1)).transpose(1, 2)],
        "tied to float32": [lambda x, h: x.float().unflatten(-1, (h, -1)).transpose(1, 2)],
        "cuts the gradient": [lambda x, h: x.data.unflatten(-1, (h, -1)).transpose(1, 2)],
    },
    "merge_heads": {
        "viewed": [lambda x: x.contiguous().view(x.size(0), x.size(2), x.size(1) * x.size(3))],
        "columns in turn": [lambda x: torch.stack(list(x.unbind(1)), -1).flatten(-2)],
        "not joined": [lambda x: x.permute(0, 2, 1, 3)],
        "added up": [lambda x: torch.einsum("bhtd->btd", x)],
        "averaged": [lambda x: x.mean(dim=1)],
        "order in memory": [lambda x: x.transpose(1, 2).view(x.size(0), x.size(2), -1)],
        "tied to float32": [lambda x: x.float().transpose(1, 2).flatten(2)],
        "cuts the gradient": [lambda x: x.detach().transpose(1, 2).flatten(2)],
    },
    "row_entropy": {
        "bits": [lambda a: -(a * torch.log2(a.clamp(min=1e-30))).sum(-1)],
        "base ten": [lambda a: -(a * torch.log10(a.clamp(min=1e-30))).sum(-1)],
        "negative": [lambda a: torch.xlogy(a, a).sum(-1)],
        "mean over keys": [lambda a: -torch.xlogy(a, a).mean(-1)],
        "share of the most": [lambda a: -torch.xlogy(a, a).sum(-1) / math.log(a.shape[-1])],
        "number of keys": [lambda a: torch.exp(-torch.xlogy(a, a).sum(-1))],
        "over the queries": [lambda a: -(a * torch.log(a)).sum(dim=-2)],
        "one for all": [lambda a: -torch.xlogy(a, a).sum(-1).mean()],
        "all added up": [lambda a: -torch.xlogy(a, a).sum()],
        "NaN at zero": [lambda a: -(a * torch.log(a)).sum(-1), lambda a: -(a * a.log()).sum(dim=-1)],
        "changes its input": [zeros_in_place],
        "tied to float32": [lambda a: -torch.xlogy(a, a).float().sum(-1)],
        "cuts the gradient": [lambda a: -torch.xlogy(a, a).sum(-1).detach()],
    },
    "analyze_attention_patterns": {
        "entropy in bits": [statistics_with(log=torch.log2)],
        "entropy added up": [statistics_with(entropy=lambda a: -torch.xlogy(a, a).sum())],
        "entropy of every cell": [statistics_with(entropy=lambda a: -torch.xlogy(a, a).mean())],
        "entropy negative": [statistics_with(entropy=lambda a: torch.xlogy(a, a).sum(-1).mean())],
        "mean of the maxima": [statistics_with(max_attention=lambda a: a.max(-1).values.mean())],
        "diagonal added up": [statistics_with(diagonal_mass=torch.trace)],
        "diagonal in percent": [statistics_with(diagonal_mass=lambda a: 100 * a.diagonal().mean())],
        "diagonal alone is local": [statistics_with(window=0)],
        "two places are local": [statistics_with(window=2)],
        "local without itself": [statistics_with(local_vs_global=lambda a: band(a, 1, 1) / band(a, 2, 99))],
        "share for ratio": [statistics_with(local_vs_global=lambda a: band(a, 0, 1) / a.sum())],
        "global over local": [statistics_with(local_vs_global=lambda a: band(a, 2, 99) / band(a, 0, 1))],
        "NaN at zero": [statistics_with(entropy=lambda a: -(a * a.log()).sum(-1).mean())],
        "nothing far away": [statistics_with(local_vs_global=zero_when_nothing)],
        "changes its input": [lambda a: statistics(a.mul_(2).div(2))],
    },
}  # fmt: skip

_statistics = STEPS["analyze_attention_patterns"].right
UNKNOWN = [
    ("scores", lambda Q, K: (Q @ K.mT)[..., :1]),
    ("scores", lambda Q, K: 7),
    ("scores", lambda Q, K: Q @ K.mT + 1),
    ("attention", lambda Q, K, V, mask=None: 7),
    ("attention", lambda Q, K, V, mask=None: (V, V)),
    ("attention", lambda Q, K, V, mask=None: (V * 0 + 7, 0 * K @ K.mT)),
    ("create_causal_mask", lambda n: torch.ones(n)),
    ("create_padding_mask", lambda lengths, n: torch.ones(n)),
    ("analyze_attention_patterns", lambda a: 1.0),
    ("analyze_attention_patterns", lambda a: {"entropy": 1}),
    ("analyze_attention_patterns", lambda a: _statistics(a) | {"entropy": a}),
    ("analyze_attention_patterns", lambda a: _statistics(a) | {"entropy": 7}),
]
