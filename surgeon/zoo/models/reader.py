"""A small model as it should be, in parts of which a fault replaces one."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from surgeon.anatomy.softmax import log_sum_exp, stable_softmax

WORDS, LONGEST, WIDTH, HEADS, LAYERS = 23, 24, 24, 3, 2
PAD = 0


class Cache:
    """Keys and values of each layer, and how many tokens they are of."""

    def __init__(self) -> None:
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.length = 0

    def add(self, n: int, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of layer `n`, the new ones last."""
        if n in self.keys:
            K = torch.cat([self.keys[n], K], 2)
            V = torch.cat([self.values[n], V], 2)
        self.keys[n], self.values[n] = K, V
        return K, V

    def reorder(self, rows: Tensor) -> None:
        """Put rows into another order."""
        self.keys = {n: x[rows] for n, x in self.keys.items()}
        self.values = {n: x[rows] for n, x in self.values.items()}

    def crop(self, kept: int) -> None:
        """Forget all but the first tokens."""
        self.keys = {n: x[:, :, :kept] for n, x in self.keys.items()}
        self.values = {n: x[:, :, :kept] for n, x in self.values.items()}
        self.length = kept


class Layer(nn.Module):
    """The matrices of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.W_Q, self.W_K, self.W_V, self.W_O = (
            nn.Linear(WIDTH, WIDTH) for _ in range(4)
        )
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)


class Reader(nn.Module):
    """Learned positions, heads, a cache, padding, documents, a window.

    Parameters
    ----------
    causal : bool
        Whether the future is hidden.
    rotary : bool
        Whether queries and keys are turned by their places, and nothing is
        added to the words.
    window, sinks : int
        How many tokens a layer sees behind, its own counted, all if it is 0;
        and how many first ones stay in sight.
    dropout : float
        In training.
    """

    def __init__(
        self,
        *,
        causal: bool = True,
        rotary: bool = False,
        window: int = 0,
        sinks: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal, self.rotary = causal, rotary
        self.window, self.sinks, self.dropout = window, sinks, dropout
        self.word = nn.Embedding(WORDS, WIDTH)
        self.place = None if rotary else nn.Embedding(LONGEST, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.unembed = nn.Linear(WIDTH, WORDS)
        self.program, self.saving = "plain", False

    def forward(
        self,
        ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        documents: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """[B, T] to logits [B, T, V]."""
        past = 0 if cache is None else cache.length
        seen = None if attention_mask is None else attention_mask.bool()
        x = self.word(ids) if inputs_embeds is None else inputs_embeds
        T = x.shape[1]
        places = position_ids
        if places is None:
            places = self.places(len(x), T, past, seen, documents)
        x = self.placed(x, places)
        allowed = self.allowed(T, past + T, seen, documents)
        for n, layer in enumerate(self.layers):
            x = self.through(layer, x, places, allowed, cache, n)
        if cache is not None:
            cache.length += T
        return self.told(self.norm(x), seen)

    def places(
        self,
        B: int,
        T: int,
        past: int,
        seen: Tensor | None,
        documents: Tensor | None,
    ) -> Tensor:
        """Positions [B, T]: of tokens, not of padding, anew in documents."""
        if documents is not None:
            return started_anew(documents)
        if seen is not None:
            return (seen.long().cumsum(-1) - 1).clamp(min=0)[:, -T:]
        return torch.arange(past, past + T).expand(B, T)

    def placed(self, x: Tensor, places: Tensor) -> Tensor:
        """Words with their places, if these are added."""
        return x if self.place is None else x + self.place(places)

    def allowed(
        self, T: int, S: int, seen: Tensor | None, documents: Tensor | None
    ) -> Tensor:
        """Booleans [B or 1, 1, T, S]: which keys a query may see."""
        i, j = torch.arange(S - T, S)[:, None], torch.arange(S)
        allowed = self.in_sight(i, j)[None, None]
        if self.sinks and self.window:
            allowed = allowed | self.kept(i, j, seen)
        if seen is not None:
            allowed = allowed & seen[:, None, None]
        if documents is not None:
            same = documents[:, :, None] == documents[:, None]
            allowed = allowed & same[:, None]
        return allowed

    def in_sight(self, i: Tensor, j: Tensor) -> Tensor:
        """By where queries and keys stand alone."""
        allowed = j <= i if self.causal else (i - j).abs() >= 0
        return allowed & (i - j < self.window) if self.window else allowed

    def kept(self, i: Tensor, j: Tensor, seen: Tensor | None) -> Tensor:
        """The first tokens of a row, which are no padding: [B, 1, T, S]."""
        place = j[None] if seen is None else seen.long().cumsum(-1) - 1
        return (place < self.sinks)[:, None, None] & (j <= i)

    def through(self, layer: Any, x: Tensor, *more: Any) -> Tensor:
        """A layer; in training again on the way back, if it saves memory."""
        if self.saving and self.training:
            kept: Tensor = checkpoint(
                self.step, layer, x, *more, use_reentrant=False
            )
            return kept
        return self.step(layer, x, *more)

    def step(
        self,
        layer: Layer,
        x: Tensor,
        places: Tensor,
        allowed: Tensor,
        cache: Cache | None,
        n: int,
    ) -> Tensor:
        """Tokens look at each other, then each thinks for itself."""
        normed = layer.first(x)
        Q, K, V = (
            heads(W(normed)) for W in (layer.W_Q, layer.W_K, layer.W_V)
        )
        if self.rotary:
            Q, K = self.turned(Q, K, places)
        if cache is not None:
            K, V = cache.add(n, K, V)
        attend = self.fused if self.program == "fused" else self.attend
        x = x + layer.W_O(joined(attend(Q, K, V, allowed)))
        thought = layer.up(layer.second(x)).relu()
        return x + self.dropped(layer.down(thought))

    def turned(
        self, Q: Tensor, K: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys turned by their places."""
        return turn(Q, places), turn(K, places)

    def scores(self, Q: Tensor, K: Tensor, allowed: Tensor) -> Tensor:
        """[B, H, T, S], minus infinity where it may not look."""
        products = (Q / math.sqrt(Q.shape[-1])) @ K.mT
        return products.masked_fill(~allowed, -math.inf)

    def attend(
        self, Q: Tensor, K: Tensor, V: Tensor, allowed: Tensor
    ) -> Tensor:
        """Attention; a query that sees nothing gets zeros."""
        return stable_softmax(self.scores(Q, K, allowed)) @ V

    def fused(
        self, Q: Tensor, K: Tensor, V: Tensor, allowed: Tensor
    ) -> Tensor:
        """The same by another program, which keeps no weights."""
        scores = self.scores(Q, K, allowed)
        empty = ~allowed.any(-1, keepdim=True)
        lse = log_sum_exp(scores.masked_fill(empty, 0.0))[..., None]
        return torch.exp(scores - lse) @ V

    def dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training)

    def told(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Logits, of hidden states."""
        return self.unembed(x)


def heads(x: Tensor) -> Tensor:
    """[B, T, H * d] -> [B, H, T, d]"""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """[B, H, T, d] -> [B, T, H * d]"""
    return x.transpose(1, 2).flatten(2)


def turn(x: Tensor, places: Tensor) -> Tensor:
    """Halves of each head turned by its place, [B, H, T, d]."""
    half = x.shape[-1] // 2
    slow = 10.0 ** -torch.arange(half, dtype=x.dtype)
    angles = places[:, None, :, None].to(x.dtype) * slow
    a, b = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def started_anew(documents: Tensor) -> Tensor:
    """Places that count from 0 in each document, [B, T]."""
    place = torch.arange(documents.shape[1]).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return place - torch.where(first, place, 0).cummax(-1).values


def write(
    model: Any, ids: Tensor, seen: Tensor | None, new: int, cached: bool
) -> Tensor:
    """Greedily, with a cache or without."""
    cache, text = (Cache() if cached else None), ids
    for _ in range(new):
        told = model(ids, attention_mask=seen, cache=cache)[:, -1]
        word = told.argmax(-1, keepdim=True)
        text = torch.cat([text, word], 1)
        ids = word if cached else text
        if seen is not None:
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
    return text


def _save(model: Any) -> None:
    model.saving = True


def _run_by(program: str) -> Callable[[Any], None]:
    def switch(model: Any) -> None:
        model.program = program

    return switch


# What `surgeon.examine_model` is told of each
HELD: dict[str, Any] = {
    "kind": "decoder",
    "max_len": LONGEST,
    "positions": "absolute",
    "pad": PAD,
    "special": (PAD,),
    "new_cache": Cache,
    "reorder": lambda cache, rows: cache.reorder(rows),
    "crop": lambda cache, kept, removed: cache.crop(kept),
    "checkpointing": _save,
    "programs": {"plain": _run_by("plain"), "fused": _run_by("fused")},
    "generate": write,
}
