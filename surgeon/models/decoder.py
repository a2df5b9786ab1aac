"""The anatomy of a language model of Llama's kind, wired by hand.

Numbers of tokens go in and scores of the next one come out;
`surgeon.models.language_model` has the texts and the trained numbers.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.mask_reading import block
from surgeon.anatomy.positions import Positions, Rotary
from surgeon.anatomy.score_bounds import rms_norm
from surgeon.models.cut_attention import attend, open_heads, turn
from surgeon.models.cuts import Cut, check_cuts


class Sizes(NamedTuple):
    """How large a model is, and what else it was trained with."""

    vocabulary: int  #: tokens that it knows
    layers: int
    heads: int  #: query heads in a layer, `H`
    key_heads: int  #: heads of keys and values, `H_kv`, which divide them
    d_k: int  #: width of a head
    width: int  #: of the tokens, `D`
    inner: int  #: of the network in each layer
    base: float  #: of the rotation
    epsilon: float  #: added to the mean squares of the norms
    limit: int  #: tokens of the longest text that it was made for


class Step(NamedTuple):
    """What one layer leaves behind."""

    x: Tensor  #: tokens after it, [B, T, D]
    #: products of the turned queries and keys, times the scale of the cuts,
    #: but not yet scaled or masked, [B, H, T, S]
    scores: Tensor
    weights: Tensor  #: attention weights, [B, H, T, S]
    values: Tensor  #: value vectors, before any cut, [B, H_kv, S, d_k]


class RMSNorm(nn.Module):
    """Each token over its root mean square, times learned weights [D]."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [..., D], normalised."""
        return rms_norm(x, self.weight, epsilon=self.epsilon)


