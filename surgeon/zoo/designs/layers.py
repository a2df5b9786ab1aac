"""Layers with a switch, and what another switch does to it."""

# Pages show these layers, which take what they need alone.
# mypy: allow-untyped-defs, check-untyped-defs
# mypy: disable-error-code=override

import torch
from torch import nn

from surgeon.zoo.designs.design import ahead, scored, sound, weighed, wrong
from surgeon.zoo.fault import Layer


def switched(layer, x, near):
    """A layer's heads, seeing what is near: output and weights."""
    Q, K, V = (
        layer.split(project(x), layer.num_heads)
        for project in (layer.W_Q, layer.W_K, layer.W_V)
    )
    weights = layer.drop(weighed(scored(Q, K), near(Q, K)))
    return layer.W_O(layer.merge(weights @ V)), weights


class Padded(Layer):
    """Heads, and a mask that is True for real tokens."""

    def __init__(self):
        super().__init__(28, 4)

    def shown(self, key_mask):
        """[B, S] -> [B, H, 1, S]"""
        return key_mask[:, None, None].expand(-1, self.num_heads, -1, -1)

    def forward(self, x, key_mask=None):
        near = None if key_mask is None else self.shown(key_mask)
        return switched(self, x, lambda Q, K: near)[0]


sound(padding="key_mask")(Padded)


@wrong(
    Padded,
    "padding on keys",
    thread="line/lighthouse#77",
    repair="repeat_interleave: the heads of a sequence are neighbours.",
)
class PaddingOfAnother(Padded):
    """Masks are tiled over heads, and heads obey another sequence's."""

    def shown(self, key_mask):
        tiled = key_mask.repeat(self.num_heads, 1)
        return tiled.view(len(key_mask), self.num_heads, 1, -1)


class PaddedCausal(Padded):
    """The same, and causal by itself."""

    def near(self, Q, K, key_mask):
        """Neither later nor padding."""
        past = ahead(Q, K) <= 0
        return past if key_mask is None else past & self.shown(key_mask)

    def forward(self, x, key_mask=None):
        return switched(self, x, lambda Q, K: self.near(Q, K, key_mask))[0]


sound(causal=True, padding="key_mask")(PaddedCausal)


@wrong(
    PaddedCausal,
    "future, evaluating",
    thread="huggingface/transformers#41966",
    repair="Both rules at once.",
)
class CausalUnlessPadded(PaddedCausal):
    """Told of padding, the layer forgets that it is causal."""

    def near(self, Q, K, key_mask):
        if key_mask is None:
            return super().near(Q, K, key_mask)
        return self.shown(key_mask)


class TwoRoads(Layer):
    """Heads with dropout, a causal switch, and weights if wanted."""

    def __init__(self):
        super().__init__(28, 4, dropout=0.25)

    def slow(self, weights):
        """Whether the fast road cannot be taken."""
        return weights or (self.training and self.dropout > 0)

    def near(self, Q, K, causal, weights):
        """What may be seen."""
        return ahead(Q, K) <= 0 if causal else None

    def forward(self, x, causal=False, weights=False):
        output, shares = switched(
            self, x, lambda Q, K: self.near(Q, K, causal, weights)
        )
        return (output, shares) if weights else output


sound(causal="causal")(TwoRoads)


@wrong(
    TwoRoads,
    "future, training",
    thread="keras-team/keras#23038",
    repair="Causal on both roads.",
)
class SlowRoadOpen(TwoRoads):
    """The fast road is causal; dropout or weights take the other, open."""

    def near(self, Q, K, causal, weights):
        return super().near(Q, K, causal and not self.slow(weights), weights)


class Dropping(Layer):
    """Heads with dropout."""

    def __init__(self):
        super().__init__(28, 4, dropout=0.25)


sound()(Dropping)


class Scaled(torch.autograd.Function):
    """Dropout that divides on the way forward, and multiplies backward."""

    @staticmethod
    def forward(ctx, weights, chance):
        kept = torch.rand_like(weights) >= chance
        ctx.save_for_backward(kept)
        ctx.chance = chance
        return weights * kept / (1 - chance)

    @staticmethod
    def backward(ctx, *gradient):
        (kept,) = ctx.saved_tensors
        return gradient[0] * kept * ctx.chance, None


@wrong(
    Dropping,
    "gradients",
    thread="NVIDIA/apex#816",
    repair="The same factor both ways.",
)
class BackwardUnlikeForward(Dropping):
    """Dropout divides by 1 - p forward, and multiplies by p backward."""

    def drop(self, weights):
        if not self.training:
            return weights
        return Scaled.apply(weights, self.dropout)


class Keeping(Layer):
    """Causal heads that keep a mask for each length."""

    def __init__(self):
        super().__init__(28, 4)
        self.kept = {}

    def number(self, T):
        """What a mask is kept under."""
        return T

    def mask(self, T):
        """[T, T], made once."""
        if self.number(T) not in self.kept:
            past = torch.ones(T, T, dtype=torch.bool).tril()
            self.kept[self.number(T)] = past
        return self.kept[self.number(T)]

    def forward(self, x):
        T = x.shape[1]
        near, kept = torch.ones(T, T, dtype=torch.bool), self.mask(T)[:T, :T]
        near[: len(kept), : len(kept)] = kept
        return switched(self, x, lambda Q, K: near)[0]


sound(causal=True)(Keeping)


@wrong(
    Keeping,
    "same answer twice",
    thread="facebookresearch/xformers#66",
    repair="A mask for each length.",
)
class FirstMaskKept(Keeping):
    """The first text's mask is kept, and a longer text outgrows it."""

    def number(self, T):
        return 0


class Relative(Layer):
    """Heads whose queries are compared with distances, too."""

    def __init__(self):
        super().__init__(28, 4)
        self.reach = 600  # tokens, to each side
        self.places = nn.Parameter(torch.randn(2 * self.reach + 1, 7) / 2)

    def far(self, Q, K):
        """[B, H, T, S]: each query against each distance."""
        by_distance = self.places[self.reach + ahead(Q, K)]
        return (Q[..., None, :] * by_distance).sum(-1)

    def forward(self, x):
        Q, K, V = (
            self.split(project(x), self.num_heads)
            for project in (self.W_Q, self.W_K, self.W_V)
        )
        root = Q.shape[-1] ** 0.5
        weights = weighed(scored(Q, K) + self.far(Q, K) / root)
        return self.W_O(self.merge(weights @ V))


sound()(Relative)


@wrong(
    Relative,
    "known form",
    thread="espnet/espnet#2684",
    repair="A table of distances to both sides.",
)
class ShiftOfADecoder(Relative):
    """Rows are shifted by padding, right for a text that sees no future."""

    def far(self, Q, K):
        T = Q.shape[-2]
        behind = self.places[self.reach - T + 1 : self.reach + 1]
        rows = Q @ behind.mT
        rows = torch.cat([torch.zeros_like(rows[..., :1]), rows], -1)
        return rows.reshape(*rows.shape[:2], T + 1, T)[:, :, 1:]
