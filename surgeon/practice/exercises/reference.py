"""Judges of the exercises on the pages of the check-ups."""

from functools import cache
from typing import Any

import torch

from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.masks import create_window_mask
from surgeon.practice.exercises.judged import (
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged
from surgeon.zoo.catalogue import ZOO


@cache
def _failed() -> list[str]:
    """The laws that a softmax over the queries breaks."""
    report = ZOO["softmax_over_queries"].examine()
    return [find.name for find in report.findings if find.passed is False]


def checkup_axis(answer: Any) -> Judged:
    failed = _failed()
    return judge_number(
        answer,
        len(failed),
        right=f"The law is “{failed[0]}”: one cause, one finding.",
        hint="How many causes are there? Try `examine` on such a function.",
        slips=[
            (0, "The rows of weights alone give it away."),
            (
                4,
                "Four things go wrong, for one reason; the check-up looks"
                " for the reason.",
            ),
            (20, "That many would be true, and would not name the cause."),
        ],
    )


def model_checkup_window(answer: Any) -> Judged:
    def back(window: int) -> int:
        """How many tokens back an output looks, through two layers."""
        mask = create_window_mask(23, window - 1, causal=True)
        sees = visible(mask, (23, 23), "cpu").double()
        return int((torch.arange(23)[(sees @ sees)[-1] > 0] - 22).abs().max())

    true = [back(4), back(5)]
    return judge_numbers(
        answer,
        true,
        ["The reach", "The reach with a window too wide"],
        right="Each layer adds its window, less the token itself.",
        hint="Count steps back in one layer, then go on from there.",
        slips=[
            (
                [true[0] + 1, true[1] + 1],
                "The output's own token is not back.",
            ),
            ([8, 10], "A window of four looks three tokens back."),
            ([3, 4], "That is one layer."),
            ([true[0], true[0] + 1], "Each layer looks one further."),
            ([9, 16], "Steps of layers add; they do not multiply."),
        ],
    )
