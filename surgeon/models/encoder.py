"""The anatomy of all-MiniLM-L6-v2, whose layers look through our attention.

Numbers of tokens go in and vectors come out; `surgeon.models.specimen` has
the sentences and the trained numbers.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.masks import create_padding_mask
from surgeon.models.cut_attention import attend
from surgeon.models.cuts import Cut, check_cuts

LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536
# rows of the three tables of embeddings
WORDS, POSITIONS, SEGMENTS = 30522, 512, 2


class Layer(nn.Module):
    """A post-norm block: attention, then a network, each sum normalised.

    Tokens look at each other, then each thinks for itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V, self.W_O = (
            nn.Linear(WIDTH, WIDTH) for _ in range(4)
        )
        self.norm_1 = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm_2 = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(
        self, x: Tensor, real: Tensor, cuts: Sequence[Cut]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens after the layer, its scores and its weights.

        Parameters
        ----------
        x : Tensor
            Tokens [B, T, 384].
        real : Tensor
            Booleans [B, 1, T]: which tokens are no padding.
        cuts : sequence of Cut
            The cuts in this layer.

        Returns
        -------
        x, scores, weights : Tensor
            [B, T, 384] and twice [B, 12, T, T].
        """
        Q = split_heads(self.W_Q(x), HEADS)  # [B, 12, T, 32]
        K = split_heads(self.W_K(x), HEADS)
        V = split_heads(self.W_V(x), HEADS)
        looked, scores, weights = attend(Q, K, V, real, cuts)
        x = self.norm_1(x + self.W_O(merge_heads(looked)))
        x = self.norm_2(x + self.down(gelu(self.up(x))))
        return x, scores, weights


class Encoder(nn.Module):
    """Six post-norm layers of twelve heads, over words, places and segments.

    The three tables of embeddings hold no numbers of their own until they
    are given some, as `surgeon.models.specimen.load` does.

    Notes
    -----
    Source: wang2020, devlin2019 (book/references.bib).
    """

    def __init__(self) -> None:
        super().__init__()
        self.word, self.position, self.segment = (
            nn.Embedding.from_pretrained(torch.empty(rows, WIDTH))
            for rows in (WORDS, POSITIONS, SEGMENTS)
        )
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def embed(self, ids: Tensor) -> Tensor:
        """What the first layer reads of tokens: word, place and segment 0.

        Parameters
        ----------
        ids : Tensor
            Numbers of tokens, int64 [B, T].

        Returns
        -------
        Tensor
            [B, T, 384].
        """
        ids = ids.to(self.word.weight.device)
        places = self.position.weight[: ids.shape[-1]]
        return self.norm(self.word(ids) + places + self.segment.weight[0])

    def forward(
        self, x: Tensor, lengths: Sequence[int], cuts: Sequence[Cut] = ()
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run tokens through all layers.

        Parameters
        ----------
        x : Tensor
            [B, T, 384], as `embed` gives them.
        lengths : sequence of int
            How many of each row's tokens are no padding.
        cuts : sequence of Cut
            What to change in the attention.

        Returns
        -------
        hidden : list of Tensor
            `x`, and what each layer makes of it, 7 times [B, T, 384].
        scores, weights : list of Tensor
            As each layer gives them, 6 times [B, 12, T, T]. No weight lies on
            padding.

        Raises
        ------
        ValueError
            If these are no cuts of such a model, or if a cut's mask or
            weights do not fit.
        """
        steps = list(self.walk(x, lengths, cuts))
        hidden, scores, weights = map(list, zip(*steps, strict=True))
        return [x, *hidden], scores, weights

    def walk(
        self, x: Tensor, lengths: Sequence[int], cuts: Sequence[Cut]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `forward`, layer by layer, and nothing is kept.

        Yields
        ------
        x, scores, weights : Tensor
            What `Layer` gives.
        """
        check_cuts(cuts, LAYERS, HEADS)
        real = create_padding_mask(lengths, x.shape[1], device=x.device)
        for n, layer in enumerate(self.layers):
            here = [cut for cut in cuts if n in cut.layers_of(LAYERS)]
            x, scores, weights = layer(x, real, here)
            yield x, scores, weights


def pool(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The mean of each row's real tokens, made a vector of length one.

    Parameters
    ----------
    hidden : Tensor
        [B, T, 384].
    lengths : sequence of int
        How many of each row's tokens are no padding.

    Returns
    -------
    Tensor
        [B, 384].
    """
    mask = create_padding_mask(lengths, hidden.shape[1], device=hidden.device)
    real = mask.mT  # [B, T, 1]
    mean = hidden.masked_fill(~real, 0.0).sum(1) / real.sum(1)
    return mean / mean.norm(dim=-1, keepdim=True)


def pad(ids: Sequence[Sequence[int]]) -> Tensor:
    """Numbers of tokens as one batch, [B, T], filled up with [PAD].

    Examples
    --------
    >>> pad([[101, 102], [101, 8040, 102]])
    tensor([[ 101,  102,    0],
            [ 101, 8040,  102]])
    """
    T = max(map(len, ids))
    rows = [[*row, *[0] * (T - len(row))] for row in ids]  # [PAD] is word 0
    return torch.tensor(rows, device="cpu")
