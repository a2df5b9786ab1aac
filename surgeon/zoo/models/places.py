"""Models that mix documents, or misplace their words."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

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
