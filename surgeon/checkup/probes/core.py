"""Probes without a mask: which attention is this?"""

import math

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, attend, spread, weigh
from surgeon.checkup.notes import AGREES, FORMULA
from surgeon.checkup.probes.hypotheses import factors, wrong_cores
from surgeon.checkup.subjects.answering import SubjectError

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
NO_NUMBERS = "Ordinary inputs give NaN or infinity."
SOLVED = 1e4  # tolerances, of what is computed back from an output


def probe_core(exam: Exam) -> None:
    """Compare with the formula, then with the ways in which it goes wrong.

    What explains the answer names it.
    """
    _skip_what_heads_lack(exam)
    inputs = exam.draw()
    got = exam.ask(*inputs)
    if exam.agree(got, exam.form()(*inputs)):
        _confirm(exam, inputs, got)
    elif not (_scaled(exam, inputs, got) or _named(exam, inputs, got)):
        _unknown(exam, inputs, got)


def _skip_what_heads_lack(exam: Exam) -> None:
    heads, kv_heads = exam.held.heads, exam.held.kv_heads
    if heads == 1:
        exam.skip("heads apart", why="There is one head.")
    if kv_heads in (1, heads):
        why = "No key heads are shared in groups."
        exam.skip("grouped heads in order", why=why)


