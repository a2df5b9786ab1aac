"""Probes of arithmetic: large scores, half precision, gradients.

And what the weights that are handed back are worth.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import Inputs, attend, causal
from surgeon.checkup.probes.behaviour import NOT_LINEAR
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.subjects.answering import SubjectError, answer

LEAST = 0.01  # a weight that dropout is judged by
HALVES = (torch.float16, torch.bfloat16)


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


def probe_gradients(exam: Exam) -> None:
    """Of a weighted sum of the outputs, behind a causal mask if there is."""
    name, bound = "gradients", 10 * exam.tolerance
    masked = exam.held.takes_mask and not exam.broken(*READING, *FUTURE)
    allowed = causal(exam.T) if masked else None
    inputs = exam.draw()
    for x in inputs:
        x.requires_grad_()
    output = exam.subject.ask(*inputs, allowed).output
    if not output.requires_grad:
        meaning = "No gradient reaches the inputs."
        exam.fail(name, meaning, "none", "those of the formula")
        return
    direction = exam.normal(*output.shape)
    along = (output.double() * direction).sum()
    got = answer(torch.autograd.grad, along, inputs, materialize_grads=True)
    if not all(x.isfinite().all() for x in got):
        found = zip("QKV", got, strict=True)
        whose = ", ".join(n for n, x in found if not x.isfinite().all())
        meaning = f"The gradient of {whose} is NaN."
        exam.fail(name, meaning, "NaN", "finite")
        return
    if exam.blocked:
        _try_slopes(exam, inputs, allowed, direction, got)
        return
    twins = [x.detach().double().requires_grad_() for x in inputs]
    expected = (exam.form(allowed)(*twins) * direction).sum()
    right = torch.autograd.grad(expected, twins)
    gaps = {
        n: exam.off(a.double(), b) / max(1.0, float(b.abs().max()))
        for n, a, b in zip("QKV", got, right, strict=True)
    }
    worst = max(gaps.values())
    bad = ", ".join(n for n, gap in gaps.items() if gap > bound)
    if bad:
        meaning = f"The output is right, but the gradient of {bad} is not."
        exam.fail(name, meaning, worst, bound)
    exam.note(name, True, worst, bound)


def _try_slopes(
    exam: Exam,
    inputs: Inputs,
    allowed: Tensor | None,
    direction: Tensor,
    got: Sequence[Tensor],
) -> None:
    """Where the formula is not known: against differences of the output.

    Along a direction in which each input moves; central differences, whose
    step weighs what it leaves out against what it loses to rounding.
    """
    name, bound = "gradients", 1e-6
    if exam.dtype != torch.float64:
        why = "They are numbers; float32 is too coarse to try them by steps."
        exam.skip(name, why=why)
        return
    step = torch.finfo(exam.dtype).eps ** (1 / 3)
    plain = [x.detach() for x in inputs]
    gaps = {}
    for i, n in enumerate("QKV"):
        towards = exam.normal(*plain[i].shape)
        ends = []
        for sign in (1, -1):
            there = [*plain]
            there[i] = plain[i] + sign * step * towards
            Q, K, V = there
            output = exam.ask(Q, K, V, allowed)
            ends.append(float((output * direction).sum()))
        slope = (ends[0] - ends[1]) / (2 * step)
        along = float((got[i] * towards).sum())
        gaps[n] = abs(along - slope) / max(1.0, abs(slope))
    worst = max(gaps.values())
    bad = ", ".join(n for n, gap in gaps.items() if not gap <= bound)
    if bad:
        meaning = f"The gradient of {bad} is not the slope of the output."
        exam.fail(name, meaning, worst, bound)
    told = "The gradients are the slopes of the output."
    exam.note(name, True, worst, bound, told)


def probe_large_scores(exam: Exam) -> None:
    """Add 2000 to scores, or take it from them: softmax must not notice.

    To every score, or to every other row.
    """
    name, size = "large scores", 2000.0
    if exam.design.linear:
        exam.skip(name, why="It has no softmax that could overflow.")
        return
    # What rounding costs such scores, as `tolerance` has it for usual ones
    bound = exam.tolerance * (4 + 2 * size) / 32
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
        if off > bound:
            why = "they are cut off"
            if not got.isfinite().all():
                why = "the maximum of each row is not subtracted first"
            meaning = f"Scores {said} give wrong numbers: {why}."
            exam.fail(name, meaning, _or_nan(off), "no change")
            return
    exam.note(name, True, off, bound)


def _or_nan(off: float) -> float | str:
    return "NaN" if math.isinf(off) else off


def probe_overflow(exam: Exam) -> None:
    """float16: the product of Q and K is beyond 65504, scaled it is not."""
    name, d, bound = "scale before overflow", exam.d_k, 0.02
    if not math.isclose(exam.factor, 1 / math.sqrt(d)):
        exam.skip(name, why="The subject is meant to have another scale.")
    if exam.design.norm:
        why = "Queries and keys are normalised: their product has a bound."
        exam.skip(name, why=why)
    if d < 4:
        why = "Heads are so narrow that the scale makes no room."
        exam.skip(name, why=why)
    if exam.broken("large scores"):
        exam.wait(name, on="large scores")
    if name in exam.findings:
        return
    Q, K, V = exam.draw(dtype=torch.float16)
    # The largest score is 1.25 times the largest float16; scaled, it is
    # 1.25 / sqrt(d) of it.
    still = exam.design.still(d)
    size = math.sqrt(1.25 * torch.finfo(torch.float16).max / len(still))
    lower = 1 - 0.1 * torch.arange(exam.T, dtype=torch.float64)
    Q, K = torch.zeros_like(Q), torch.zeros_like(K)
    Q[..., still] = size
    K[..., still] = (size * lower)[:, None].half()
    try:
        got = exam.ask(Q, K, V)
    except SubjectError as error:
        exam.skip(name, why=f"It takes no float16 here: {error}")
        return
    off = exam.off(got, exam.form()(Q, K, V))
    if off > bound:
        meaning = (
            "Q is multiplied by K before it is scaled, and the product"
            " overflows float16."
        )
        exam.fail(name, meaning, _or_nan(off), bound, "hazard")
    exam.note(name, True, off, bound)


def probe_half(exam: Exam) -> None:
    """Many keys with small scores, in both half precisions.

    What is lost is measured in what rounding each stage once may cost.
    """
    name = "half precision"
    if exam.design.linear or exam.tokens:
        why = "It is tried with many keys, and softmax."
        exam.skip(name, why=why)
        return
    few = exam.held.rectangular and exam.base is None
    # Where queries must be as many, fewer of both: the sum of their powers is
    # beyond 256 all the same, up to where bfloat16 counts.
    S = 1021 if few else 521
    seen = None if exam.base is None else causal(S)
    shares: dict[torch.dtype, float] = {}
    refused: SubjectError | None = None
    for dtype in HALVES:
        for T in (3, S) if few else (S,):
            Q, K, V = exam.draw(T, S, 1)
            Q, K, V = (x.to(dtype) for x in (0.1 * Q, K, 1 + 0.2 * V))
            try:
                got = exam.ask(Q, K, V)
            except SubjectError as error:
                refused = error
                continue
            off = exam.off(got, attend(Q, K, V, seen, **exam.how))
            shares[dtype] = off / _budget(exam, Q, K, V)
            break
    if not shares:
        why = f"It takes no half precision here: {refused}"
        exam.skip(name, why=why)
        return
    worst = max(shares, key=lambda dtype: shares[dtype])
    if shares[worst] > 1:
        told = str(worst).removeprefix("torch.")
        meaning = (
            f"{told} loses more than rounding each stage once: a long sum is"
            " kept in half precision."
        )
        exam.fail(name, meaning, shares[worst], 1.0, "hazard")
    exam.note(name, True, shares[worst], 1.0)


def _budget(exam: Exam, Q: Tensor, K: Tensor, V: Tensor) -> float:
    """What it may cost to round each stage once.

    The scores, twice; powers, shares, sums and the output.
    """
    q, k, _ = exam.design.compared(Q.double(), K.double())
    k = exam.spread(k)
    stages = 4 + 2 * float((q @ k.mT).abs().max()) * exam.factor
    if exam.design.norm or exam.design.positions:  # more of them, in vectors
        lengths = (x.norm(dim=-1).max() for x in (q, k))
        stages += 4 * float(math.prod(lengths)) * exam.factor
    largest = float(V.double().abs().max())
    return torch.finfo(Q.dtype).eps * stages * largest


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
