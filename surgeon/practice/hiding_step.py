"""Mask: the step that hides scores."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.softmax import stable_softmax
from surgeon.practice.inside import with_steps
from surgeon.practice.step import (
    Asked,
    Mistake,
    Question,
    Step,
    as_it_is,
    normal,
)

MASK = "anatomy/masking"
LOWEST = -1e30  # what no score falls below is as good as minus infinity


def some_mask(
    generator: torch.Generator, *shape: int, share: float = 0.5
) -> Tensor:
    """Booleans of which each row has a True at least."""
    mask = torch.rand(*shape, generator=generator) < share
    first = torch.randint(shape[-1], (*shape[:-1], 1), generator=generator)
    return mask.scatter(-1, first, True)


def ask_mask(generator: torch.Generator) -> list[Question]:
    def hidden(may_look: Tensor, *shape: int, **how: Any) -> Question:
        return Question((normal(generator, *shape, **how), may_look))

    lower = torch.ones(5, 5, dtype=torch.bool).tril()
    return [
        hidden(lower[:3, :3], 3, 3),
        hidden(lower, 2, 5, 5),
        hidden(some_mask(generator, 5, 5), 5, 5),
        hidden(some_mask(generator, 5, 7), 2, 5, 7),
        hidden(some_mask(generator, 2, 1, 5, 7), 2, 3, 5, 7),
        hidden(some_mask(generator, 5, 3), 2, 5, 3, dtype=torch.float32),
    ]


def read_masked(value: Any, question: Question) -> Tensor:
    """Scores, where the lowest number of a precision counts as -inf."""
    scores: Tensor = as_it_is(value, question)
    if not scores.is_floating_point():
        return scores
    return scores.masked_fill(scores < LOWEST, -math.inf)


def filler(asked: list[Asked]) -> float | None:
    """The finite number that hidden scores became, or that was added."""
    for each in asked:
        scores, may = each.question.args
        given = each.given
        if not isinstance(given, Tensor) or given.shape != scores.shape:
            return None
        hidden = ~may.expand(scores.shape)
        shown = torch.isclose(given, scores, rtol=1e-6, atol=1e-6) | hidden
        for put in (given[hidden], (given - scores)[hidden]):
            if shown.all() and put.isfinite().all() and put.std() < 1e-3:
                return float(put.mean())
    return None


MASKING = Step(
    "mask",
    "gives the scores, -inf where may_look is False",
    "What may be seen keeps its score, and the rest has no chance.",
    MASK,
    lambda scores, may_look: scores.masked_fill(~may_look, -math.inf),
    ask_mask,
    {
        "inverted": Mistake(
            "What may be seen is hidden, and what may not is seen.",
            "masked_fill fills where its argument is True. What is True"
            " here?",
            MASK,
            lambda scores, may: scores.masked_fill(may, -math.inf),
        ),
        "zero for minus infinity": Mistake(
            "Hidden scores become 0.",
            "What is e to the power of 0?",
            "checks/minus-infinity",
            lambda scores, may: scores * may,
        ),
        "ones added": Mistake(
            "The booleans are added to the scores, as ones and zeros, and"
            " hide nothing.",
            "What must be added to a score so that its share is 0?",
            MASK,
            lambda scores, may: scores + may,
        ),
        "zero times infinity": Mistake(
            "Where nothing is to be hidden, the answer is NaN: 0 was"
            " multiplied by infinity.",
            "What is 0 · ∞? Choose between two numbers, do not multiply.",
            "checks/minus-infinity",
            lambda scores, may: scores + (~may).to(scores.dtype) * -math.inf,
        ),
        "a finite number": Mistake(
            "Hidden scores become a finite number, which outbids any lower"
            " score.",
            "Is there a number that no score falls below?",
            "checks/minus-infinity",
        ),
        "almost zero": Mistake(
            "Hidden scores become a number near 0, which is as good as 0.",
            "Look at the exponent again: large, or small?",
            "checks/minus-infinity",
        ),
        "after the softmax": Mistake(
            "A softmax over all keys has run before anything was hidden, and"
            " what is left does not sum to one.",
            "Among whom should the whole be shared out?",
            MASK,
            lambda scores, may: stable_softmax(scores) * may,
        ),
        "shares already": Mistake(
            "These are shares, and right ones: the softmax is the next step.",
            "What does this step do, and no more?",
            "anatomy/softmax",
            lambda scores, may: stable_softmax(
                scores.masked_fill(~may, -math.inf)
            ),
        ),
        "ignored": Mistake(
            "The scores come back as they went in, and the mask counts for"
            " nothing.",
            "masked_fill makes a new tensor. Where does yours go?",
            "ablations/no-mask",
            lambda scores, may: scores,
        ),
        "transposed": Mistake(
            "The mask is laid on with queries and keys swapped.",
            "Does a row belong to a query, or a column?",
            MASK,
            lambda scores, may: scores.masked_fill(~may.mT, -math.inf),
        ),
        "always causal": Mistake(
            "The future is hidden, whatever mask comes.",
            "Where does may_look enter?",
            MASK,
            lambda scores, may: scores.masked_fill(
                torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf
            ),
        ),
        "plus infinity": Mistake(
            "Hidden scores become plus infinity, and take everything.",
            "Which score has the share 0?",
            "checks/minus-infinity",
            lambda scores, may: scores.masked_fill(~may, math.inf),
        ),
    },
    [(as_additive, ("1", "2")), (attend, "3")],
    read=read_masked,
    laws={
        "a finite number": lambda asked: (filler(asked) or 0.0) < -20,
        "almost zero": lambda asked: -20 <= (filler(asked) or 0.0) < 0,
    },
    inside=lambda yours: with_steps(mask=yours),
)
