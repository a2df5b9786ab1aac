"""Tries at the steps that are right, in many styles: step -> style -> function."""

import math

import numpy as np
import torch
import torch.nn.functional as F

INF = float("inf")


# Compare


def scores_by_loops(Q, K):
    """A dot product at a time."""
    out = Q.new_zeros(*Q.shape[:-1], K.shape[-2])
    for i in range(Q.shape[-2]):
        for j in range(K.shape[-2]):
            out[..., i, j] = (Q[..., i, :] * K[..., j, :]).sum(-1)
    return out


def scores_by_squares(Q, K):
    """Of the sum and of the difference, which differ by four products."""
    q, k = Q[..., :, None, :], K[..., None, :, :]
    return ((q + k).square().sum(-1) - (q - k).square().sum(-1)) / 4


# Mask


def mask_by_clone(scores, may_look):
    hidden = scores.clone()
    hidden[~may_look.expand_as(scores)] = -INF
    return hidden


def mask_additive(scores, may_look):
    added = torch.zeros(may_look.shape, dtype=scores.dtype)
    added[~may_look] = -INF
    return scores + added


# Softmax


def softmax_by_log_sum_exp(scores):
    return torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True))


def softmax_by_hand(scores):
    top = scores.max(dim=-1, keepdim=True).values
    powers = torch.exp(scores - top)
    return powers / powers.sum(dim=-1, keepdim=True)


def softmax_of_the_assignment(scores):
    powers = torch.exp(scores - scores.max(dim=-1, keepdim=True)[0])
    weights = powers / powers.sum(-1, keepdim=True)
    return weights.masked_fill(torch.isnan(weights), 0.0)


def softmax_row_by_row(scores):
    flat = scores.reshape(-1, scores.shape[-1])
    rows = []
    for row in flat:
        e = (row - row.max()).exp()
        rows.append(e / e.sum())
    return torch.stack(rows).reshape(scores.shape)


def softmax_in_place_on_its_own(scores):
    scores = scores - scores.amax(-1, keepdim=True)
    scores = scores.exp()
    return scores.div(scores.sum(-1, True))


# Average


def average_by_loops(weights, V):
    rows = []
    for i in range(weights.shape[-2]):
        rows.append((weights[..., i, :, None] * V).sum(-2))
    return torch.stack(rows, -2)


# The whole


def attention_masked_fill(Q, K, V, mask=None, scale=True):
    scores = torch.bmm(Q, K.transpose(1, 2))
    if scale:
        scores = scores / math.sqrt(Q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    weights = F.softmax(scores, dim=-1)
    return torch.bmm(weights, V), weights


def attention_additive(Q, K, V, mask=None, scale=True):
    scores = torch.einsum("btd,bsd->bts", Q, K)
    scores = scores * Q.shape[-1] ** -0.5 if scale else scores
    if mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, -1).nan_to_num(0.0)
    return torch.einsum("bts,bsd->btd", weights, V), weights


def attention_with_zeros_and_ones(Q, K, V, mask=None, scale=True):
    s = (Q * Q.shape[-1] ** -0.5 if scale else Q) @ K.mT
    if mask is not None:
        s = torch.where(mask > 0, s, torch.finfo(s.dtype).min)
    w = (s - torch.logsumexp(s, -1, keepdim=True)).exp()
    return w @ V, w


def attention_without_the_flag(Q, K, V, mask=None):
    s = Q @ K.mT / Q.shape[-1] ** 0.5
    if mask is not None:
        s = s.masked_fill(~mask, -INF)
    w = torch.softmax(s, -1)
    return w @ V, w


# Masks


def causal_by_loops(seq_len, device="cpu"):
    mask = torch.full((seq_len, seq_len), -INF)
    for i in range(seq_len):
        for j in range(i + 1):
            mask[i, j] = 0.0
    return mask


def padding_by_loops(lengths, seq_len):
    mask = torch.zeros(len(lengths), 1, seq_len, dtype=torch.bool)
    for b, n in enumerate(lengths):
        mask[b, :, :n] = True
    return mask


def padding_additive(lengths, seq_len):
    mask = torch.full((len(lengths), 1, 1, seq_len), -INF)
    for b, n in enumerate(lengths):
        mask[b, ..., :n] = 0
    return mask


# Heads


