"""A layer on `x` from outside: the same output, whatever else is asked?"""

import torch
from torch import Tensor

from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import causal
from surgeon.checkup.outside import Outside, T
from surgeon.checkup.probes.mask_shapes import MASK_SHAPES
from surgeon.checkup.probes.roads import ROADS, SLOPED, flags
from surgeon.checkup.subjects.answering import SubjectError

APART = (
    *MASK_SHAPES,
    "single precision",
    "autocast",
    "compiled",
)
ALONE = "It is asked where queries, keys and values are given apart."


def probe_layer_roads(exam: Outside) -> None:
    """With each of its flags, and with gradients: the same by each?

    Without a mask, and with a causal one.
    """
    exam.skip(*APART, why=ALONE)
    if broken := exam.broken(*READING, *FUTURE, "mask diagonal"):
        exam.wait(ROADS, on=broken)
        return
    masks = [causal(T)] if exam.held.takes_mask else []
    worst, named = 0.0, []
    ways: list[tuple[str, dict[str, bool]]] = [
        (f"With {name}={value}", {name: value})
        for name, value in flags(exam.layer)
    ]
    for said, more in [*ways, (SLOPED, {})]:
        for mask in (None, *masks):
            try:
                off = exam.off(
                    _asked(exam, exam.x, mask, more), exam.ask(exam.x, mask)
                )
            except SubjectError:  # a road that is closed
                continue
            worst = max(worst, off)
            named.append(said)
            if off > exam.slack:
                _fail(exam, mask, said, more, off)
                return
    if not named:
        exam.skip(ROADS, why="It answers by one road alone.")
    exam.note(ROADS, True, worst, exam.slack)


def _asked(
    exam: Outside, x: Tensor, mask: Tensor | None, more: dict[str, bool]
) -> Tensor:
    """The output where something else is asked for, too.

    Gradients, if nothing is.
    """
    question = exam.layer.compose(x, mask)
    question.extras.update(more)
    with torch.set_grad_enabled(not more):
        for sent in question.inputs.values():
            sent.requires_grad_(not more)
        return exam.layer.put(question).detach()


def _fail(
    exam: Outside,
    mask: Tensor | None,
    road: str,
    more: dict[str, bool],
    off: float,
) -> None:
    """In what the road differs: does its mask hide the last token?"""
    x = exam.x.clone()
    x[:, -1] *= -0.7
    still, now = (_asked(exam, z, mask, more)[:, :-1] for z in (exam.x, x))
    hides = mask is not None or exam.held.causal
    said = "the output is another."
    if hides and exam.off(now, still) > exam.slack:
        said = "outputs depend on later tokens: its mask is lost."
    exam.fail(ROADS, f"{road}, {said}", off, exam.slack)
