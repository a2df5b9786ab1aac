"""The trained encoder's scores, and what would have held them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu

from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.score_bounds import rms_norm
from surgeon.models.encoder import HEADS, LAYERS, WIDTH, Layer, pad, pool
from surgeon.models.specimen import Specimen


class Held(NamedTuple):
    """What the encoder made of sentences, and how far its scores went."""

    vectors: Tensor  #: of length one, [N, 384]
    #: each head's largest score, as softmax saw it, over all sentences,
    #: [6, 12]
    largest: Tensor


@torch.no_grad()
def read_held(
    specimen: Specimen,
    sentences: Sequence[str],
    *,
    normalise: bool = False,
    softcap: float | None = None,
    factors: Tensor | None = None,
) -> Held:
    """Read sentences with scores that are held, and nothing trained anew.

    Parameters
    ----------
    specimen : Specimen
        As `surgeon.models.specimen.load` gives it.
    sentences : sequence of str
        `N` sentences, each read without padding.
    normalise : bool
        Whether each head's queries and keys are put over their root mean
        square, without weights, which nobody has learned.
    softcap : float, optional
        A cap of the scores, before padding is hidden.
    factors : Tensor, optional
        What each head's scores are multiplied by, [6, 12], as `clip_heads`
        would.

    Returns
    -------
    Held

    Raises
    ------
    ValueError
        As `Specimen.encode`, or if the cap is not positive and finite.

    Examples
    --------
    >>> from surgeon.models.specimen import load
    >>> held = read_held(load(), ["The surgeon dropped the scalpel."])
    >>> [list(x.shape) for x in held]
    [[1, 384], [6, 12]]
    """
    ids = [ids for ids, _ in specimen.tokenize(sentences)]
    vectors = specimen.word.weight.new_empty(len(ids), WIDTH)
    largest = vectors.new_full((LAYERS, HEADS), -torch.inf)
    for T in {len(one) for one in ids}:
        # Sentences of one length, so that nothing is padded.
        which = [n for n, one in enumerate(ids) if len(one) == T]
        x = specimen.embed(pad([ids[n] for n in which]))  # [B, T, 384]
        for i, layer in enumerate(specimen.layers):
            assert isinstance(layer, Layer)
            Q, K, V = (
                split_heads(linear(x), HEADS)
                for linear in (layer.W_Q, layer.W_K, layer.W_V)
            )
            if normalise:
                Q, K = rms_norm(Q), rms_norm(K)
            if factors is not None:
                Q = Q * factors[i, :, None, None]
            stages = attend(Q, K, V, softcap=softcap)
            top = stages.masked.amax((0, 2, 3))
            largest[i] = torch.maximum(largest[i], top)
            x = layer.norm_1(x + layer.W_O(merge_heads(stages.output)))
            x = layer.norm_2(x + layer.down(gelu(layer.up(x))))
        vectors[which] = pool(x, [T] * len(which))
    return Held(vectors, largest)