class DecoderLayer(nn.Module):
    """A pre-norm block: attention, then a gated network, each added.

    Tokens look at those before them, then each thinks for itself.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        H, H_kv, d, D = sizes.heads, sizes.key_heads, sizes.d_k, sizes.width
        self.heads, self.key_heads = H, H_kv
        self.norm_1 = RMSNorm(D, sizes.epsilon)
        self.W_Q = nn.Linear(D, H * d, bias=False)
        self.W_K = nn.Linear(D, H_kv * d, bias=False)
        self.W_V = nn.Linear(D, H_kv * d, bias=False)
        self.W_O = nn.Linear(H * d, D, bias=False)
        self.norm_2 = RMSNorm(D, sizes.epsilon)
        self.gate = nn.Linear(D, sizes.inner, bias=False)
        self.up = nn.Linear(D, sizes.inner, bias=False)
        self.down = nn.Linear(sizes.inner, D, bias=False)

    def forward(
        self,
        x: Tensor,
        positions: Positions,
        cuts: Sequence[Cut],
        cache: KeyValueCache | None = None,
    ) -> Step:
        """Tokens after the layer, and what its heads did.

        Parameters
        ----------
        x : Tensor
            Tokens [B, T, D].
        positions : Positions
            How queries and keys are told where they stand.
        cuts : sequence of Cut
            The cuts in this layer.
        cache : KeyValueCache, optional
            This layer's own: the tokens of `x` follow those that it holds.
            Its keys are kept before they are turned.

        Returns
        -------
        Step
            x, scores, weights, values, for T queries and all S keys.
        """
        # 1. Queries, and keys and values that neighbouring heads share.
        z = self.norm_1(x)
        Q = split_heads(self.W_Q(z), self.heads)  # [B, H, T, d]
        K = split_heads(self.W_K(z), self.key_heads)  # [B, H_kv, T, d]
        V = values = split_heads(self.W_V(z), self.key_heads)
        if cache is not None:
            K, V = cache.append(K, V)
            values = V  # [B, H_kv, S, d]
        K, V = (shared(x, self.heads) for x in (K, V))  # [B, H, S, d]
        # 2. Told where they stand, and who may look at whom.
        Q, K, bias = turn(Q, K, positions, cuts)
        future = hidden_future(Q, K, open_heads(cuts, self.heads))
        # 3. Each head attends alone; their outputs are mixed, and added.
        real = torch.ones_like(K[:, 0, :, :1], dtype=torch.bool).mT
        looked, scores, weights = attend(Q, K, V, real, cuts, bias + future)
        x = x + self.W_O(merge_heads(looked))
        # 4. A network in which one half says how much passes of the other.
        z = self.norm_2(x)
        x = x + self.down(silu(self.gate(z)) * self.up(z))
        return Step(x, scores, weights, values)


class Decoder(nn.Module):
    """Pre-norm layers over words, whose places are turned into the heads.

    Parameters
    ----------
    sizes : Sizes
        How large it is.

    Notes
    -----
    The rotation pairs halves, as Hugging Face's files do. Source:
    touvron2023, su2021, zhang2019, shazeer2020 (book/references.bib).
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.word = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = Rotary(base=sizes.base)
        self.layers = nn.ModuleList(
            DecoderLayer(sizes) for _ in range(sizes.layers)
        )
        self.norm = RMSNorm(sizes.width, sizes.epsilon)
        self.unembed = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def embed(self, ids: Tensor) -> Tensor:
        """What the first layer reads of tokens, int64 [B, T]: [B, T, D]."""
        return self.word(ids.to(self.word.weight.device))

    def walk(
        self,
        x: Tensor,
        cuts: Sequence[Cut] = (),
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Iterator[Step]:
        """Run tokens through the layers, one by one; nothing is kept.

        Parameters
        ----------
        x : Tensor
            [B, T, D], as `embed` gives them.
        cuts : sequence of Cut
            What to change in the attention.
        caches : sequence of KeyValueCache, optional
            One a layer: the tokens follow those that they hold.

        Yields
        ------
        Step
            What each layer leaves behind.

        Raises
        ------
        ValueError
            If these are no cuts of such a model, if a cut's mask or weights
            do not fit, if there are not as many caches as layers, or if a cut
            with ``causal=False`` comes with caches: what they hold was
            computed without the tokens to come.
        """
        L = self.sizes.layers
        check_cuts(cuts, L, self.sizes.heads, ordered=True)
        if caches is not None and len(caches) != L:
            raise ValueError(
                f"caches must be one for each of {L} layers, got"
                f" {len(caches)}."
            )
        if caches is not None and not all(cut.causal for cut in cuts):
            raise ValueError(
                "cuts must keep causal where tokens follow a cache, whose"
                " tokens did not see them, got one with causal=False."
            )
        for n, layer in enumerate(self.layers):
            here = [cut for cut in cuts if n in cut.layers_of(L)]
            cache = None if caches is None else caches[n]
            step = layer(x, self.positions, here, cache)
            x = step.x
            yield step

    def forward(
        self,
        ids: Tensor,
        cuts: Sequence[Cut] = (),
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """Scores for the token after each, [B, T, vocabulary].

        `ids` are int64 [B, T]; all else is as `walk` takes and raises it.
        """
        return self.read(self.through(ids, cuts, caches))

    def through(
        self,
        ids: Tensor,
        cuts: Sequence[Cut] = (),
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """Tokens after the last layer, [B, T, D]; asked as `forward`."""
        x = self.embed(ids)
        for step in self.walk(x, cuts, caches):
            x = step.x
        return x

    def read(self, x: Tensor) -> Tensor:
        """Scores that tokens after the last layer give to the next ones.

        [..., D] to [..., vocabulary].
        """
        return self.unembed(self.norm(x))


def shared(x: Tensor, H: int) -> Tensor:
    """Keys or values for each of `H` query heads: neighbours share them.

    [B, H_kv, S, d] to [B, H, S, d].
    """
    return x.repeat_interleave(H // x.shape[1], dim=1)


def hidden_future(Q: Tensor, K: Tensor, without: Sequence[int]) -> Tensor:
    """The causal mask, to be added: [1, T, S], or [H, T, S] if some lack it.

    The last query stands beside the last key.
    """
    T, S = Q.shape[2], K.shape[2]
    seen = torch.ones(1, T, S, dtype=torch.bool, device=Q.device).tril(S - T)
    if without:
        seen = seen.repeat(Q.shape[1], 1, 1)
        seen[list(without)] = True
    return block(~seen, Q.dtype)
