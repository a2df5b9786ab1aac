"""Queries and keys brought to one length, and what else was brought."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch import nn

from surgeon.zoo.designs.design import scored, sound, weighed, wrong


def unit(x, axis=-1):
    """Of length one."""
    return x / x.norm(dim=axis, keepdim=True)


def rms(x, axis=-1):
    """Of root mean square one."""
    square = x.square().mean(axis, keepdim=True)
    return x * (square + 1e-12).rsqrt()


@sound(qk_norm="l2", scale=10.0)
def cosine(Q, K, V, mask=None):
    """Cosines times ten for scores."""
    return weighed(10 * unit(Q) @ unit(K).mT, mask) @ V


@sound(qk_norm="rms")
def normed(Q, K, V, mask=None):
    """Queries and keys of root mean square one."""
    return weighed(scored(rms(Q), rms(K)), mask) @ V


def weights(x):
    """Weights of a norm, as training might leave them."""
    return torch.linspace(0.5, 1.5, x.shape[-1], dtype=x.dtype)


def with_weights(x, which):
    """What is declared of the next."""
    return rms(x) * (weights(x) if which == "Q" else weights(x).flip(0))


@sound(qk_norm=with_weights)
def normed_with_weights(Q, K, V, mask=None):
    """The same with weights for the norms, those of queries and keys."""
    Q, K = with_weights(Q, "Q"), with_weights(K, "K")
    return weighed(scored(Q, K), mask) @ V


@wrong(
    cosine,
    "norm of queries and keys",
    repair="The norm of each vector: dim=-1.",
)
def norm_along_tokens(Q, K, V, mask=None):
    """The norm is taken along the tokens, and not along each vector."""
    return weighed(10 * unit(Q, -2) @ unit(K, -2).mT, mask) @ V


@wrong(
    cosine,
    "norm of queries and keys",
    thread="ChristophReich1996/Swin-Transformer-V2#1",
    repair="Each key's own norm: [..., 1, S].",
)
def norm_of_the_same_row(Q, K, V, mask=None):
    """A score is divided by the norm of the key beside its query."""
    both = Q.norm(dim=-1) * K.norm(dim=-1)[..., : Q.shape[-2]]
    return weighed(10 * Q @ K.mT / both[..., None], mask) @ V


@wrong(
    normed,
    "norm of queries and keys",
    thread="bkitano/llama-from-scratch#4",
    repair="Each token's own root mean square: dim=-1.",
)
def norm_of_the_sequence(Q, K, V, mask=None):
    """One root mean square for all tokens of a sequence."""
    Q, K = rms(Q, (-2, -1)), rms(K, (-2, -1))
    return weighed(scored(Q, K), mask) @ V


@wrong(
    normed,
    "norm of queries and keys",
    thread="Cerebras/modelzoo#85",
    repair="Call the norms before the scores are made.",
)
def norms_uncalled(Q, K, V, mask=None):
    """The norms are made and never called."""
    return weighed(scored(Q, K), mask) @ V


@wrong(
    normed,
    "norm of queries and keys",
    repair="Queries and keys, both.",
)
def queries_alone_normed(Q, K, V, mask=None):
    """Keys keep their lengths."""
    return weighed(scored(rms(Q), K), mask) @ V


@wrong(
    normed_with_weights,
    "norm of queries and keys",
    thread="lucidrains/x-transformers#352",
    repair="Multiply by the weights.",
)
def weights_of_the_norm_left(Q, K, V, mask=None):
    """The norms' weights are made and never multiplied by."""
    return weighed(scored(rms(Q), rms(K)), mask) @ V


@wrong(
    cosine,
    "scale",
    thread="lucidrains/x-transformers#190",
    repair="Multiply by the scale, on every road.",
)
def divided_by_ten(Q, K, V, mask=None):
    """One road divides by the scale that the other multiplies by."""
    return weighed(unit(Q) @ unit(K).mT / 10, mask) @ V


@wrong(
    normed,
    "norm of queries and keys",
    thread="kyegomez/MegaVIT#17",
    repair="Queries and keys, not keys and values.",
)
def values_normed(Q, K, V, mask=None):
    """Keys and values are normed, and queries are not."""
    return weighed(scored(Q, rms(K)), mask) @ rms(V)


class NormedHeads(nn.Module):
    """Heads whose queries and keys are normed, each on its own."""

    def __init__(self, d_model=28, num_heads=4):
        super().__init__()
        self.num_heads = num_heads
        shape = d_model, d_model
        self.q_proj, self.k_proj = (
            nn.Linear(*shape, bias=False) for _ in range(2)
        )
        self.v_proj, self.o_proj = (
            nn.Linear(*shape, bias=False) for _ in range(2)
        )

    def split(self, x):
        """[B, T, d_model] -> [B, H, T, d]"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def norm(self, x):
        """[B, T, d_model] -> [B, H, T, d], normed."""
        return rms(self.split(x))

    def forward(self, x, mask=None):
        Q, K = self.norm(self.q_proj(x)), self.norm(self.k_proj(x))
        if mask is not None and mask.ndim == 3:
            mask = mask[:, None]
        output = weighed(scored(Q, K), mask) @ self.split(self.v_proj(x))
        return self.o_proj(output.transpose(1, 2).flatten(-2))


sound(qk_norm="rms")(NormedHeads)


@wrong(
    NormedHeads,
    "norm of queries and keys",
    thread="vllm-project/vllm#16311",
    repair="Split into heads, then norm.",
)
class NormOfAllHeads(NormedHeads):
    """One root mean square for all heads of a token."""

    def norm(self, x):
        return self.split(rms(x))


@wrong(
    cosine,
    "scale",
    repair="No root of the width beside a scale of its own.",
)
def root_besides(Q, K, V, mask=None):
    """The scale stands beside the root of the width, not in its place."""
    return weighed(10 * scored(unit(Q), unit(K)), mask) @ V
