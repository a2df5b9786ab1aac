"""A layer on `x` from outside: the same output, whatever else is asked?"""

import torch
from torch import Tensor

from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import causal
from surgeon.checkup.outside import Outside, T
from surgeon.checkup.probes.mask_shapes import MASK_SHAPES
from surgeon.checkup.probes.roads import ROADS, flags
from surgeon.checkup.subjects.answering import SubjectError

APART = (
    *MASK_SHAPES,
    "single precision",
    "autocast",
    "compiled",
)
ALONE = "It is asked where queries, keys and values are given apart."


def probe_layer_roads(exam: Outside) -> None:
    """With each of its flags: without a mask, and with a causal one."""
    exam.skip(*APART, why=ALONE)
    if broken := exam.broken(*READING, *FUTURE, "mask diagonal"):
        exam.wait(ROADS, on=broken)
        return
    masks = [causal(T)] if exam.held.takes_mask else []
    asked, worst = False, 0.0
    for name, value in flags(exam.layer):
        for mask in (None, *masks):
            try:
                got = _asked(exam, exam.x, mask, name, value)
            except SubjectError:  # a road that is closed
                continue
            off = exam.off(got, exam.ask(exam.x, mask))
            asked, worst = True, max(worst, off)
            if off > exam.slack:
                _fail(exam, mask, name, value, off)
                return
    if not asked:
        exam.skip(ROADS, why="It answers by one road alone.")
    exam.note(ROADS, True, worst, exam.slack)


def _asked(
    exam: Outside, x: Tensor, mask: Tensor | None, name: str, value: bool
) -> Tensor:
    """The output where something else is asked for, too."""
    question = exam.layer.compose(x, mask)
    question.extras[name] = value
    with torch.no_grad():
        return exam.layer.put(question)


def _fail(
    exam: Outside, mask: Tensor | None, name: str, value: bool, off: float
) -> None:
    """In what the road differs: does its mask hide the last token?"""
    x = exam.x.clone()
    x[:, -1] *= -0.7
    still, now = (
        _asked(exam, z, mask, name, value)[:, :-1] for z in (exam.x, x)
    )
    hides = mask is not None or exam.held.causal
    said = "the output is another."
    if hides and exam.off(now, still) > exam.slack:
        said = "outputs depend on later tokens: its mask is lost."
    exam.fail(ROADS, f"With {name}={value}, {said}", off, exam.slack)
