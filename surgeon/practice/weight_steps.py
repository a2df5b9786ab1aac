"""Share and average: the two steps from scores to an output."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.softmax import stable_softmax
from surgeon.practice.asking import alike
from surgeon.practice.hiding_step import some_mask
from surgeon.practice.inside import with_steps
from surgeon.practice.step import Asked, Mistake, Question, Step, normal

SOFTMAX = "anatomy/softmax"
WHOLE = "anatomy/attention"


# 4. Share


def ask_softmax(generator: torch.Generator) -> list[Question]:
    def of(*shape: int, **how: Any) -> Tensor:
        return normal(generator, *shape, **how)

    hidden = ~some_mask(generator, 2, 5, 7)
    far = torch.tensor([[0.0], [900.0], [-900.0]], dtype=torch.float64)
    empty = of(3, 5).index_fill(0, torch.tensor([1]), -math.inf)
    large = "not shifted"
    return [
        Question((of(3, 3),)),
        Question((of(2, 5, 7),)),
        Question((of(3, 5, 2),)),
        Question((of(2, 3, 5, 7),)),
        Question((of(2, 5, 3, dtype=torch.float32),)),
        Question((of(2, 5, 7).masked_fill(hidden, -math.inf),), "hidden"),
        Question(((of(1, 1, 7) * 1e4).float().double(),), large),
        Question(((of(1, 1, 7) - 1e4).float().double(),), large),
        Question((of(1, 1, 7, dtype=torch.float32) + 1e4,), large),
        Question(((of(3, 5) + far).float().double(),), "one maximum for all"),
        Question(
            (empty,),
            note="(A row of -∞ alone is not zeros here, as it is in this"
            " book, but NaN or shares: see anatomy/masking.)",
        ),
    ]


def powers(scores: Tensor) -> Tensor:
    return torch.exp(scores)


def shares(powers: Tensor) -> Tensor:
    return powers / powers.sum(-1, keepdim=True)


def cut_off(asked: list[Asked]) -> bool:
    """Whether scores are clamped: large ones get shares, and wrong ones."""
    plain = [each for each in asked if not each.question.edge]
    large = [each for each in asked if each.question.edge == "not shifted"]
    return all(map(alike, plain)) and any(map(_other_shares, large))


def _other_shares(asked: Asked) -> bool:
    """Whether rows are shares, and differ by more than lost digits do."""
    given, right = (
        x[1] if isinstance(x, tuple) else x
        for x in (asked.given, asked.right)
    )
    if not isinstance(given, Tensor) or given.shape != right.shape:
        return False
    sums, off = given.sum(-1), (given - right).abs().max()
    return torch.allclose(sums, torch.ones_like(sums)) and float(off) > 0.05


SHARING = Step(
    "softmax",
    "gives shares of the same shape",
    "Each row is shares of one, at scores of ten thousand, too.",
    SOFTMAX,
    stable_softmax,
    ask_softmax,
    {
        "over the queries": Mistake(
            "The columns sum to one: the softmax runs over the queries.",
            "Who shares out one unit of weight, and among whom?",
            SOFTMAX,
            lambda scores: stable_softmax(scores, -2),
        ),
        "over the first axis": Mistake(
            "The softmax runs over the first axis, which in a batch is the"
            " texts.",
            "Count axes from the end.",
            SOFTMAX,
            lambda scores: stable_softmax(scores, 0),
        ),
        "over the second axis": Mistake(
            "The softmax runs over the second axis, whatever that is.",
            "Count axes from the end.",
            SOFTMAX,
            lambda scores: stable_softmax(scores, 1),
        ),
        "over everything": Mistake(
            "All shares together sum to one, and not each row's.",
            "How many units of weight does each query have?",
            SOFTMAX,
            lambda scores: stable_softmax(scores.flatten(), 0).reshape(
                scores.shape
            ),
        ),
        "not shifted": Mistake(
            "Right for small scores; at ten thousand it overflows, or all"
            " powers are zero.",
            "What may be subtracted from a whole row without changing its"
            " shares?",
            SOFTMAX,
            lambda scores: shares(powers(scores)),
        ),
        "cut off": Mistake(
            "Large scores are cut off, and unlike ones have like shares.",
            "Which scores does a clamp make alike? And what may be subtracted"
            " from a whole row without changing its shares?",
            SOFTMAX,
        ),
        "one maximum for all": Mistake(
            "The largest of all scores is subtracted, and rows far below it"
            " come out empty.",
            "Whose maximum does a row need?",
            SOFTMAX,
            lambda scores: shares(powers(scores - scores.max())),
        ),
        "maximum of the columns": Mistake(
            "The maximum is taken over the queries, and each key is shifted"
            " by another number.",
            "What has to be the same along a row, so that it cancels?",
            SOFTMAX,
            lambda scores: shares(powers(scores - scores.amax(-2, True))),
        ),
        "lowest subtracted": Mistake(
            "The lowest score of a row is subtracted: the powers still"
            " overflow, and a hidden key ruins its row.",
            "Which shift makes the largest power e to the 0?",
            SOFTMAX,
            lambda scores: shares(powers(scores - scores.amin(-1, True))),
        ),
        "hidden": Mistake(
            "Where a key is hidden, at -∞, the row is wrong.",
            "Take a row of 0 and -∞ with a pencil. Which line gives NaN?",
            "anatomy/masking",
        ),
        "undivided": Mistake(
            "The powers are not divided by their sum, and are no shares.",
            "What must a row sum to?",
            SOFTMAX,
            lambda scores: powers(scores - scores.amax(-1, True)),
        ),
        "no powers": Mistake(
            "The scores themselves are divided by their sum.",
            "What becomes of a negative score?",
            SOFTMAX,
            lambda scores: shares(scores),
        ),
        "logarithms": Mistake(
            "These are the logarithms of the shares.",
            "May a share be negative?",
            SOFTMAX,
            lambda scores: torch.log(stable_softmax(scores)),
        ),
        "powers of two": Mistake(
            "The powers are of two, not of e: all shares are too even.",
            "Which number is raised to the score?",
            SOFTMAX,
            lambda scores: stable_softmax(scores * math.log(2)),
        ),
        "turned over": Mistake(
            "The lowest score has the largest share.",
            "Follow the signs.",
            SOFTMAX,
            lambda scores: stable_softmax(-scores),
        ),
    },
    [(stable_softmax, ("1", "3"))],
    laws={"cut off": cut_off},
    inside=lambda yours: with_steps(softmax=yours),
)


# 5. Average


def ask_average(generator: torch.Generator) -> list[Question]:
    def of(
        *lead: int, T: int, S: int, d: int, total: float = 1.0, **how: Any
    ) -> Question:
        weights = stable_softmax(normal(generator, *lead, T, S, **how))
        values = normal(generator, *lead, S, d, **how)
        return Question((total * weights, values))

    return [
        of(T=3, S=3, d=3),
        of(2, T=5, S=5, d=5),
        of(2, T=5, S=7, d=11),
        of(2, 3, T=5, S=7, d=11),
        of(2, T=5, S=3, d=7, dtype=torch.float32),
        of(2, T=5, S=5, d=5, total=0.6),
    ]


AVERAGING = Step(
    "average",
    "gives [..., T, d_v]",
    "Each query has the average of the values in its own shares.",
    WHOLE,
    lambda weights, V: weights @ V,
    ask_average,
    {
        "columns for rows": Mistake(
            "The weights lie the other way: each query takes what keys gave"
            " it by columns.",
            "Whose shares stand in a row?",
            WHOLE,
            lambda weights, V: weights.mT @ V,
        ),
        "values first": Mistake(
            "V stands on the left, and its columns are mixed, not its rows.",
            "What does a product do with the rows of its right factor?",
            WHOLE,
            lambda weights, V: V @ weights,
        ),
        "values transposed": Mistake(
            "V is transposed, and a value is no longer a row.",
            "Which axis of V is summed away?",
            "checks/output-width",
            lambda weights, V: weights @ V.mT,
        ),
        "averaged twice": Mistake(
            "The weighted sum is divided by the number of keys as well.",
            "What do the weights of a row sum to already?",
            WHOLE,
            lambda weights, V: weights @ V / V.shape[-2],
        ),
        "shared again": Mistake(
            "The weights are divided by their sum once more, which undoes"
            " dropout and empty rows.",
            "Must this step know what a row sums to?",
            "procedures/dropout",
            lambda weights, V: weights / weights.sum(-1, keepdim=True) @ V,
        ),
        "best value alone": Mistake(
            "Each query takes the value of its best key, and nothing of the"
            " others.",
            "What became of the smaller weights?",
            WHOLE,
            lambda weights, V: (
                (weights == weights.amax(-1, keepdim=True)).to(V.dtype) @ V
            ),
        ),
        "added to the values": Mistake(
            "V is added to the average, as a residual around it would be.",
            "What does this step do, and no more?",
            WHOLE,
            lambda weights, V: V + weights @ V,
        ),
    },
    [(attend, "5")],
    inside=lambda yours: with_steps(average=yours),
)
