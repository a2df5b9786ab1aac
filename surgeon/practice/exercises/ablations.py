"""Judges of the exercises in Ablations."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.score_bounds import rms_norm
from surgeon.anatomy.sinks import share_of_keys
from surgeon.practice.exercises.answers import (
    Function,
    Unreadable,
    read_function,
    read_number,
    read_numbers,
)
from surgeon.practice.exercises.judged import (
    Raised,
    call,
    holds,
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import right as sound

WIDTHS = (16, 61, 257)


def no_scale_before(answer: Any) -> Judged:
    function = read_function(answer)
    hint = "What does the scale keep at about 1, whatever the width?"
    drawn = torch.Generator().manual_seed(0)
    with_scale, without = [], []
    try:
        for width in WIDTHS * 3:
            Q, K = (
                torch.randn(97, width, generator=drawn, dtype=torch.float64)
                for _ in range(2)
            )
            scores = Q @ K.mT
            scaled = scores / math.sqrt(width)
            with_scale.append(read_number(call(function, scaled)))
            without.append(read_number(call(function, scores)))
    except Raised as error:
        return Judged(False, str(error), hint)
    except Unreadable as error:
        return Judged(False, f"It gives {error} in place of a number.", hint)
    if max(with_scale) < min(without) or max(without) < min(with_scale):
        return Judged(
            True, "By this number, you see that the scale is missing."
        )
    return Judged(
        False,
        "It is much the same with the scale and without, or it mixes up the"
        " widths.",
        hint,
    )


def no_scale_wider(answer: Any) -> Judged:
    given = read_numbers(answer, 2)
    if 0 < given[0] < 1:  # what the share is multiplied by
        given[0] = 1 / given[0]
    return judge_numbers(
        given,
        [math.sqrt(2), 4],
        ["The factor", "The growth"],
        right="The share falls like one over the root of the width.",
        hint="How does the spread of the scores grow with the width?",
        slips=[
            ([2, 2], "That would be so if it fell like one over the width."),
            ([math.sqrt(2), 2], "Doubling divides by less than two."),
            ([math.sqrt(2), math.sqrt(2)], "Turn the root round."),
            ([4, math.sqrt(2)], "The two are in the other order."),
        ],
    )


def wrong_mask_not_zero(answer: Any) -> Judged:
    last = 1.5  # nats, as the exercise says: "about"
    words = torch.zeros(24, dtype=torch.float64)
    words[-1] = last
    mean = float(words.mean())
    given = read_numbers(answer, 2)
    hint = "The loss is a mean over positions. How many cost anything?"
    if all(
        abs(mine / other - 1) < 0.1
        for mine, other in zip(given, (mean, mean / 2), strict=True)
    ):
        return Judged(True, "One position of all pays, and the rest nothing.")
    return judge_numbers(
        given,
        [mean, mean / 2],
        ["The loss for 24 words", "The loss for twice as many"],
        right="",
        hint=hint,
        slips=[
            ([last, last], "That is the loss of the last position alone."),
            ([mean, mean], "There are then twice as many positions."),
            ([mean, mean * 2], "It is a mean, and not a sum."),
        ],
    )


def _sharpest(width: int, keys: int = 1000) -> float:
    """The weight that normalised queries and keys can give one key."""
    query = rms_norm(torch.ones(1, width, dtype=torch.float64))
    K = -query.repeat(keys, 1)
    K[0] = query
    return float(attention(query, K, K)[1][0, 0])


def sharp_scores_sharp(answer: Any) -> Judged:
    wide, narrow = (_sharpest(width) for width in (64, 16))
    given = read_numbers(answer, 2)
    hint = "Which score has one key at most, and the other 999 at least?"
    if given[0] == 1:
        return Judged(False, "It comes close to 1, and stays below.", hint)
    one_side = [
        1 / (1 + 999 * math.exp(-math.sqrt(width))) for width in (64, 16)
    ]
    return judge_numbers(
        given,
        [wide, narrow],
        ["At width 64 it", "At width 16 it"],
        right="One score of √d_k stands against 999 of −√d_k.",
        hint=hint,
        slips=[
            (one_side, "The other 999 scores may be negative."),
            ([narrow, wide], "The two are in the other order."),
        ],
        digits=(3, 2),
    )


def sharp_scores_half(answer: Any) -> Judged:
    sizes = [4.0]
    for _ in range(3):  # the queries take their half, the keys do not
        sizes.append(sizes[-1] * math.sqrt(1 / sizes[-1]))
    whole = [1.0, 1.0]
    return judge_numbers(
        answer,
        [sizes[1], sizes[3]],
        ["After one clip it", "After three clips it"],
        right="Each clip takes half of what is left, in logarithms.",
        hint="By what are the scores multiplied, if only W_Q is?",
        slips=[
            (whole, "That is so if both matrices are clipped."),
            (
                [sizes[1], sizes[1] / 4],
                "The factor is drawn anew from what the score is by then.",
            ),
            (
                [sizes[1], sizes[2]],
                "That is after two clips, not three.",
            ),
        ],
    )


def sinks_thousand(answer: Any) -> Judged:
    scores = torch.zeros(1, 1000, dtype=torch.float64)
    nothing = torch.tensor(0.0, dtype=torch.float64)
    nobody = 1 - float(share_of_keys(scores, nothing))
    score = math.log(scores.shape[-1])
    return judge_numbers(
        answer,
        [nobody, score],
        ["The share", "The score b"],
        right="Nobody has one of 1,001 parts, and half at e^b = 1,000.",
        hint="What do the powers of the keys add up to?",
        slips=[
            ([1 - nobody, score], "That is what the keys get."),
            ([nobody, 1000], "That is the power e^b, and not b."),
            ([nobody, math.log2(1000)], "The power is one of e, not of 2."),
            ([nobody, math.log10(1000)], "The power is one of e, not of 10."),
            ([0.5, score], "Is “plus one” as much as a thousand keys?"),
        ],
        digits=(1, 2),
    )


def sinks_zeros(answer: Any) -> Judged:
    if isinstance(answer, str) and "plus one" in answer.lower():
        answer = 0
    return judge_number(
        answer,
        0,
        right="So it is “softmax plus one”.",
        hint="What does any query score with a key of zeros?",
        slips=[
            (1, "That is its power, e^b; what is b?"),
            (-math.inf, "That key would have no power at all."),
        ],
    )


def specimen_surgery_couples(answer: Any) -> Judged:
    cosines = torch.tensor([0.7, 0.4]), torch.tensor([0.6, 0.5, 0.3])
    before, after = (
        float((cosines[0][:, None] - cut > cosines[1] - cut).double().mean())
        for cut in (0, 0.2)
    )
    return judge_numbers(
        answer,
        [before, after],
        ["The share before", "The share after"],
        right="Four of six couples, and a shift of all moves no order.",
        hint="Pair each paraphrase with each other pair: who wins?",
        slips=[
            ([before, before - 0.2], "The share sees the order alone."),
            ([0.5, 0.5], "Each paraphrase meets each of the other pairs."),
            ([4, 4], "That is how many of the couples; the share is asked."),
            ([1 - before, 1 - after], "That is what the paraphrases lose."),
        ],
    )


def specimen_surgery_best(answer: Any) -> Judged:
    ranks = torch.arange(3 * 997, dtype=torch.float64)
    grades = ranks.reshape(3, -1).mean(1, keepdim=True).expand(3, 997)
    true = float(torch.corrcoef(torch.stack([ranks, grades.flatten()]))[0, 1])
    return judge_number(
        answer,
        true,
        right="The grades are tied in thirds, and the cosines are not.",
        hint="Put ranks between 0 and 1. What is the variance of each side?",
        slips=[
            (1, "No order of different cosines can be a tie, as grades are."),
            (true**2, "That is its square."),
            (math.sqrt(2 / 3), "That is the rank correlation by Kendall."),
        ],
    )


#: Bugs that are functions, and that training cannot show
SILENT = frozenset(
    {
        "minus_ten_thousand",
        "minus_ten_billion",
        "dead_rows_nan",
        "dead_rows_uniform",
        "dead_rows_nan_backward",
        "top_left_causal",
        "scaled_too_late",
        "no_maximum",
        "one_maximum_for_all",
        "clipped_scores",
        "half_precision_sums",
        "weights_before_the_mask",
        "scales_in_place",
    }
)


def _with_switch(function: Function) -> Function:
    """A function ``f(Q, K, V, mask)`` that can be told to be causal, too."""

    def attend(
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Any:
        if causal:
            T, S = Q.shape[-2], K.shape[-2]
            lower = torch.ones(T, S, dtype=torch.bool).tril(S - T)
            shape = torch.broadcast_shapes(
                (T, S), () if mask is None else mask.shape
            )
            mask = lower & (mask is None or visible(mask, shape, "cpu"))
        return function(Q, K, V, mask)

    return attend


def bug_zoo_caught(answer: Any) -> Judged:
    test = read_function(answer)
    hint = "Which circumstance does the training never meet?"
    try:
        passed = _holds_again(test, _with_switch(sound))
    except Raised as error:
        return Judged(False, f"With a right attention: {error}", hint)
    if not passed:
        return Judged(False, "It fails for a right attention.", hint)
    caught = []
    for name, fault in ZOO.items():
        if fault.is_layer:
            continue
        try:
            switch = fault.held.get("causal") == "causal"
            if _holds_again(
                test, fault.made if switch else _with_switch(fault.made)
            ):
                continue
        except Raised:  # the bug broke it: noticed
            pass
        caught.append(name)
    silent = [name for name in caught if name in SILENT]
    if silent:
        return Judged(True, f"It fails for {_listed(silent)}.")
    if caught:
        said = f"It fails for {caught[0]}, which training shows."
        return Judged(False, said, hint)
    return Judged(False, "No bug of the zoo fails it.", hint)


def _holds_again(test: Function, attend: Function) -> bool:
    """Whether a test passes a few times: it may draw what it asks with."""
    return all(holds(test, attend) for _ in range(5))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
