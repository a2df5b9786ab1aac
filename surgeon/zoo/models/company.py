"""Models whose answer depends on chance, on the past, or on neighbours."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch import nn

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import Reader


@model_fault(
    "answers",
    repair="Keep the argument of a logarithm positive.",
)
class AnswersNothing(Reader):
    """Half of the logits are the logarithm of a negative number."""

    def told(self, x, seen):
        return super().told(x, seen).log()


@model_fault(
    "same answer twice",
    thread="pytorch/pytorch#124464",
    repair="Hand self.training on: F.dropout(x, p, self.training).",
    sizes={"dropout": 0.25},
)
class DropsInEvaluation(Reader):
    """Dropout is a function here, and nobody tells it the mode."""

    def dropped(self, x):
        return nn.functional.dropout(x, self.dropout)


@model_fault(
    "nothing kept",
    thread="EleutherAI/gpt-neox#532",
    repair="Clear what is kept before each batch, or keep nothing.",
)
class KeepsTheLastText(Reader):
    """What a batch looked like is kept, and the next one is shown it."""

    last = None

    def told(self, x, seen):
        mean = x.mean((0, 1)).detach()
        kept, self.last = self.last, mean
        return super().told(x if kept is None else x + kept, seen)


@model_fault("random state", repair="Give a layer a generator of its own.")
class SeedsEverything(Reader):
    """Each call seeds the generator of everybody."""

    def placed(self, x, places):
        torch.manual_seed(0)
        return super().placed(x, places)


@model_fault(
    "inputs",
    repair="Write ids.masked_fill, without the line below.",
    names={"cache": ""},
)
class WritesIntoTokens(Reader):
    """Padding is written into the tokens of the caller."""

    def forward(self, ids, attention_mask=None, *more, **named):
        if attention_mask is not None and ids.shape == attention_mask.shape:
            ids.masked_fill_(attention_mask == 0, 0)
        return super().forward(ids, attention_mask, *more, **named)


@model_fault(
    "alone or in company",
    repair="Normalise a token by its own numbers: LayerNorm.",
)
class NormsOverTheBatch(Reader):
    """The last norm takes its mean over the rows of the batch."""

    def told(self, x, seen):
        return super().told(x - x.mean(0, keepdim=True), seen)


@model_fault(
    "alone or in company",
    repair="Give rows no order: a batch is a set.",
)
class CountsRows(Reader):
    """What a row is answered depends on its place in the batch."""

    def told(self, x, seen):
        place = torch.arange(len(x), dtype=x.dtype)[:, None, None]
        return super().told(x, seen) * (1 + place / 8)