def split_by_view(x, num_heads):
    B, T, width = x.shape
    return x.reshape(B, T, num_heads, width // num_heads).permute(0, 2, 1, 3)


def split_by_loops(x, num_heads):
    d = x.shape[-1] // num_heads
    return torch.stack([x[..., h * d : (h + 1) * d] for h in range(num_heads)], 1)


def merge_by_view(x):
    B, H, T, d = x.shape
    return x.transpose(1, 2).contiguous().view(B, T, H * d)


# Patterns


def entropy_of_what_is_there(weights):
    logs = torch.where(weights > 0, weights, 1.0).log()
    return -(weights * logs).sum(-1)


def entropy_by_loops(weights):
    flat = weights.reshape(-1, weights.shape[-1])
    found = [-(row[row > 0] * row[row > 0].log()).sum() for row in flat]
    return torch.stack(found).reshape(weights.shape[:-1])


def statistics_of_tensors(attention_weights):
    a = attention_weights
    T = len(a)
    entropy = -torch.xlogy(a, a).sum(-1).mean()
    near = sum(a.diagonal(k).sum() for k in (-1, 0, 1))
    return {
        "max_attention": a.max(),
        "entropy": entropy,
        "diagonal_mass": a.trace() / T,
        "local_vs_global": near / (a.sum() - near).clamp(min=0) if T > 2 else INF,
    }


def statistics_with_a_window(a):
    place = torch.arange(a.shape[-1])
    local = (place[:, None] - place).abs() <= 1
    far = a[~local].sum().item()
    return {
        "max_attention": a.max().item(),
        "entropy": torch.special.entr(a).sum(-1).mean().item(),
        "diagonal_mass": (a.diagonal().sum() / a.sum()).item(),
        "local_vs_global": a[local].sum().item() / far if far else INF,
    }


def statistics_in_numpy(a):
    a = a.numpy()
    T = len(a)
    inside = np.abs(np.subtract.outer(range(T), range(T))) < 2
    with np.errstate(divide="ignore"):
        return {
            "max_attention": a.max(),
            "entropy": -(a * np.log(np.where(a == 0, 1, a))).sum() / T,
            "diagonal_mass": np.trace(a) / a.sum(),
            "local_vs_global": a[inside].sum() / a[~inside].sum(),
        }


RIGHT = {
    "scores": {
        "matmul": lambda Q, K: torch.matmul(Q, K.transpose(-2, -1)),
        "einsum": lambda Q, K: torch.einsum("...td,...sd->...ts", Q, K),
        "loops": scores_by_loops,
        "squared lengths": scores_by_squares,
        "sum of products": lambda Q, K: (Q[..., :, None, :] * K[..., None, :, :]).sum(-1),
    },
    "scale": {
        "math": lambda scores, d_k: scores / math.sqrt(d_k),
        "power": lambda scores, d_k: scores * d_k**-0.5,
        "numpy": lambda scores, d_k: scores / np.sqrt(d_k),
        "tensor": lambda scores, d_k: scores / torch.sqrt(torch.tensor(d_k)),
    },
    "mask": {
        "masked_fill": lambda scores, may: scores.masked_fill(~may, -INF),
        "where": lambda scores, may: torch.where(may, scores, -INF),
        "clone": mask_by_clone,
        "additive": mask_additive,
        "the assignment's": lambda scores, may: scores.masked_fill(may == 0, float("-inf")),
        "lowest": lambda scores, may: scores.masked_fill(~may, torch.finfo(scores.dtype).min),
        "logarithm": lambda scores, may: scores + may.to(scores.dtype).log(),
    },
    "softmax": {
        "torch": lambda scores: torch.softmax(scores, dim=-1),
        "in float32": lambda scores: F.softmax(scores, -1, dtype=torch.float32).to(scores.dtype),
        "log-sum-exp": softmax_by_log_sum_exp,
        "by hand": softmax_by_hand,
        "the assignment's": softmax_of_the_assignment,
        "row by row": softmax_row_by_row,
        "method": softmax_in_place_on_its_own,
    },
    "average": {
        "matmul": lambda weights, V: torch.matmul(weights, V),
        "einsum": lambda weights, V: torch.einsum("...ts,...sd->...td", weights, V),
        "loops": average_by_loops,
    },
    "attention": {
        "masked_fill": attention_masked_fill,
        "additive": attention_additive,
        "zeros and ones": attention_with_zeros_and_ones,
        "without the flag": attention_without_the_flag,
    },
    "create_causal_mask": {
        "triu": lambda n: torch.full((n, n), -INF).triu(1),
        "booleans": lambda n, device="cpu": torch.ones(n, n, dtype=torch.bool).tril(),
        "places": lambda n: torch.arange(n)[:, None] >= torch.arange(n),
        "loops": causal_by_loops,
        "0/1": lambda n: torch.tril(torch.ones(n, n)),
        "integers": lambda n: torch.tril(torch.ones(1, n, n, dtype=torch.int64)),
        "lowest": lambda n: torch.full((n, n), torch.finfo(torch.float32).min).triu(1),
    },
    "create_reverse_mask": {
        "tril": lambda n: torch.full((n, n), -INF).tril(-1),
        "booleans": lambda n: torch.ones(n, n, dtype=torch.bool).triu(),
        "transposed": lambda n: causal_by_loops(n).T,
    },
    "create_padding_mask": {
        "places": lambda lengths, n: (torch.arange(n) < torch.tensor(lengths)[:, None])[:, None],
        "loops": padding_by_loops,
        "additive": padding_additive,
        "of a tensor": lambda lengths, n: torch.arange(n)[None, :] < lengths[:, None],
        "0/1": lambda lengths, n: torch.tensor([[1.0] * k + [0.0] * (n - k) for k in lengths]),
        "every query": lambda lengths, n: padding_by_loops(lengths, n).expand(-1, n, -1),
    },
    "split_heads": {
        "view": split_by_view,
        "unflatten": lambda x, h: x.unflatten(-1, (h, -1)).transpose(-3, -2),
        "chunks": lambda x, h: torch.stack(x.chunk(h, dim=-1), 1),
        "loops": split_by_loops,
    },
    "merge_heads": {
        "view": merge_by_view,
        "flatten": lambda x: x.transpose(-3, -2).flatten(-2),
        "cat": lambda x: torch.cat(list(x.unbind(1)), dim=-1),
    },
    "row_entropy": {
        "xlogy": lambda a: -torch.xlogy(a, a).sum(-1),
        "entr": lambda a: torch.special.entr(a).sum(dim=-1),
        "where": entropy_of_what_is_there,
        "loops": entropy_by_loops,
        "a tiny number": lambda a: -(a * torch.log(a + 1e-12)).sum(-1),
        "distribution": lambda a: torch.distributions.Categorical(a).entropy(),
        "clamped": lambda a: -(a * a.clamp(min=1e-12).log()).sum(-1),
    },
    "analyze_attention_patterns": {
        "tensors": statistics_of_tensors,
        "window": statistics_with_a_window,
        "numpy": statistics_in_numpy,
    },
}  # fmt: skip
