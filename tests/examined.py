"""What several tests of the check-up examine, and how they name what failed."""

import math

import torch
from torch import nn

from surgeon import attention, stable_softmax
from surgeon.checkup.subjects.layouts import bring_back, lay_out


def names(report):
    return [finding.name for finding in report.failed]


def softened(Q, K, V, mask=None):
    """Attention whose scores are squeezed: no fault that has a name."""
    scores = torch.tanh(Q @ K.mT / math.sqrt(Q.shape[-1]))
    weights = stable_softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -1)
    return weights @ V


def laid_out(layout):
    """Our attention with another layout, its arguments and output in it."""
    heads = 3 if "H" in layout else 1

    def subject(Q, K, V, mask=None):
        output, weights = attention(*(bring_back(x, layout, heads) for x in (Q, K, V)), mask)
        return lay_out(output, layout), weights

    return subject


READINGS = {
    "True attends": lambda mask: mask,
    "True blocks": lambda mask: ~mask,
    "additive": lambda mask: mask,
    "0-1": lambda mask: mask.bool(),
}


def reader(convention):
    return lambda Q, K, V, mask=None: attention(Q, K, V, None if mask is None else READINGS[convention](mask))


def causal(Q, K, V, mask=None, is_causal=False):
    T, S = Q.shape[-2], K.shape[-2]
    triangle = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return attention(Q, K, V, triangle if is_causal else mask)


class Fused(nn.Module):
    """One projection for queries, keys and values, in nested submodules."""

    def __init__(self, wrong=False):
        super().__init__()
        self.inner = nn.ModuleDict({"all": nn.Linear(28, 84), "out": nn.Linear(28, 28)})
        self.wrong = wrong

    def forward(self, x, attn_mask=None):
        Q, K, V = (z.unflatten(-1, (4, 7)).transpose(1, 2) for z in self.inner["all"](x).chunk(3, -1))
        output, weights = attention(Q, K, V, attn_mask)
        merged = output.reshape(x.shape) if self.wrong else output.transpose(1, 2).flatten(2)
        return self.inner["out"](merged), weights
