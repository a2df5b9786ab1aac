"""Models that mix documents, or misplace their words."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import LONGEST, Reader, turn

ROTARY = {"rotary": True}


@model_fault(
    "documents apart",
    thread="huggingface/nanoVLM#204",
    repair="Hide others: documents[:, :, None] == documents[:, None].",
)
class DocumentsByPlacesAlone(Reader):
    """Positions start anew in each document, and all documents are read."""

    def allowed(self, T, S, seen, documents):
        return super().allowed(T, S, seen, None)


@model_fault(
    "documents apart",
    thread="huggingface/nanoVLM#201",
    repair="Count positions anew in each document.",
    names={"positions": ""},
)
class DocumentsCountOn(Reader):
    """No document reads another, and positions count through the row."""

    def places(self, B, T, past, seen, documents):
        return super().places(B, T, past, seen, None)


class TakesBlocks(Reader):
    """Its mask may also say who may see whom: booleans [B, 1, T, T]."""

    def places(self, B, T, past, seen, documents):
        blocks = seen is not None and seen.ndim == 4
        seen = None if blocks else seen
        return super().places(B, T, past, seen, documents)

    def allowed(self, T, S, seen, documents):
        if seen is None or seen.ndim == 2:
            return super().allowed(T, S, seen, documents)
        return seen & super().allowed(T, S, None, documents)


@model_fault(
    "documents apart",
    thread="vllm-project/speculators#691",
    repair="Write scores.masked_fill(~mask, -inf), or hand in a float.",
    twin=TakesBlocks,
    names={"documents": ""},
)
class BlocksAreAdded(TakesBlocks):
    """A mask of booleans is added to the scores: True is 1, False is 0."""

    def allowed(self, T, S, seen, documents):
        if seen is None or seen.ndim == 2:
            return super().allowed(T, S, seen, documents)
        causal = super().allowed(T, S, None, documents)
        return seen.double().masked_fill(~causal, -torch.inf)

    def scores(self, Q, K, allowed):
        if allowed.dtype == torch.bool:
            return super().scores(Q, K, allowed)
        everything = torch.ones_like(allowed, dtype=torch.bool)
        return super().scores(Q, K, everything) + allowed


@model_fault(
    "moving along",
    repair="Turn keys by their places as queries are.",
    sizes=ROTARY,
    positions="relative",
)
class TurnsQueriesAlone(Reader):
    """Queries are turned by their places, and keys are not."""

    def turned(self, Q, K, places):
        return turn(Q, places), K


@model_fault(
    "beyond the table",
    repair="Raise an error where a text is longer than the table.",
    weight="hazard",
)
class WrapsItsPlaces(Reader):
    """Behind the last position comes the first one again."""

    def placed(self, x, places):
        return super().placed(x, places % LONGEST)
