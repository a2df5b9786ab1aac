"""Probes of gradients: by the formula, or by steps; and while training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.reading import may_hide
from surgeon.checkup.subjects.answering import answer

NAME = "gradients"
SLOPE = 1e-6  # relative: what steps leave out, and lose to rounding
COARSE = 0.05  # the same of float32
OTHER = (
    "Where gradients are wanted, the output is another: theirs are those of"
    " that."
)
NOTHING_FLOWS = "No gradient reaches the inputs."
SLOPES = "The gradients are the slopes of the output."
NO_SLOPES = "They are numbers; float32 is too coarse to try them by steps."


def of_nan(whose: str) -> str:
    return f"The gradient of {whose} is NaN."


def not_the_slope(whose: str) -> str:
    return f"The gradient of {whose} is not the slope of the output."


def probe_gradients(exam: Exam) -> None:
    """Of a weighted sum of the outputs, behind a causal mask if there is."""
    allowed = may_hide(exam)
    inputs = exam.draw()
    direction = exam.normal(*inputs[0].shape[:3], inputs[2].shape[-1])
    if not exam.blocked and not _right(exam, inputs, allowed):
        exam.skip(NAME, why=OTHER)
        return
    got = _gradients(exam, inputs, allowed, direction)
    if got is None:
        exam.fail(NAME, NOTHING_FLOWS, "none", "those of the formula")
        return
    if not all(x.isfinite().all() for x in got):
        found = zip("QKV", got, strict=True)
        whose = ", ".join(n for n, x in found if not x.isfinite().all())
        exam.fail(NAME, of_nan(whose), "NaN", "finite")
        return
    if exam.blocked:
        _try_slopes(exam, inputs, allowed, direction, got)
    else:
        _try_formula(exam, inputs, allowed, direction, got)


def _right(exam: Exam, inputs: Inputs, allowed: Tensor | None) -> bool:
    """Whether the output is the formula's where gradients are wanted, too."""
    asked = [x.detach().clone().requires_grad_() for x in inputs]
    Q, K, V = asked
    output = exam.subject.ask(Q, K, V, allowed).output.detach().double()
    return exam.agree(output, exam.form(allowed)(*inputs))


def _gradients(
    exam: Exam,
    inputs: Inputs,
    allowed: Tensor | None,
    direction: Tensor,
    **how: Any,
) -> Sequence[Tensor] | None:
    """Those of the outputs, weighted; None where none flows."""
    asked = [x.detach().clone().requires_grad_() for x in inputs]
    Q, K, V = asked
    output = exam.subject.ask(Q, K, V, allowed, **how).output
    if not output.requires_grad:
        return None
    along = (output.double() * direction).sum()
    found: Sequence[Tensor] = answer(
        torch.autograd.grad, along, asked, materialize_grads=True
    )
    return found


def _try_formula(
    exam: Exam,
    inputs: Inputs,
    allowed: Tensor | None,
    direction: Tensor,
    got: Sequence[Tensor],
) -> None:
    bound = 10 * exam.tolerance
    twins = [x.detach().double().requires_grad_() for x in inputs]
    Q, K, V = twins
    expected = (exam.form(allowed)(Q, K, V) * direction).sum()
    right = torch.autograd.grad(expected, twins)
    gaps = {
        n: exam.off(a.double(), b) / max(1.0, float(b.abs().max()))
        for n, a, b in zip("QKV", got, right, strict=True)
    }
    bad = ", ".join(n for n, gap in gaps.items() if gap > bound)
    if bad:
        meaning = f"The output is right, but the gradient of {bad} is not."
        exam.fail(NAME, meaning, max(gaps.values()), bound)
        return
    if not _fails_while_training(exam, inputs, allowed, direction):
        exam.note(NAME, True, max(gaps.values()), bound)


def _try_slopes(
    exam: Exam,
    inputs: Inputs,
    allowed: Tensor | None,
    direction: Tensor,
    got: Sequence[Tensor],
) -> None:
    """Where the formula is not known: against differences of the output."""
    if exam.dtype != torch.float64:
        exam.skip(NAME, why=NO_SLOPES)
        return
    slopes = _slopes(exam, inputs, allowed, direction, got)
    gaps = {n: _gap(along, slope) for n, (along, slope) in slopes.items()}
    bad = ", ".join(n for n, gap in gaps.items() if not gap <= SLOPE)
    if bad:
        meaning = not_the_slope(bad)
        exam.fail(NAME, meaning, max(gaps.values()), SLOPE)
        return
    if not _fails_while_training(exam, inputs, allowed, direction):
        exam.note(NAME, True, max(gaps.values()), SLOPE, SLOPES)


def _gap(along: float, slope: float) -> float:
    return abs(along - slope) / max(1.0, abs(slope))


def _slopes(
    exam: Exam,
    inputs: Inputs,
    allowed: Tensor | None,
    direction: Tensor,
    got: Sequence[Tensor],
    **how: Any,
) -> dict[str, tuple[float, float]]:
    """What gradients say of a step in each input, and what it brings.

    By central differences, whose step weighs what it leaves out against what
    it loses to rounding.
    """
    step = torch.finfo(exam.dtype).eps ** (1 / 3)
    plain = [x.detach() for x in inputs]
    slopes = {}
    for i, n in enumerate("QKV"):
        towards = exam.normal(*plain[i].shape).to(plain[i].dtype)
        ends = []
        for sign in (1, -1):
            there = [*plain]
            there[i] = plain[i] + sign * step * towards
            Q, K, V = there
            output = exam.ask(Q, K, V, allowed, **how)
            ends.append(float((output * direction).sum()))
        along = float((got[i].double() * towards.double()).sum())
        slopes[n] = along, (ends[0] - ends[1]) / (2 * step)
    return slopes


def _fails_while_training(
    exam: Exam, inputs: Inputs, allowed: Tensor | None, direction: Tensor
) -> bool:
    """With dropout on, and the same weights dropped at every step."""
    held = exam.held
    how: dict[str, Any] = {"seed": 3, "train": True}
    if held.dropout:
        how = {"seed": 3, "dropout": 0.5}
    if exam.broken(*FUTURE, *READING):
        return False
    bound = SLOPE if exam.dtype == torch.float64 else COARSE
    if not held.dropout and not exam.subject.is_module:
        return False
    Q, K, V = inputs
    usual = exam.ask(Q, K, V, allowed)
    one, same = (exam.ask(Q, K, V, allowed, **how) for _ in range(2))
    if torch.equal(one, usual) or not torch.equal(one, same):
        return False  # nothing is dropped, or nobody knows what is
    got = _gradients(exam, inputs, allowed, direction, **how)
    if got is None:
        meaning = "While training, no gradient reaches the inputs."
        exam.fail(NAME, meaning, "none", "the slope of the output")
        return True
    slopes = _slopes(exam, inputs, allowed, direction, got, **how)
    gaps = {n: _gap(along, slope) for n, (along, slope) in slopes.items()}
    bad = [n for n, gap in gaps.items() if not gap <= bound]
    if not bad:
        return False
    shares = [slopes[n][0] / slopes[n][1] for n in bad]
    share = sum(shares) / len(shares)
    alike = all(
        abs(x - share) < max(1e-4, bound / 2) * abs(share) for x in shares
    )
    times = f"{share:.4g} times" if alike else "not"
    meaning = (
        f"While training, the gradient of {', '.join(bad)} is {times} the"
        " slope of the output, with the same weights dropped."
    )
    exam.fail(NAME, meaning, max(gaps.values()), bound)
    return True
