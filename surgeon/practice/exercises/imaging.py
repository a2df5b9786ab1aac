"""Judges of the exercises in Imaging."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.masks import create_causal_mask, create_window_mask
from surgeon.imaging.patterns import (
    row_entropy,
    uniform_weights,
)
from surgeon.practice.exercises.answers import (
    Unreadable,
    read_function,
    read_number,
    read_tensor,
)
from surgeon.practice.exercises.judged import (
    Raised,
    call,
    judge_formula,
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged


def heatmaps_two_back(answer: Any) -> Judged:
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Unreadable("no pair")
    Q, K = (read_tensor(matrix, 2) for matrix in answer)
    T = len(Q)
    if T < 5 or Q.shape[1] != K.shape[1] or len(K) != T:
        sizes = f"{list(Q.shape)} and {list(K.shape)}"
        raise Unreadable(f"matrices of {sizes}")
    weights = attention(Q, K, K)[1]
    hint = "Which unit vector is the key two places before?"
    rows = torch.arange(2, T)
    for shift, looks in (
        (0, "Each token reads itself."),
        (-1, "Each token reads the one before it, by one place."),
        (2, "It reads two places on, not back."),
    ):
        inside = rows[rows + shift < T]
        if _reads(weights, inside, inside + shift):
            return Judged(False, looks, hint)
    if not _reads(weights, rows, rows - 2):
        return Judged(False, "Not every token reads two places back.", hint)
    early = weights[:2]
    if any(early[i, i + 1 :].max() > early[i].mean() + 1e-6 for i in (0, 1)):
        return Judged(
            False,
            "The first two tokens read later ones: what was pushed out at"
            " the end came in at the front.",
            "They have nothing two places before them. What may they ask?",
        )
    return Judged(
        True, "From the third token on, each reads two places back."
    )


def _reads(weights: Tensor, queries: Tensor, keys: Tensor) -> bool:
    """Whether each query gives its key the largest weight, and clearly."""
    rows, at = weights[queries], torch.arange(len(queries))
    wanted = rows[at, keys].clone()
    rows = rows.clone()
    rows[at, keys] = 0
    return bool((wanted > rows.amax(-1) + 1e-6).all())


def patterns_column(answer: Any) -> Judged:
    function = read_function(answer)
    hint = "Which average over the queries is large for a vertical line?"
    lines, others = [], []  # three of each size; and heads without a line
    for T in (5, 7, 11):
        even = torch.full((T, T), 1 / T, dtype=torch.float64)
        eye = torch.eye(T, dtype=torch.float64)
        lines += [eye[[key] * T] for key in (0, 2, T - 1)]
        others += [even, eye, eye.roll(1, 0), (even + eye) / 2]
    try:
        on_lines, elsewhere = (
            [read_number(call(function, weights.clone())) for weights in some]
            for some in (lines, others)
        )
    except Raised as error:
        return Judged(False, str(error), hint)
    except Unreadable as error:
        return Judged(False, f"It gives {error} in place of a number.", hint)
    found = [*on_lines, *elsewhere]
    if not all(map(math.isfinite, found)):
        return Judged(False, "For some weights it gives no number.", hint)
    sizes = [on_lines[at : at + 3] for at in range(0, len(on_lines), 3)]
    if any(max(three) - min(three) > 1e-6 for three in sizes):
        return Judged(False, "It depends on which key everyone reads.", hint)
    heads = [elsewhere[at : at + 4] for at in range(0, len(elsewhere), 4)]
    if any(
        max(four) >= min(three) - 1e-6
        for four, three in zip(heads, sizes, strict=True)
    ):
        return Judged(
            False,
            "It is as large for a head in which no key is read by all.",
            "Try it on the diagonal, where each row is as sharp.",
        )
    if min(found) < -1e-6 or abs(max(on_lines) - 1) > 1e-6:
        return Judged(
            False,
            "It rises with the vertical line, and does not run from 0 to 1.",
            "By what can it be divided?",
        )
    return Judged(True, "It is 1 for a vertical line, and less elsewhere.")


def patterns_split(answer: Any) -> Judged:
    def nats(a: float) -> float:
        rest = 1 - a
        before = torch.tensor([a, rest], dtype=torch.float64)
        after = torch.tensor([a / 2, a / 2, rest], dtype=torch.float64)
        return float(row_entropy(after) - row_entropy(before))

    cases = [{"a": 0.1}, {"a": 0.5}, {"a": 0.9}]
    hint = "What did the word add to the sum, and what do its halves?"
    right = "Each half adds a/2 times log 2 more than before."
    found = judge_formula(
        answer,
        nats,
        cases,
        right=right,
        hint=hint,
        slips=[
            (
                lambda a: math.log(2),
                "That holds if all weight is the word's.",
            ),
            (
                lambda a: -a / 2 * math.log(a / 2),
                "That is what one half adds; what did the whole add?",
            ),
            (
                lambda a: -a * math.log(a / 2),
                "That is what both halves add; what did the whole add?",
            ),
            (lambda a: -a * math.log(2), "Does the entropy fall?"),
        ],
    )
    if not found.right:
        bits = judge_formula(
            answer,
            lambda a: nats(a) / math.log(2),
            cases,
            right="That is the change in bits; in nats, a log 2.",
            hint=hint,
        )
        return bits if bits.right else found
    return found


def patterns_window(answer: Any) -> Judged:
    def mass(w: float) -> float:
        mask = create_window_mask(97, int(w), causal=True)
        even = uniform_weights(mask, dtype=torch.float64)
        return float(even.diagonal()[int(w) :].mean())  # full windows

    return judge_formula(
        answer,
        mass,
        [{"w": 1}, {"w": 3}, {"w": 7}],
        right="Each row is shared by the w keys before and the token itself.",
        hint="How many keys does a query see?",
        slips=[
            (lambda w: 1 / w, "The token itself is one of the keys."),
            (lambda w: 1 / (2 * w + 1), "It sees no later keys."),
            (lambda w: w / (w + 1), "That is what the others have."),
        ],
    )


def specimen_dice(answer: Any) -> Judged:
    ranks = torch.arange(1, 73).double()
    return judge_numbers(
        answer,
        [1 / len(ranks), float(ranks.mean())],
        ["The chance", "The average rank"],
        right="On the second dozen all heads are alike.",
        hint="What does the first dozen tell of the second, by pure luck?",
        slips=[
            (
                [1 / len(ranks) ** 2, float(ranks.mean())],
                "That is the chance that one head, named before, wins twice.",
            ),
            (
                [1 / len(ranks), len(ranks) / 2],
                "The average rank is off: ranks begin at 1.",
            ),
            ([1 / len(ranks), 1], "That it won once tells nothing here."),
        ],
        digits=(2, 3),
    )


def lm_heads_even(answer: Any) -> Judged:
    T = 100
    mask = create_causal_mask(T)
    first = uniform_weights(mask, dtype=torch.float64)[:, 0]
    return judge_number(
        answer,
        float(first[1:].mean()),
        right="The i-th query gives each of its i keys 1/i.",
        hint="How many keys does the second query see, and the hundredth?",
        slips=[
            (float(first.mean()), "The first query is not among them."),
            (1 / T, "That is without a mask."),
            (float(first[1:].sum()), "That is the sum, and not the mean."),
            (1 / (T / 2), "The mean of 1/i is not 1 over the mean of i."),
        ],
    )
