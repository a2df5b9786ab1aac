"""Masks without a formula: what moves with a key that should be hidden?"""

from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.probes.reading import (
    Ask,
    moved,
    random_mask,
    read_weights,
    shows,
    sight,
)


def see_mask(exam: Exam, inputs: Inputs, seen: Tensor) -> None:
    """A mask by chance: hidden values, hidden keys, and what it shows."""
    mask = random_mask(exam)
    ask = partial(exam.ask, allowed=mask)
    weights, keys = (sight(exam, inputs, ask, by) for by in ("value", "key"))
    shown = weights > exam.tolerance
    leak, counted = (float(x[~mask].max()) for x in (weights, keys))
    bound, effect = exam.tolerance, moved(ask(*inputs), exam.ask(*inputs))
    if float(effect.max()) <= bound:
        meaning = "The mask has no effect: everyone sees everything."
        if not shown.all():
            meaning = (
                "The mask has no effect: everyone sees what it sees without"
                " one."
            )
        exam.fail("mask obeyed", meaning, leak, bound)
    elif shows(shown, seen, ~mask):
        meaning = "What the mask hides is seen, and what it shows is hidden."
        exam.fail("mask polarity", meaning, leak, bound)
    elif leak > bound:
        _name_leak(exam, inputs, mask, leak)
    elif not shows(shown, seen, mask):
        meaning = "Some keys that the mask shows are not seen."
        exam.fail("mask polarity", meaning, "hidden", "seen")
    elif counted > bound:
        meaning = (
            "A hidden key still counts: its own share is gone, and those of"
            " others change with it."
        )
        exam.fail("mask before softmax", meaning, counted, bound)
    exam.note("mask obeyed", True, leak, bound)
    told = "what it shows, and nothing else"
    exam.note("mask polarity", True, told, told)
    exam.note("mask before softmax", True, counted, bound)


def _name_leak(exam: Exam, inputs: Inputs, mask: Tensor, leak: float) -> None:
    """Hidden keys keep a share: was their score set, or changed?"""
    Q, K, _ = inputs
    behind = read_weights(exam, Q, K, partial(exam.ask, allowed=mask))
    free = read_weights(exam, Q, K)
    said = ""
    if behind is not None and free is not None:
        said = _stand_in(exam, behind, free, mask)
    if said:
        meaning = f"Hidden scores are {said}, which leaves them a share."
        exam.fail("minus infinity", meaning, leak, exam.tolerance)
        return
    meaning = f"What the mask hides keeps a weight, of up to {leak:.3g}."
    exam.fail("mask obeyed", meaning, leak, exam.tolerance)


def _stand_in(exam: Exam, behind: Tensor, free: Tensor, mask: Tensor) -> str:
    """What hidden scores became, in words, if that is one number."""
    hidden = ~mask & (free > exam.tolerance).all(0).all(0)
    if not (behind > exam.tolerance)[..., hidden].all():
        return ""
    slack = 10 * exam.tolerance / float(behind[..., hidden].min())
    change = behind.log() - free.log()
    level = change.where(mask, torch.nan).nanmean(-1, keepdim=True)
    less = (change - level)[..., hidden]
    if float(less.max() - less.min()) < slack:
        return f"changed by {float(less.mean()):.3g}"
    rows = behind.log().where(hidden, torch.nan)
    spread = (rows - rows.nanmean(-1, keepdim=True)).abs().nan_to_num()
    alike = float(spread.max()) < slack
    return "all set to one number" if alike else ""


def see_diagonal(exam: Exam, inputs: Inputs, seen: Tensor) -> None:
    """The causal mask: does each token see itself, and not the next?"""
    name, T = "mask diagonal", exam.T
    ask: Ask = exam.ask_causal
    shown = sight(exam, inputs, ask) > exam.tolerance
    if exam.held.causal is True:
        seen = shown | causal(T).mT
    ones = torch.ones(T, T, dtype=torch.bool)
    wrong = {
        "mask polarity": (
            "The mask hides the past and shows the future.",
            ones.triu(),
        ),
        "mask obeyed": (
            "The mask has no effect: everyone sees everything.",
            ones,
        ),
    }
    diagonals = {
        "The mask hides the diagonal too: no token sees itself.": -1,
        "The mask is one place too wide: each token sees the next one.": 1,
    }
    if shows(shown, seen, causal(T)):
        exam.agrees(name, meaning="Each token sees itself, not the next one.")
        return
    for meaning, diagonal in diagonals.items():
        if shows(shown, seen, ones.tril(diagonal)):
            meaning = exam.held.worded(meaning)
            exam.fail(name, meaning, "its sight", "itself and the past")
            return
    for law, (meaning, pattern) in wrong.items():
        if pattern is ones and exam.held.causal is True:
            continue  # no mask was given: the future's fault
        if shows(shown, seen, pattern):
            exam.findings.pop(law, None)
            meaning = exam.held.worded(meaning)
            exam.fail(law, meaning, "its sight", "itself and the past")
            return
    exam.skip(name, why="Who sees whom is no shifted diagonal.")
