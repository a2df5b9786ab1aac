"""Probes of arithmetic: large scores, dropout, and weights handed back."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam, tolerance
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import causal
from surgeon.checkup.probes.behaviour import NOT_LINEAR
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.subjects.answering import SubjectError

LEAST = 0.01  # a weight that dropout is judged by


def probe_weights(exam: Exam) -> None:
    """Are these the weights that multiply the values, as these tell?

    Without a mask and, where there is one, with a causal mask.
    """
    name, bound = "weights returned", 10 * exam.tolerance
    asks: list[Tensor | None] = [None]
    unread = exam.broken(*READING, *FUTURE)
    if exam.held.takes_mask and not unread:
        asks.append(causal(exam.T))
    worst = 0.0
    for allowed in asks:
        Q, K, V = exam.draw()
        with torch.no_grad():
            given = exam.subject.ask(Q, K, V, allowed).weights
        if given is None:
            exam.skip(name, why="It hands back no weights [queries, keys].")
            return
        right = read_weights(exam, Q, K, partial(exam.ask, allowed=allowed))
        if right is None:
            exam.skip(name, why=NOT_LINEAR)
            return
        if given.shape[1] == 1:
            right = right.mean(1, keepdim=True)
        worst = max(worst, exam.off(given.double(), right))
    if worst > bound:
        meaning = (
            "The weights handed back are not those that multiplied the"
            " values."
        )
        exam.fail(name, meaning, worst, bound)
    exam.note(name, True, worst, bound)


def probe_large_scores(exam: Exam) -> None:
    """Add 2000 to scores, or take it from them: softmax must not notice.

    To every score, or to every other row.
    """
    name, size = "large scores", 2000.0
    if exam.design.linear:
        exam.skip(name, why="It has no softmax that could overflow.")
        return
    # What rounding costs such scores, as `tolerance` has it for usual ones
    bound, coarse = (
        each * (4 + 2 * size) / 32
        for each in (exam.tolerance, tolerance(torch.float32))
    )
    Q, K, V = exam.draw()
    Q[..., 0], K[..., 0] = 0.0, 1.0
    known = not exam.blocked
    right = exam.form()(Q, K, V) if known else exam.ask(Q, K, V)
    signs = {
        "far above zero": torch.ones(exam.T, dtype=exam.dtype),
        "far below zero": -torch.ones(exam.T, dtype=exam.dtype),
        "of very different rows": (-1.0) ** torch.arange(exam.T),
    }
    for said, sign in signs.items():
        Q[..., 0] = sign.to(Q.dtype) * size / exam.factor
        try:
            got = exam.ask(Q, K, V)
        except SubjectError as error:
            meaning = f"It refuses large scores: {error}"
            exam.fail(name, meaning, "an error", "no change")
            return
        right = exam.form()(Q, K, V) if known else right
        off = exam.off(got, right)
        if not known and not got.isfinite().all():
            meaning = "Large queries give NaN or infinity."
            exam.fail(name, meaning, "NaN", "numbers")
            return
        if not known and off > bound:
            why = "Adding the same to a whole row changes something here."
            exam.skip(name, why=why)
            return
        if bound < off <= coarse:  # what float32 would cost
            meaning = f"Scores {said} lose digits, more than rounding costs."
            exam.fail(name, meaning, off, bound, "hazard")
            return
        if off > bound:
            why = "they are cut off"
            if not got.isfinite().all():
                why = "the maximum of each row is not subtracted first"
            meaning = f"Scores {said} give wrong numbers: {why}."
            exam.fail(name, meaning, or_nan(off), "no change")
            return
    exam.note(name, True, off, bound)


def or_nan(off: float) -> float | str:
    """A difference, or in a word that a number is missing."""
    return "NaN" if math.isinf(off) else off


def probe_dropout(exam: Exam) -> None:
    """What a weight becomes while dropout is on: zero, or itself/(1 - p)."""
    name, subject = "dropout after softmax", exam.subject
    if not subject.is_module and not exam.held.dropout:
        why = "A function, and no name of an argument for dropout was given."
        exam.skip(name, why=why)
        return
    if broken := exam.broken(*FUTURE):
        exam.wait(name, on=broken)
        return
    if exam.d_v < exam.T:
        why = "Values are too narrow to tell the weights from the output."
        exam.skip(name, why=why)
        return
    dropped = _dropped(exam)
    if dropped is None:
        exam.skip(name, why=NOT_LINEAR)
        return
    ratio, sums = dropped
    slack = exam.tolerance / LEAST
    if ((ratio - 1).abs() < slack).all():
        why = (
            "Training drops nothing: its probability is 0, or there is no"
            " dropout on the weights."
        )
        exam.skip(name, why=why)
        return
    zeros = bool((ratio.abs() <= slack).any())
    kept = ratio[ratio.abs() > slack]
    sound, weight = "0 or 1/(1-p) times", "fault"
    if not ratio.isfinite().all():
        meaning = "Dropout gives NaN."
    elif zeros and float(kept.std()) < slack:
        found = f"0 or {float(kept.mean()):.3g} times"
        exam.note(name, True, found, sound)
        return
    elif zeros:
        weight = "choice"
        meaning = (
            "The weights left do not grow alike: keys are dropped before"
            " softmax, as DropKey does on purpose."
        )
    elif float((sums - 1).abs().max()) > slack:
        meaning = "Training changes the output, but not by dropping weights."
    else:
        meaning = (
            "No weight becomes zero: scores are dropped, before softmax, and"
            " a score of 0 still has a share."
        )
    exam.fail(name, meaning, "other weights", sound, weight)


def _dropped(exam: Exam) -> tuple[Tensor, Tensor] | None:
    """What weights are multiplied by in six draws, and the sums of rows."""
    by_name = exam.held.dropout
    how: dict[str, Any] = {"dropout": 0.5} if by_name else {"train": True}
    ratios, sums = [], []
    for seed in range(6):
        Q, K, _ = exam.draw()
        # No weight is so small that its ratio is rounding.
        Q = Q / exam.factor / 10
        right = read_weights(exam, Q, K)
        ask = partial(exam.ask, seed=seed, **how)
        weights = read_weights(exam, Q, K, ask)
        if right is None or weights is None:
            return None
        ratios.append((weights / right)[right > LEAST])
        sums.append(weights.sum(-1))
    return torch.cat(ratios), torch.cat(sums)
