"""Judges of the exercises on scores, softmax and the scale."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.book import example
from surgeon.practice.exercises.answers import (
    read_numbers,
    read_sizes,
)
from surgeon.practice.exercises.judged import (
    is_near,
    judge_formula,
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged

DROPPED = example.TOKENS.index("dropped")
NAMES = ("surgeon", "scalpel", "it")
WANTED = [example.TOKENS.index(name) for name in NAMES]
SHARES = ["The surgeon's share", "The scalpel's share", "The share of it"]


def _scores() -> Tensor:
    """[7]: the row of *dropped*, without the scale."""
    return example.Q[DROPPED] @ example.K.mT


def scores_dropped(answer: Any) -> Judged:
    numbers = read_numbers(answer, 11)
    row, query = numbers[:7], torch.tensor(numbers[7:]).double()
    true = [float(score) for score in _scores()]
    pairs = zip(example.TOKENS, row, true, strict=True)
    off = [word for word, mine, other in pairs if not is_near(mine, other)]
    if off:
        return Judged(
            False,
            f"In the row, the score of {off[0]} is another number.",
            "Multiply coordinate by coordinate, and add up.",
        )
    found = query @ example.K.double().mT
    person = example.TOKENS.index("surgeon")
    others = [word for word in range(len(found)) if word != person]
    drawn = [example.TOKENS[word] for word in others if found[word] > 0]
    if found[person] <= 0:
        return Judged(
            False,
            "The row is right. Your query gives the person no score above 0.",
            "In which coordinate does the surgeon's key say what it is?",
        )
    if drawn:
        return Judged(
            False,
            f"The row is right. Your query also likes {drawn[0]}.",
            "Which coordinates of the query meet that word's key?",
        )
    return Judged(True, "Both are: your query likes the surgeon alone.")


def scores_transpose(answer: Any) -> Judged:
    T, S, width = read_sizes(answer, 3)
    if width != S:
        return Judged(
            True,
            f"[{T}, {width}] @ [{S}, {width}] raises an error, as {width} is"
            f" not {S}.",
        )
    return Judged(
        False,
        f"[{T}, {width}] @ [{S}, {width}] runs, and gives [{T}, {width}]: the"
        " shape of scores.",
        "Which two sizes must agree for `Q @ K`?",
    )


def scores_shout(answer: Any) -> Judged:
    query, first, second = torch.tensor([[1.0, 1], [1, 1], [3, 0]]).double()
    factor = float(query @ second / (query @ first))
    length = factor * float(first.norm())
    hint = "Stretched by c, what does the first key score with query 1?"
    right = "At that length it draws level with the second key."
    found = judge_number(
        answer,
        factor,
        right=right,
        hint=hint,
        slips=[
            (3, "That is the score which it has to beat."),
            (1, "As it is, it scores less than the second key."),
        ],
    )
    if (
        not found.right
        and judge_number(answer, length, right="", hint="").right
    ):
        return Judged(True, f"{right} (You gave the length, not a factor.)")
    return found


def softmax_pencil(answer: Any) -> Judged:
    scores = torch.tensor([1.0, 2, 5]).double().log()
    true = stable_softmax(scores).tolist()
    numbers = read_numbers(answer, 3, 6)
    if len(numbers) == 6:  # the second row as well
        true = true * 2
    return judge_numbers(
        numbers,
        true,
        [f"The {name} weight" for name in ("first", "second", "third")] * 2,
        right="The powers are 1, 2 and 5, and their sum is 8.",
        hint="What is e to the power of log 2?",
        slips=[
            ([1, 2, 5], "These are the powers; weights add up to one."),
            (
                (scores / scores.sum()).tolist(),
                "You have shared out the scores themselves.",
            ),
        ],
    )


def _shares(scores: Tensor) -> list[float]:
    return [float(share) for share in stable_softmax(scores)[WANTED]]


def softmax_dropped(answer: Any) -> Judged:
    scores = _scores()
    only = stable_softmax(scores[WANTED]).tolist()
    return judge_numbers(
        answer,
        _shares(scores),
        SHARES,
        right="Two words share the first place; four zeros have a little.",
        hint="What is the sum of all seven powers?",
        slips=[
            (only, "The four words of score 0 have a power as well."),
            (
                [float(s) for s in (scores / scores.sum())[WANTED]],
                "You have shared out the scores themselves.",
            ),
            (_shares(scores / 2), "That is the row with the scale."),
        ],
    )


def softmax_underflow(answer: Any) -> Judged:
    half = torch.finfo(torch.float16)
    smallest = half.tiny * half.eps  # a subnormal number
    return judge_number(
        answer,
        -math.log(smallest / 2),
        right="Below half of the smallest number, e^(−d) rounds to zero.",
        hint="Numbers round to the nearest: where does zero become nearer?",
        slips=[
            (
                -math.log(smallest),
                "There the power is the smallest number itself.",
            ),
            (
                -math.log2(smallest / 2),
                "That counts in powers of 2, and the power is one of e.",
            ),
            (
                -math.log2(smallest),
                "That is the exponent of 2 in the smallest number.",
            ),
            (-math.log(half.tiny), "That is where normal numbers end."),
        ],
    )


def softmax_two_keys(answer: Any) -> Judged:
    weight = float(stable_softmax(torch.zeros(2).double())[0])
    return judge_numbers(
        answer,
        [0, weight * (1 - weight)],
        ["The difference", "The gradient"],
        right="a(1 − a) is largest where the two weights are equal.",
        hint="The derivative is a(1 − a). Which a makes it largest?",
        slips=[
            (
                [weight, weight * (1 - weight)],
                "That is the weight; the difference of the scores is asked.",
            ),
            ([0, weight], "That is the weight there, and not its gradient."),
        ],
    )


def scaling_dropped(answer: Any) -> Judged:
    scores = _scores()
    root = math.sqrt(example.Q.shape[-1])
    return judge_numbers(
        answer,
        _shares(scores / root),
        SHARES,
        right="The row has become less sure: 0, 2, 0, 0, 2, 0, 1.",
        hint="Divide each score by the root of the width, then share out.",
        slips=[
            (_shares(scores), "That is the row without the scale."),
            (
                _shares(scores / root**2),
                "That divides by d_k, and not by its root.",
            ),
            (
                [share / root for share in _shares(scores)],
                "You have divided the shares, and not the scores.",
            ),
            (
                stable_softmax(scores[WANTED] / root).tolist(),
                "The four words of score 0 have a power as well.",
            ),
        ],
    )


def scaling_merge(answer: Any) -> Judged:
    def merged(s_1: float, s_2: float) -> float:
        dots = math.sqrt(64) * (s_1 + s_2)
        return dots / math.sqrt(64 + 64)

    return judge_formula(
        answer,
        merged,
        [
            {"s_1": 1.5, "s_2": -0.25},
            {"s_1": 2.0, "s_2": 3.0},
            {"s_1": -1.0, "s_2": 7.0},
        ],
        right="The dot products add, and the root of the width is larger.",
        hint="Undo both divisions, add the dot products, divide anew.",
        slips=[
            (
                lambda s_1, s_2: s_1 + s_2,
                "The sum of dot products is divided by a larger root.",
            ),
            (
                lambda s_1, s_2: (s_1 + s_2) / 2,
                "The width doubles, but the scale is its root.",
            ),
            (
                lambda s_1, s_2: math.sqrt(2) * (s_1 + s_2),
                "The root stands on the other side of the line.",
            ),
        ],
    )
