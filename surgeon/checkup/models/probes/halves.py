"""Half precision: against float64, in units of one rounding a stage."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.question import Question
from surgeon.checkup.models.scores import Scores
from surgeon.checkup.subjects.answering import SubjectError

BFLOAT16, FLOAT16 = LAWS = ("bfloat16", "float16")
# Within a stage, a norm or an attention, some sixteen numbers are rounded one
# after the other, and their errors add up at worst.
WITHIN = 16


def probe_halves(exam: ModelExam) -> None:
    """The same rounded weights, in half precision and in float64."""
    if not exam.subject.double or not exam.subject.copied:
        exam.skip(*LAWS, why="Only a module that can be cast is asked.")
        return
    asked = exam.question()
    for law, dtype in ((BFLOAT16, torch.bfloat16), (FLOAT16, torch.float16)):
        exam.trying = law
        if broken := exam.broken(BFLOAT16):
            exam.wait(FLOAT16, on=broken)
            continue
        _probe(exam, asked, law, dtype)


def _probe(
    exam: ModelExam, asked: Question, law: str, dtype: torch.dtype
) -> None:
    model: Any = copy.deepcopy(exam.subject.model)
    rounded = model.to(dtype).double()
    with Scores(exam.T) as scores:
        wanted = exam.ask(asked, by=rounded)
    near = scores.near(law, torch.finfo(dtype).max)
    unit = max(_one_rounding(exam, asked, rounded, wanted, dtype), 1e-12)
    low = rounded.to(dtype)
    try:
        got = _in_half(exam, asked, low)
    except SubjectError as error:
        exam.skip(law, why=f"Cannot be told: it raises {error}")
        return
    off = exam.off(got, wanted)
    if math.isinf(off):
        exam.fail(
            law,
            f"In {law} it gives NaN, or infinite numbers: something"
            f" overflows. {near}",
            "nan",
            f"{WITHIN} roundings a stage",
            "hazard",
        )
        return
    exam.within(
        law,
        off / unit,
        f"In {law} it loses {off / unit:.3g} times what one rounding a stage"
        " costs: something that wants float32 is computed in half precision."
        f" {near}",
        "hazard",
        float(WITHIN),
        near,
    )


def _in_half(exam: ModelExam, asked: Question, model: Any) -> Tensor:
    """The model's answer in its own, low precision."""
    raised, exam.subject.raised = exam.subject.raised, False
    try:
        return exam.ask(asked, by=model)
    finally:
        exam.subject.raised = raised


def _one_rounding(
    exam: ModelExam,
    asked: Question,
    model: nn.Module,
    wanted: Tensor,
    dtype: torch.dtype,
) -> float:
    """What rounding the output of every stage once costs, at the most.

    A stage is a module without others in it, or with an output of its own.
    """

    def rounded(module: nn.Module, given: Any, output: Any) -> Any:
        if isinstance(output, Tensor) and output.is_floating_point():
            return output.to(dtype).to(output.dtype)
        return output

    handles = [m.register_forward_hook(rounded) for m in model.modules()]
    # `Raised` would undo the rounding
    raised, exam.subject.raised = exam.subject.raised, False
    try:
        return exam.off(exam.ask(asked, by=model), wanted)
    finally:
        exam.subject.raised = raised
        for handle in handles:
            handle.remove()
