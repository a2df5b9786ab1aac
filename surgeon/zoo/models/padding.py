"""Models that count padding, read it, or choke on it."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

from typing import Any

import torch
from torch import Tensor

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import Reader

ENCODER: dict[str, Any] = {
    "kind": "encoder",
    "new_cache": None,
    "generate": None,
}
BOTH_WAYS = {"causal": False}


@model_fault(
    "padding on the right",
    thread="AnswerDotAI/ModernBERT#40",
    repair="Hand the mask on to every layer.",
    sizes=BOTH_WAYS,
    **ENCODER,
)
class ReadsItsPadding(Reader):
    """An encoder that takes a mask, and hides nothing by it."""

    def allowed(self, T, S, seen, documents):
        return super().allowed(T, S, None, documents)


@model_fault(
    "padding on the right",
    repair="Write mask[:, None, None, :]: each row has its own.",
    sizes=BOTH_WAYS,
    **ENCODER,
)
class OneMaskForAll(Reader):
    """The mask of the first row is applied to all of them."""

    def allowed(self, T, S, seen, documents):
        seen = None if seen is None else seen[:1].expand_as(seen)
        return super().allowed(T, S, seen, documents)


@model_fault(
    "padding on the right",
    repair="Divide by mask.sum(), the number of tokens.",
)
class DividesByTheLength(Reader):
    """Logits are divided by the length of the row, padding included."""

    def told(self, x, seen):
        length = x.shape[1] if seen is None else seen.shape[1]
        return super().told(x, seen) / (1 if seen is None else length)


@model_fault(
    "padding on the left",
    thread="ndif-team/nnsight#672",
    repair="Write (mask.cumsum(-1) - 1).clamp(min=0).",
    names={"positions": ""},
)
class CountsPadding(Reader):
    """Positions count from the first place, padding or not."""

    def places(self, B, T, past, seen, documents):
        return super().places(B, T, past, None, documents)


@model_fault(
    "positions from the mask",
    thread="unslothai/unsloth#3699",
    repair="Hand in positions, or count them by the mask.",
    weight="hazard",
    generate=None,
)
class CountsPaddingUnlessTold(Reader):
    """Positions count the padding, unless they are handed in."""

    def places(self, B, T, past, seen, documents):
        return super().places(B, T, past, None, documents)


@model_fault(
    "padding on the left",
    repair="Hide padded keys beside the future.",
)
class MaskForgotten(Reader):
    """A decoder that reads the padding in front of its prompt."""

    def allowed(self, T, S, seen, documents):
        return super().allowed(T, S, None, documents)


def divide_by_the_sum(scores: Tensor, V: Tensor) -> Tensor:
    """Values by the weights of scores: NaN where a row sees nothing."""
    powers = torch.exp(scores - scores.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True) @ V


@model_fault(
    "a row of padding",
    thread="pytorch/pytorch#103749",
    repair="Let a query that sees nothing give zeros.",
    weight="hazard",
    sizes=BOTH_WAYS,
    **ENCODER,
)
class EmptyRowIsNaN(Reader):
    """A row of padding alone gives NaN."""

    def attend(self, Q, K, V, allowed):
        return divide_by_the_sum(self.scores(Q, K, allowed), V)


@model_fault(
    "gradients with padding",
    thread="pytorch/pytorch#41508",
    repair="Mend the scores of empty rows, not what came out of them.",
)
class MendedTooLate(EmptyRowIsNaN):
    """NaN of an empty row is mended in the output, and comes back."""

    def attend(self, Q, K, V, allowed):
        return super().attend(Q, K, V, allowed).nan_to_num(0.0)
