"""Gradients: they are the slope, padding or checkpoints change nothing."""

from functools import partial

import torch
from torch import Tensor, nn

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import PADDING
from surgeon.checkup.models.probes.padding import Rows, pads
from surgeon.checkup.models.question import Question

GRADIENTS, CHECKPOINTING = "gradients", "checkpointing"
LEFT, WITH_PADDING = PADDING[1], PADDING[-1]
STEP = 1e-5  # of a parameter's size, in float64
SHORTER = 10  # so many times, to see whether the output bends
TRIED = 3  # questions
FINE = "Only a module that can be cast to float64 is asked for gradients."


def probe_learning(exam: ModelExam) -> None:
    """Three laws of gradients, in a copy in float64."""
    if not exam.subject.double or not exam.subject.parameters:
        exam.skip(GRADIENTS, CHECKPOINTING, WITH_PADDING, why=FINE)
        return
    _probe_slope(exam)
    _probe_padding(exam)
    _probe_checkpoints(exam)


def _probe_slope(exam: ModelExam) -> None:
    """By other questions, where one lies at a bend."""
    exam.trying = GRADIENTS
    if not any(_told_slope(exam) for _ in range(TRIED)):
        exam.skip(GRADIENTS, why="Cannot be told: slopes are too curved.")


def _told_slope(exam: ModelExam) -> bool:
    """The slope in one direction; where it is off, of each parameter.

    It is not told, and nothing noted, where a shorter step has another slope:
    there the output bends, as at the edge of a relu.
    """
    asked = exam.question()
    towards = exam.hidden(*exam.ask(asked).shape)
    found = exam.subject.gradients(asked, lambda out: (out * towards).sum())
    learn = exam.subject.parameters
    ways = {
        name: exam.hidden(*p.shape) * (float(p.detach().abs().mean()) or 1.0)
        for name, p in learn.items()
    }
    slopes = {
        name: 0.0 if g is None else float((g * ways[name]).sum())
        for name, g in found.items()
    }
    size = sum(abs(slope) for slope in slopes.values()) or 1.0
    # roundings of two answers over a step, and the curve of the output
    bound = max(1e-6, exam.share * float(towards.abs().sum()) / STEP)
    every = _measured(exam, asked, towards, ways)
    off = abs(every - sum(slopes.values())) / size
    if off <= bound:
        missing = sum(g is None for g in found.values())
        unused = f"{missing} are not used by this output." if missing else ""
        exam.note(GRADIENTS, True, off, bound, unused)
        return True
    nearer = _measured(exam, asked, towards, ways, STEP / SHORTER)
    if abs(every - nearer) / size > SHORTER * bound:
        return False
    wrong = {}
    for name in learn:
        one = _measured(exam, asked, towards, {name: ways[name]})
        off = abs(one - slopes[name]) / size
        if off > bound:
            wrong[name] = (off, one, slopes[name])
    if not wrong:
        return False
    lost_ones = [name for name in wrong if wrong[name][2] == 0.0]
    worst = max(lost_ones or wrong, key=lambda name: wrong[name][0])
    off, one, said = wrong[worst]
    lost = said == 0.0
    meaning = (
        f"{worst} gets no gradient, though the output depends on it: it is"
        " lost on the way."
        if lost
        else f"The gradient of {worst} is {said / one:.3g} of the slope."
    )
    if len(wrong) > 1:
        meaning += (
            f" In all, {len(wrong)} of {len(learn)} gradients are not the"
            " slope."
        )
    exam.fail(GRADIENTS, meaning, off, bound)
    return True


def _measured(
    exam: ModelExam,
    asked: Question,
    towards: Tensor,
    ways: dict[str, Tensor],
    far: float = STEP,
) -> float:
    """The slope of the output by a step to either side."""
    learn = exam.subject.parameters
    told = []
    for sign in (1, -1):
        with torch.no_grad():
            kept = {name: learn[name].clone() for name in ways}
            for name, way in ways.items():
                learn[name].add_(sign * far * way)
            try:
                told.append(exam.ask(asked))
            finally:
                for name, x in kept.items():
                    learn[name].copy_(x)
    return float(((told[0] - told[1]) * towards).sum()) / (2 * far)


def _probe_padding(exam: ModelExam) -> None:
    """Padded rows in one batch, and each alone: the same gradients."""
    exam.trying = WITH_PADDING
    if WITH_PADDING in exam.findings:
        return
    if broken := exam.broken(GRADIENTS, "a row of padding"):
        exam.wait(WITH_PADDING, on=broken)
        return
    front = exam.kind == "decoder" and LEFT in exam.findings
    front = front and bool(exam.findings[LEFT].passed)
    # in front of a causal text, padding is a query that sees nothing
    rows = Rows(exam, "left" if front else "right")
    asked = rows.question(pads(exam)[0], positions=True)
    width = rows.single[0].shape[-1]
    towards = [exam.hidden(length, width) for length in rows.lengths]

    def of_batch(output: Tensor) -> Tensor:
        told = [(rows.tokens(output, n) * towards[n]).sum() for n in range(3)]
        return torch.stack(told).sum()

    together = exam.subject.gradients(asked, of_batch)
    if lost := [
        name
        for name, g in together.items()
        if g is not None and not g.isfinite().all()
    ]:
        exam.fail(
            WITH_PADDING,
            f"With padded rows, the gradient of {lost[0]} is NaN, and that of"
            f" {len(lost)} of {len(together)} parameters.",
            "nan",
            "numbers",
        )
        return
    total: dict[str, Tensor | None] = {}
    for n, length in enumerate(rows.lengths):
        single = rows.asked.rows(n).start(length)
        grads = exam.subject.gradients(single, partial(_along, towards[n]))
        for name, g in grads.items():
            had = total.get(name)
            total[name] = g if had is None else had if g is None else had + g
    off, where = exam.gap(together, total)
    exam.within(
        WITH_PADDING,
        off,
        f"With padded rows, the gradient of {where} is not the sum of those"
        " of each row alone, though the answers are the same.",
    )


def _along(towards: Tensor, output: Tensor) -> Tensor:
    """A number of the first row of an output."""
    return (output[0] * towards).sum()


def _probe_checkpoints(exam: ModelExam) -> None:
    """Training with checkpoints and without, dropout drawn alike."""
    exam.trying = CHECKPOINTING
    switch = exam.subject.adapter.checkpointing
    if switch is None:
        exam.skip(CHECKPOINTING, why="How it is switched on is not known.")
        return
    if broken := exam.broken(GRADIENTS):
        exam.wait(CHECKPOINTING, on=broken)
        return
    subject, asked = exam.subject, exam.question()
    towards = exam.hidden(*exam.ask(asked).shape)
    other = subject.another()
    switch(other)
    if not isinstance(other, nn.Module):
        return

    def total(output: Tensor) -> Tensor:
        return (output * towards).sum()

    # What is computed again on the way back is so without `Raised`: both are.
    raised, subject.raised = subject.raised, False
    try:
        plain = subject.gradients(asked, total, training=True)
        saved = subject.gradients(asked, total, training=True, by=other)
    finally:
        subject.raised = raised
    off, where = exam.gap(saved, plain)
    lost = saved.get(where) is None and plain.get(where) is not None
    what = "is lost" if lost else "is another"
    exam.within(
        CHECKPOINTING,
        off,
        f"With checkpointing, in training, the gradient of {where} {what}.",
    )
