"""Judges of the exercises on masks, on attention whole, heads and places."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.softmax import stable_softmax
from surgeon.practice.exercises.answers import read_function
from surgeon.practice.exercises.judged import (
    Raised,
    call,
    holds,
    judge_formula,
    judge_number,
)
from surgeon.practice.verdict import Judged

TEXTS = ([0, 0, 0, 1, 1], [0, 1, 1, 2, 2, 2, 2], [5, 5, 3], [4] * 11)


def _document_masks(ids: list[int]) -> dict[str, Tensor]:
    """The right mask, and others that come to mind, under what they are."""
    texts = torch.tensor(ids)
    same = texts[:, None] == texts[None, :]
    causal = torch.ones_like(same).tril()
    return {
        "right": same & causal,
        "It lets a word see the later words of its text.": same,
        "It lets a word see the earlier texts.": causal,
        "It is turned round: a word sees only what comes later.": same
        & causal.mT,
        "It hides what should be seen, and shows the rest.": ~(same & causal),
    }


def masking_documents(answer: Any) -> Judged:
    function = read_function(answer)
    hint = "Two things must hold: the same text, and no later word."
    given = []
    for ids in TEXTS:
        try:
            try:
                mask = call(function, torch.tensor(ids))
            except Raised:  # perhaps it wants the list
                mask = call(function, list(ids))
            mask = torch.as_tensor(mask)
            if mask.numel() == len(ids) ** 2:  # with axes of its own in front
                mask = mask.reshape(len(ids), len(ids))
            shape = (len(ids), len(ids))
            given.append(visible(mask, shape, "cpu").expand(shape))
        except Raised as error:
            return Judged(False, str(error), hint)
        except (TypeError, ValueError, RuntimeError) as error:
            what = " ".join(str(error).split())
            return Judged(False, f"It gives no mask: {what}", hint)
    kinds = [_document_masks(ids) for ids in TEXTS]
    for name in kinds[0]:
        if all(
            torch.equal(mine, each[name])
            for mine, each in zip(given, kinds, strict=True)
        ):
            if name == "right":
                return Judged(True, "The same text, and no later word.")
            return Judged(False, name, hint)
    for ids, mine, each in zip(TEXTS, given, kinds, strict=True):
        if not torch.equal(mine, each["right"]):
            said = f"For {ids} it is another mask."
            return Judged(False, said, hint)
    raise AssertionError("one of the masks is off")


def attention_twice(answer: Any) -> Judged:
    def both(a: float) -> float:
        score = math.log(a / (1 - a))  # against all others together
        row = torch.tensor([score, score, 0.0], dtype=torch.float64)
        return float(stable_softmax(row)[:2].sum())

    return judge_formula(
        answer,
        both,
        [{"a": 0.1}, {"a": 0.5}, {"a": 0.83}],
        right="The odds double, and the two copies share what they bring.",
        hint="The word's power counts twice: above the line, and in the sum?",
        slips=[
            (lambda a: 2 * a, "With a = 0.83 that is more than one."),
            (lambda a: a, "Then saying a thing twice would change nothing."),
            (lambda a: a / (1 + a), "That is one of the two copies."),
        ],
    )


def attention_linear(answer: Any) -> Judged:
    def products(T: float, d_k: float, d_v: float) -> float:
        return 2 * T * d_k * d_v  # K^T V, and Q times that

    cases: list[dict[str, float]] = [
        {"T": 1009, "d_k": 17, "d_v": 31},
        {"T": 4001, "d_k": 61, "d_v": 13},
        {"T": 7, "d_k": 5, "d_v": 3},
    ]
    hint = "Count the two products, each rows × inner × columns."
    right = "The matrix of T × T weights is never made."
    slips = [
        (
            lambda T, d_k, d_v: T * T * (d_k + d_v),
            "That makes the T × T matrix first. Can the brackets move?",
        ),
        (
            lambda T, d_k, d_v: T * d_k * d_v,
            "That is one of two products.",
        ),
    ]
    found = judge_formula(
        answer, products, cases, right=right, hint=hint, slips=slips
    )
    if not found.right:
        with_sums = judge_formula(
            answer,
            lambda T, d_k, d_v: 2 * products(T, d_k, d_v),
            cases,
            right=f"{right} (You count additions as well.)",
            hint=hint,
        )
        return with_sums if with_sums.right else found
    return found


def _by_view(x: Tensor, num_heads: int) -> Tensor:
    """[..., T, H * d] -> [..., H, T, d]: each head holds a piece of text."""
    *lead, T, width = x.shape
    return x.reshape(*lead, num_heads, T, width // num_heads)


def _back_by_view(heads: Tensor) -> Tensor:
    """[..., H, T, d] -> [..., T, H * d]"""
    *lead, H, T, width = heads.shape
    return heads.reshape(*lead, T, H * width)


def heads_round_trip(answer: Any) -> Judged:
    test = read_function(answer)
    hint = "Where must column 0 of each word be, after the split?"
    try:
        sound = holds(test, split_heads, merge_heads)
    except Raised as error:
        return Judged(False, f"With the right pair: {error}", hint)
    if not sound:
        return Judged(False, "Your test fails for the right pair.", hint)
    try:
        fooled = holds(test, _by_view, _back_by_view)
    except Raised:  # noticed, if not in the best of ways
        fooled = False
    if fooled:
        return Judged(False, "The pair of `view`s passes your test.", hint)
    return Judged(True, "The right pair passes it, the `view`s do not.")


def positions_slope(answer: Any) -> Judged:
    distances = torch.arange(499).double()
    shares = stable_softmax(-distances / 2)
    return judge_number(
        answer,
        float(shares[5:].sum()),
        right="From distance 5 on it is the whole series times e^(−5m).",
        hint="The weights are a geometric series. Which part is cut off?",
        slips=[
            (float(shares[:5].sum()), "That is the share of nearer keys."),
            (float(shares[6:].sum()), "That is for six or more words back."),
            (float(shares[4:].sum()), "That is for four or more words back."),
            (float(shares[5]), "That is the weight of one key."),
            (2**-2.5, "The powers are of e, not of 2."),
        ],
        digits=1,
    )