def _confirm(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """It is the formula here. For other numbers of everything, too?"""
    off = exam.off(got, exam.form()(*inputs))
    sizes = [(1, 1, 1), (3, 3, 1), (7, 7, 3)]
    if exam.held.rectangular:
        sizes += [(3, 7, 2), (7, 3, 1)]
    for T, S, B in sizes if exam.base is None else ():
        others = exam.draw(T, S, B)
        try:
            good = exam.agree(exam.ask(*others), exam.form()(*others))
        except SubjectError:  # a size that it does not take
            continue
        if not good:
            exam.fail(
                "known form",
                f"Right for some sizes, but not for {T} queries, {S} keys and"
                f" {B} sequences.",
            )
    exam.note("known form", True, off, exam.tolerance)
    exam.note("scale", True, _measured_factor(exam, inputs, got), exam.factor)
    beyond = _outside(got, inputs[2], exam.held.heads)
    exam.note("convex hull", True, beyond, 0.0)
    exam.agrees(*CORE)


def _scaled(exam: Exam, inputs: Inputs, got: Tensor) -> bool:
    """Whether another factor explains it."""
    heads, keys = exam.held.heads, inputs[1].shape[2]
    for factor, meaning in factors(exam.d_k, exam.d_v, heads, keys):
        if math.isclose(factor, exam.factor):
            continue
        if exam.agree(got, attend(*inputs, exam.base, factor=factor)):
            _wrong_scale(exam, factor, meaning)
            return True
    return False


def _named(exam: Exam, inputs: Inputs, got: Tensor) -> bool:
    """Whether another known fault explains it."""
    packed = "(H d)" in exam.held.layout
    for finding, meaning, form in wrong_cores(inputs, exam.base, packed):
        if not exam.agree(got, form(*inputs)):
            continue
        exam.overrule(finding, meaning)
        if finding == "grouped heads in order":
            exam.how["turns"] = True
            but = "Holds, but for the order of the heads."
            exam.agrees(*CORE, meaning=but)
        else:
            _block(exam, finding)
        return True
    return False


def _block(exam: Exam, finding: str) -> None:
    """Nothing can be compared with the formula any more."""
    exam.blocked = f'Cannot be told while "{finding}" fails.'
    exam.skip(*CORE, why=exam.blocked)


def _wrong_scale(exam: Exam, factor: float, meaning: str) -> None:
    exam.fail("scale", meaning, factor, exam.meant)
    exam.how["factor"] = factor
    why = "Cannot be told while the scale is wrong."
    exam.skip("scale before overflow", why=why)
    exam.agrees(*CORE, meaning="Holds, but for the scale.")


def effective_weights(exam: Exam, V: Tensor, output: Tensor) -> Tensor | None:
    """What must have multiplied V, [B, H, T, S].

    None where V is too narrow to tell, or nothing multiplied it.
    """
    if V.shape[2] > V.shape[3]:
        return None
    V = exam.spread(V)
    weights = output @ torch.linalg.pinv(V)
    gap = exam.off(weights @ V, output)
    return weights if gap < 1e3 * exam.tolerance else None


def _measured_factor(exam: Exam, inputs: Inputs, got: Tensor) -> float | str:
    Q, K, V = inputs
    weights = effective_weights(exam, V, got) if exam.base is None else None
    fitted = None if weights is None else _fit_factor(Q, K, weights)
    return AGREES if fitted is None else fitted[0]


def _fit_factor(
    Q: Tensor, K: Tensor, weights: Tensor
) -> tuple[float, float] | None:
    """Which factor of raw scores explains the weights, and how badly.

    By their logarithm; None if one is not positive.
    """
    if not (weights > 1e-12).all():
        return None
    raw = Q.double() @ spread(K.double(), Q.shape[1]).mT
    raw, logs = (x - x.mean(-1, keepdim=True) for x in (raw, weights.log()))
    factor = float((raw * logs).sum() / raw.square().sum())
    return factor, float((logs - factor * raw).abs().max())


def _unknown(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """No hypothesis explains it.

    Who mixes with whom, what is left of the weights, and where does the
    output lie?
    """
    Q, K, V = inputs
    name = "known form"
    measured: str | float = "differs"
    bound: str | float = FORMULA
    meaning = "The output agrees with no known form of attention."
    weights = effective_weights(exam, V, got)
    fitted = None if weights is None else _fit_factor(Q, K, weights)
    softmax = fitted is not None and fitted[1] < SOLVED * exam.tolerance
    if not got.isfinite().all():
        meaning = NO_NUMBERS
    elif _reached(exam, inputs, got, 0):
        name = "batch elements apart"
        meaning = "An output changes with another sequence of the batch."
    elif exam.held.heads > 1 and _reached(exam, inputs, got, 1):
        name = "heads apart"
        meaning = "An output of one head changes with the values of another."
    elif softmax and fitted and _sums_to_one(weights, exam):
        unusual = "Scores are multiplied by an unusual factor."
        _wrong_scale(exam, fitted[0], unusual)
        return
    elif order := _permutation(weights, weigh(Q, K, exam.base), exam):
        name = "values in step with keys"
        meaning = (
            f"The weight of each key goes to another key's value: {order}."
        )
    elif (excess := _outside(got, V, exam.held.heads)) > 1e-6:
        name, measured, bound = "convex hull", excess, 0.0
        meaning = (
            "Outputs lie outside the values: the weights are no shares of"
            " one."
        )
        if softmax and weights is not None:
            meaning += _sums(weights, exam)
    exam.fail(name, meaning, measured, bound)
    _block(exam, name)


def _sums(weights: Tensor, exam: Exam) -> str:
    """What the rows of weights sum to, in words."""
    sums = weights.sum(-1)
    mean = float(sums.mean())
    if float(sums.std()) < SOLVED * exam.tolerance:
        return f" Every row sums to {mean:.3g}."
    return f" Rows sum to {mean:.3g}: the division by the sum is missing."


def _sums_to_one(weights: Tensor | None, exam: Exam) -> bool:
    if weights is None:
        return False
    gap = (weights.sum(-1) - 1).abs()
    return bool((gap < SOLVED * exam.tolerance).all())


def _reached(exam: Exam, inputs: Inputs, got: Tensor, axis: int) -> bool:
    """Whether a change of one sequence (axis 0) or head (1) moves others.

    The last one's inputs are changed.
    """
    changed = [x.clone() for x in inputs]
    for x in changed:
        x.select(axis, -1).mul_(-0.7)
    group = exam.held.heads // exam.held.kv_heads if axis else 1
    rest = got.shape[axis] - group
    moved = (exam.ask(*changed) - got).narrow(axis, 0, rest).abs()
    return rest > 0 and not bool((moved <= exam.tolerance).all())


def _permutation(weights: Tensor | None, right: Tensor, exam: Exam) -> str:
    """Where each right column of weights is, if all are in other places."""
    if weights is None:
        return ""
    gaps = (weights.unsqueeze(-1) - right.unsqueeze(-2)).abs()
    nearest, places = gaps.amax((0, 1, 2)).min(-1)  # of [S, S]
    found = places.tolist()
    close = bool((nearest < SOLVED * exam.tolerance).all())
    if not close or sorted(found) != list(range(len(found))):
        return ""
    moved = ((there, here) for here, there in enumerate(found))
    return ", ".join(f"{a} to {b}" for a, b in moved if a != b)


def _outside(output: Tensor, V: Tensor, heads: int) -> float:
    """How far an output lies beyond all values of its column."""
    V = spread(V.double(), heads)
    above = (output - V.amax(2, keepdim=True)).clamp(min=0)
    below = (V.amin(2, keepdim=True) - output).clamp(min=0)
    return float((above + below).max())
