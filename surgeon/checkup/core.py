"""Probes without a mask: which attention is this?"""

import math

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.forms import (
    Inputs,
    attend,
    factors,
    spread,
    weigh,
    wrong_cores,
)

CORE = (
    "batch elements apart",
    "heads apart",
    "grouped heads in order",
    "softmax over keys",
    "values in step with keys",
    "scale",
    "convex hull",
    "known form",
)


def probe_answers(exam: Exam) -> bool:
    """Whether it answers at all, in float64 or else in float32."""
    for dtype in (torch.float64, torch.float32):
        exam.dtype = dtype
        try:
            exam.ask(*exam.draw())
            coarse = dtype == torch.float64 and _is_coarse(exam)
        except Exception as error:  # whatever the subject raises
            said = reason(error)
        else:
            exam.dtype = torch.float32 if coarse else dtype
            told = (
                "float32, whatever comes"
                if coarse
                else str(dtype).removeprefix("torch.")
            )
            exam.note("answers", True, told, "an output")
            return True
    meaning = f"It raises an error, or returns something else: {said}"
    exam.note("answers", False, "an error", "an output", meaning)
    exam.skip_rest("Cannot be told: the subject does not answer.")
    return False


def _is_coarse(exam: Exam) -> bool:
    """Whether it computes in less than float64: a change of Q by one part in 10^10 is lost, one in 10^3 is not."""
    Q, K, V = exam.draw()
    still, nudged, moved = (
        exam.ask(Q * (1 + share), K, V) for share in (0.0, 1e-10, 1e-3)
    )
    lost = (nudged == still) & (moved != still)
    return bool(lost.double().mean() > 0.3)


def probe_repetition(exam: Exam) -> bool:
    """Whether the same question gets the same answer, whatever the random state and what was asked between."""
    inputs, others = exam.draw(), exam.draw()
    first = exam.ask(*inputs, seed=1)
    exam.ask(*others, seed=1)
    later = exam.off(exam.ask(*inputs, seed=1), first)
    again = max(
        exam.off(exam.ask(*inputs, seed=seed), first) for seed in (2, 3)
    )
    name, bound = "same answer twice", 0.0
    if first.isnan().any():
        exam.note(name, True, "NaN each time", bound)
    elif max(again, later) > exam.tolerance:
        random = later <= exam.tolerance
        meaning = (
            "The answer depends on the random state: dropout is active"
            " outside training."
            if random
            else (
                "The answer depends on what was asked before: something is"
                " kept between calls."
            )
        )
        exam.note(name, False, max(again, later), bound, meaning)
        why = (
            "Cannot be told while answers are random."
            if random
            else "Cannot be told while answers depend on the past."
        )
        exam.skip(
            "random state",
            why="The draws are those of a dropout that should be off.",
        )
        exam.blocked = why
        return False
    exam.note(name, True, again, bound)
    return True


def probe_core(exam: Exam) -> None:
    """Compare with the formula, then with the ways in which it goes wrong; what explains the answer names it."""
    subject = exam.subject
    for name, many in (
        ("heads apart", subject.heads > 1),
        ("grouped heads in order", subject.kv_heads < subject.heads),
    ):
        if not many or (name.startswith("grouped") and subject.kv_heads == 1):
            exam.skip(
                name,
                why=(
                    "There is one head."
                    if name == "heads apart"
                    else "No key heads are shared in groups."
                ),
            )
    inputs = exam.draw()
    got = exam.ask(*inputs)
    if exam.agree(got, exam.form()(*inputs)):
        _confirm(exam, inputs, got)
        return
    Q, K, V = inputs
    for factor, meaning in factors(
        exam.d_k, exam.d_v, subject.heads, K.shape[2]
    ):
        if not math.isclose(factor, exam.factor) and exam.agree(
            got, attend(Q, K, V, exam.base, factor=factor)
        ):
            _wrong_scale(exam, factor, meaning)
            return
    packed = "(H d)" in subject.layout
    for finding, meaning, form in wrong_cores(Q, K, V, exam.base, packed):
        if exam.agree(got, form(Q, K, V)):
            exam.overrule(finding, meaning)
            if finding == "grouped heads in order":
                exam.how["turns"] = True
                _pass_core(exam, "Holds, but for the order of the heads.")
            else:
                exam.blocked = f'Cannot be told while "{finding}" fails.'
                exam.skip(*CORE, why=exam.blocked)
            return
    _unknown(exam, inputs, got)


