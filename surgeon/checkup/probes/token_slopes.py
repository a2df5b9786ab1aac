"""A layer on `x` from outside: other lengths in between, and gradients."""

import math

import torch
from torch import Tensor

from surgeon.checkup.outside import B, Outside, T
from surgeon.checkup.probes.gradients import (
    NAME,
    NO_SLOPES,
    NOTHING_FLOWS,
    SLOPES,
    not_the_slope,
    of_nan,
)
from surgeon.checkup.probes.order import AFTER, KEPT, SIZES
from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.layer import Layer

# Relative. A step may cross the kink of a ReLU: what that adds is rare, and
# about a share of the units, where what was cut off is a share of the slope.
KINKS = 1e-3
TRIES = 3


def remembers_lengths(exam: Outside) -> bool:
    """Lengths in turn: does it answer as a copy that was not asked before?

    A function has no copies: the first question is put once more.
    """
    name, drawn = "same answer twice", exam.generator.get_state()
    for tokens in (3, 13, T):
        x = _draw(exam, B, tokens)
        fresh = exam.layer.fresh()
        try:
            with torch.no_grad():
                wanted = fresh.ask(x)
        except SubjectError:  # a size that it does not take
            continue
        if not fresh.is_module:
            x, wanted = exam.x, exam.whole
        try:
            off = exam.off(exam.ask(x), wanted)
        except SubjectError as error:
            exam.fail(name, f"{AFTER}it raises {error}", "an error", 0.0)
            break
        if off > exam.tolerance * max(1.0, float(wanted.abs().max())):
            exam.fail(name, KEPT + SIZES, off, 0.0)
            break
    exam.generator.set_state(drawn)  # as if nothing had been drawn
    return bool(exam.broken(name))


def probe_layer_gradients(exam: Outside) -> None:
    """Those of `x`: numbers, and in float64 the slopes of the output."""
    found = _slope(exam.layer, exam.x, torch.ones_like(exam.whole))
    if found is None:
        exam.fail(NAME, NOTHING_FLOWS, "none", "the slope of the output")
        return
    if not found.isfinite().all():
        exam.fail(NAME, of_nan("x"), "NaN", "finite")
        return
    layer, gap = exam.layer.fresh(torch.float64), math.inf
    for _ in range(TRIES):
        if not gap <= KINKS:
            try:
                gap = _gap(exam, layer)
            except SubjectError:  # float64, which it does not take
                exam.skip(NAME, why=NO_SLOPES)
                return
    if not gap <= KINKS:
        exam.fail(NAME, not_the_slope("x"), gap, KINKS)
    exam.note(NAME, True, gap, KINKS, SLOPES)


def _gap(exam: Outside, layer: Layer) -> float:
    """What a gradient says of a step, against what the step brings."""
    x, towards = (_draw(exam, B, T).double() for _ in range(2))
    along = torch.randn(
        exam.whole.shape, generator=exam.generator, dtype=torch.float64
    )
    found = _slope(layer, x, along)
    assert found is not None
    step = torch.finfo(torch.float64).eps ** (1 / 3)
    with torch.no_grad():
        ends = [layer.ask(x + by * towards) for by in (step, -step)]
    brought = float(((ends[0] - ends[1]) * along).sum()) / (2 * step)
    return abs(float((found * towards).sum()) - brought) / abs(brought)


def _slope(layer: Layer, x: Tensor, along: Tensor) -> Tensor | None:
    """The gradient of the outputs, weighted; None where none flows."""
    x = x.clone().requires_grad_()
    with torch.enable_grad():
        output = layer.ask(x)
        if not output.requires_grad:
            return None
        total = (output * along).sum()
    how = {"materialize_grads": True}
    found: Tensor = answer(torch.autograd.grad, total, x, **how)[0]
    return found


def _draw(exam: Outside, sequences: int, tokens: int) -> Tensor:
    x = torch.randn(
        sequences,
        tokens,
        exam.layer.width,
        generator=exam.generator,
        dtype=torch.float64,
    )
    return x.to(exam.dtype)
