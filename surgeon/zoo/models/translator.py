"""A small encoder with a decoder, and what goes wrong between them."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

from typing import Any

from torch import nn

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import (
    WIDTH,
    WORDS,
    Layer,
    Reader,
    heads,
    joined,
)

HELD: dict[str, Any] = {
    "kind": "encoder-decoder",
    "names": {"source": "source", "source_mask": "source_mask"},
    "new_cache": None,
    "reorder": None,
    "crop": None,
    "checkpointing": None,
    "programs": None,
    "generate": None,
}


class Translator(nn.Module):
    """A reader of the source, and a writer that looks at it once."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Reader(causal=False), Reader()
        self.cross, self.unembed = Layer(), nn.Linear(WIDTH, WORDS)

    def forward(self, ids, source, source_mask=None):
        """[B, T] and [B, S] to logits [B, T, V]."""
        seen = None if source_mask is None else source_mask.bool()
        memory = self.states(self.encoder, source, seen)
        x = self.states(self.decoder, ids, None)
        x = x + self.looked(self.cross.first(x), memory, seen)
        return self.unembed(x)

    def states(self, reader, ids, seen):
        """What a reader makes of its tokens, before its logits."""
        T = ids.shape[1]
        places = reader.places(len(ids), T, 0, seen, None)
        x = reader.placed(reader.word(ids), places)
        allowed = reader.allowed(T, T, seen, None)
        for n, layer in enumerate(reader.layers):
            x = reader.step(layer, x, places, allowed, None, n)
        return reader.norm(x)

    def looked(self, x, memory, seen):
        """The decoder's tokens look at the source."""
        W = self.cross
        Q, K, V = heads(W.W_Q(x)), heads(W.W_K(memory)), heads(W.W_V(memory))
        allowed = self.source_in_sight(Q, K, seen)
        return W.W_O(joined(self.decoder.attend(Q, K, V, allowed)))

    def source_in_sight(self, Q, K, seen):
        """Booleans [B or 1, 1, 1, S]."""
        everything = K.new_ones(1, 1, 1, K.shape[2]).bool()
        return everything if seen is None else seen[:, None, None]


@model_fault(
    "source padding",
    thread="MaximumEntropy/Seq2Seq-PyTorch#6",
    repair="Hand the source's mask to each cross-attention.",
    twin=Translator,
    **HELD,
)
class SourceMaskForgotten(Translator):
    """The encoder hides the padding of the source, the decoder reads it."""

    def source_in_sight(self, Q, K, seen):
        return super().source_in_sight(Q, K, None)


@model_fault(
    "source read whole",
    repair="Let the decoder look at all of the source, whatever its place.",
    twin=Translator,
    **HELD,
)
class SourceReadByHalves(Translator):
    """The causal mask is laid on the source, too."""

    def source_in_sight(self, Q, K, seen):
        T, S = Q.shape[2], K.shape[2]
        causal = K.new_ones(1, 1, T, S).bool().tril()
        return super().source_in_sight(Q, K, seen) & causal

    def states(self, reader, ids, seen):
        if reader is not self.encoder:
            return super().states(reader, ids, seen)
        return reader.norm(reader.word(ids))