def _confirm(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """It is the formula, here. For other numbers of queries and keys, and one sequence, too?"""
    off = exam.off(got, exam.form()(*inputs))
    sizes = [(1, 1, 1), (3, 3, 1), (7, 7, 3)] + (
        [(3, 7, 2), (7, 3, 1)] if exam.subject.rectangular else []
    )
    for T, S, B in sizes if exam.base is None else ():
        others = exam.draw(T, S, B)
        try:
            good = exam.agree(exam.ask(*others), exam.form()(*others))
        except Exception:  # a size that it does not take
            continue
        if not good:
            meaning = (
                f"Right for some sizes, but not for {T} queries, {S} keys and"
                f" {B} sequences."
            )
            exam.note(
                "known form",
                False,
                "differs",
                "agrees with the formula",
                meaning,
            )
    exam.note("known form", True, off, exam.tolerance)
    exam.note("scale", True, _measured_factor(exam, inputs, got), exam.factor)
    exam.note(
        "convex hull",
        True,
        max(0.0, outside(got, inputs[2], exam.subject.heads)),
        0.0,
    )
    _pass_core(exam, "")


def _pass_core(exam: Exam, meaning: str) -> None:
    for name in CORE:
        exam.note(
            name,
            True,
            "agrees to rounding",
            "agrees with the formula",
            meaning,
        )


def _wrong_scale(exam: Exam, factor: float, meaning: str) -> None:
    exam.note("scale", False, factor, exam.meant, meaning)
    exam.how["factor"] = factor
    exam.skip(
        "scale before overflow",
        why="Cannot be told while the scale is wrong.",
    )
    _pass_core(exam, "Holds, but for the scale.")


def effective_weights(exam: Exam, V: Tensor, output: Tensor) -> Tensor | None:
    """What must have multiplied V, [B, H, T, S]; None where V is too narrow to tell."""
    if V.shape[2] > V.shape[3]:
        return None
    V = exam.spread(V)
    weights = output @ torch.linalg.pinv(V)
    return (
        weights
        if exam.off(weights @ V, output) < 1e3 * exam.tolerance
        else None
    )


def _measured_factor(exam: Exam, inputs: Inputs, got: Tensor) -> float | str:
    weights = effective_weights(exam, inputs[2], got)
    fitted = (
        None
        if weights is None or exam.base is not None
        else fit_factor(inputs[0], inputs[1], weights)
    )
    return "agrees to rounding" if fitted is None else fitted[0]


def fit_factor(
    Q: Tensor, K: Tensor, weights: Tensor
) -> tuple[float, float] | None:
    """By which factor raw scores explain the logarithm of the weights, and how badly; None if one is not positive."""
    if not (weights > 1e-12).all():
        return None
    raw = Q.double() @ spread(K.double(), Q.shape[1]).mT
    logs = weights.log()
    raw, logs = (
        raw - raw.mean(-1, keepdim=True),
        logs - logs.mean(-1, keepdim=True),
    )
    factor = float((raw * logs).sum() / raw.square().sum())
    return factor, float((logs - factor * raw).abs().max())


def _unknown(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """No hypothesis explains it: who mixes with whom, what is left of the weights, and where does the output lie?"""
    Q, K, V = inputs
    name, meaning = (
        "known form",
        "The output agrees with no known form of attention.",
    )
    measured: str | float = "differs"
    bound: str | float = "agrees with the formula"
    weights = effective_weights(exam, V, got)
    fitted = None if weights is None else fit_factor(Q, K, weights)
    if not got.isfinite().all():
        meaning = "Ordinary inputs give NaN or infinity."
    elif _reached(exam, inputs, got, 0):
        name, meaning = (
            "batch elements apart",
            "An output changes with another sequence of the batch.",
        )
    elif exam.subject.heads > 1 and _reached(exam, inputs, got, 1):
        name, meaning = (
            "heads apart",
            "An output of one head changes with the values of another.",
        )
    elif (
        fitted
        and fitted[1] < 1e4 * exam.tolerance
        and weights is not None
        and _sums(weights, exam)
    ):
        _wrong_scale(
            exam, fitted[0], "Scores are multiplied by an unusual factor."
        )
        return
    elif weights is not None and (
        order := _permutation(weights, weigh(Q, K, exam.base), exam)
    ):
        name, meaning = (
            "values in step with keys",
            f"The weight of each key goes to another key's value: {order}.",
        )
    elif (excess := outside(got, V, exam.subject.heads)) > 1e-6:
        name, measured, bound = "convex hull", excess, 0.0
        meaning = (
            "Outputs lie outside the values: the weights are no shares of"
            " one."
        )
        if (
            weights is not None
            and fitted
            and fitted[1] < 1e4 * exam.tolerance
        ):
            meaning = (
                f"{meaning} Rows sum to {float(weights.sum(-1).mean()):.3g}:"
                " the division by the sum is missing."
            )
    exam.note(name, False, measured, bound, meaning)
    exam.blocked = f'Cannot be told while "{name}" fails.'
    exam.skip(*CORE, why=exam.blocked)


def _sums(weights: Tensor, exam: Exam) -> bool:
    return bool(((weights.sum(-1) - 1).abs() < 1e4 * exam.tolerance).all())


def _reached(exam: Exam, inputs: Inputs, got: Tensor, axis: int) -> bool:
    """Whether changing the last sequence (axis 0) or the last head's inputs (axis 1) changes another's output."""
    changed = [x.clone() for x in inputs]
    for x in changed:
        x.select(axis, -1).mul_(-0.7)
    group = exam.subject.heads // exam.subject.kv_heads if axis else 1
    rest = got.shape[axis] - group
    moved = (exam.ask(*changed) - got).narrow(axis, 0, rest).abs()
    return rest > 0 and not bool((moved <= exam.tolerance).all())


def _permutation(weights: Tensor, right: Tensor, exam: Exam) -> str:
    """Where each right column of weights is found, if all are found in other places."""
    gaps = (
        (weights.unsqueeze(-1) - right.unsqueeze(-2)).abs().amax((0, 1, 2))
    )  # [S, S]
    nearest, places = gaps.min(-1)
    found = places.tolist()
    if bool((nearest < 1e4 * exam.tolerance).all()) and sorted(found) == list(
        range(len(found))
    ):
        return ", ".join(
            f"{there} to {here}"
            for here, there in enumerate(found)
            if here != there
        )
    return ""


def outside(output: Tensor, V: Tensor, heads: int) -> float:
    """How far an output lies beyond the largest or smallest value of its column."""
    V = spread(V.double(), heads)
    over = (output - V.amax(2, keepdim=True)).clamp(min=0) + (
        V.amin(2, keepdim=True) - output
    ).clamp(min=0)
    return float(over.max())
