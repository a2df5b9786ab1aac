"""Layers as people write them, sound ones: for the check-up to find out how they are asked."""

import torch
from torch import nn

from surgeon import attention


def split(order, heads, kv_heads):
    """What takes one projection of all three apart, as its author reads it."""
    G, q = kv_heads, heads // kv_heads

    def apart(x, d):
        if order == "3 H d":
            return x.split([heads * d, G * d, G * d], -1)
        if order == "H 3 d":
            return [z.flatten(-2) for z in x.unflatten(-1, (heads, 3, d)).unbind(-2)]
        if order == "H d 3":
            return [z.flatten(-2) for z in x.unflatten(-1, (heads, d, 3)).unbind(-1)]
        if order == "d 3 H":
            return [z.mT.flatten(-2) for z in x.unflatten(-1, (d, 3, heads)).unbind(-2)]
        return [z.flatten(-3) for z in x.unflatten(-1, (G, q + 2, d)).split([q, 1, 1], -2)]

    return apart


class InOne(nn.Module):
    """One projection of all three, in an order of its own."""

    def __init__(self, order="3 H d", heads=4, kv_heads=None, d=7):
        super().__init__()
        self.num_heads, self.shared, self.d = heads, kv_heads or heads, d
        self.apart = split(order, heads, self.shared)
        self.qkv = nn.Linear(heads * d, (heads + 2 * self.shared) * d)
        self.proj = nn.Linear(heads * d, heads * d)

    def forward(self, x, mask=None):
        Q, K, V = (z.unflatten(-1, (-1, self.d)).transpose(1, 2) for z in self.apart(self.qkv(x), self.d))
        group = self.num_heads // self.shared
        K, V = (z.repeat_interleave(group, 1) for z in (K, V))
        output, weights = attention(Q, K, V, mask)
        return self.proj(output.transpose(1, 2).flatten(2)), weights


class Annotated(nn.Module):
    """Four matrices in a list, the last for the output."""

    def __init__(self, heads=4, d=7):
        super().__init__()
        self.h, self.d_k = heads, d
        self.linears = nn.ModuleList(nn.Linear(heads * d, heads * d) for _ in range(4))

    def forward(self, query, key, value, mask=None):
        Q, K, V = (
            linear(x).view(len(x), -1, self.h, self.d_k).transpose(1, 2)
            for linear, x in zip(self.linears, (query, key, value), strict=False)
        )
        output, _ = attention(Q, K, V, mask)
        return self.linears[-1](output.transpose(1, 2).flatten(2))


class ValuesFirst(nn.Module):
    """It takes values, keys and queries, in this order."""

    def __init__(self, heads=4, d=7):
        super().__init__()
        self.heads, self.d = heads, d
        self.values, self.keys, self.queries, self.fc_out = (nn.Linear(heads * d, heads * d) for _ in range(4))

    def forward(self, values, keys, query, mask=None):
        B, T, S = len(query), query.shape[1], keys.shape[1]
        V = self.values(values).reshape(B, S, self.heads, self.d)
        K = self.keys(keys).reshape(B, S, self.heads, self.d)
        Q = self.queries(query).reshape(B, T, self.heads, self.d)
        output, _ = attention(*(x.transpose(1, 2) for x in (Q, K, V)), mask)
        return self.fc_out(output.transpose(1, 2).flatten(2))


class AsideUnlessAlike(nn.Module):
    """It multiplies by its weights itself, where queries, keys and values are not the same."""

    def __init__(self, heads=4, d=7):
        super().__init__()
        self.num_heads, self.d = heads, d
        self.qkv, self.proj = nn.Linear(heads * d, 3 * heads * d), nn.Linear(heads * d, heads * d)

    def forward(self, query, key, value, mask=None, is_causal=False):
        if is_causal:
            mask = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).tril()
        if query is key is value:
            Q, K, V = self.qkv(query).chunk(3, -1)
        else:
            matrices, biases = self.qkv.weight.chunk(3), self.qkv.bias.chunk(3)
            given = zip((query, key, value), matrices, biases, strict=True)
            Q, K, V = (nn.functional.linear(*each) for each in given)
        Q, K, V = (x.unflatten(-1, (self.num_heads, self.d)).transpose(1, 2) for x in (Q, K, V))
        return self.proj(attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2))


class AlwaysAside(AsideUnlessAlike):
    """It multiplies by its weights itself, whatever comes."""

    def forward(self, query, key, value, mask=None, is_causal=False):
        return super().forward(query, key.clone(), value, mask, is_causal)


class Turning(nn.Module):
    """It wants tables of cosines and sines, and a cache, which may be None."""

    def __init__(self, heads=4, d=6):
        super().__init__()
        self.num_heads, self.head_dim = heads, d
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(heads * d, heads * d) for _ in range(4))

    def forward(self, x, position_embeddings, past_key_value, mask=None):
        Q, K, V = (
            project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = (z[:, None] for z in position_embeddings)
        turn = lambda z: torch.cat([-z[..., self.head_dim // 2 :], z[..., : self.head_dim // 2]], -1)
        Q, K = (z * cos + turn(z) * sin for z in (Q, K))
        return self.o_proj(attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2))


class WithPlaces(Turning):
    """It wants the places themselves, and nothing else."""

    def forward(self, x, position_ids=None, mask=None):
        assert position_ids.shape[-1] == x.shape[1]
        ones = torch.ones(1, x.shape[1], self.head_dim, dtype=x.dtype)
        return super().forward(x, (ones, 0 * ones), None, mask)


class Longer(nn.Module):
    """It puts tokens of its own before or behind those that come, and gives them back too."""

    def __init__(self, front=True, extra=2, long_mask=False):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(extra, 28))
        self.front, self.long_mask = front, long_mask
        self.inner = InOne()

    def forward(self, x, mask=None):
        added = self.tokens.expand(len(x), -1, -1)
        x = torch.cat([added, x] if self.front else [x, added], 1)
        if mask is not None and not self.long_mask:
            n = len(self.tokens)
            mask = nn.functional.pad(mask, (n, 0, n, 0) if self.front else (0, n, 0, n), value=True)
        return x + self.inner(x, mask)[0]


class Tokens(nn.Module):
    """A language model: integers in, logits out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 28)
        self.layers = nn.ModuleList(InOne() for _ in range(3))
        self.head = nn.Linear(28, 11)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = x + layer(x)[0]
        return self.head(x)
