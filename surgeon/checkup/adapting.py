"""How a subject is held: what it takes is tried before it is examined."""

import itertools
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.probes.reading import (
    moved,
    random_mask,
    shows,
    sight,
)
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.conventions import MASKS


def settle(exam: Exam, layout: str | None) -> None:
    """The layout, the widths and the shape of masks that it takes."""
    first = exam.held
    ways = [first]
    if layout is None and first.layout == "B T d":
        by_heads = replace(first, layout="B H T d", heads=3, kv_heads=3)
        ways.append(by_heads)
    wide = exam.declared.width
    usual = (wide or exam.d_k, exam.d_v) if not first.widths else first.widths
    even = (wide or 8, wide or 8)
    widths = [usual] if first.widths else [usual, even]
    for way, width in itertools.product(ways, widths):
        exam.subject.held = way
        exam.resize(*width)
        if takes(exam):
            break
    else:
        exam.subject.held = first
        exam.resize(*usual)
    if exam.held.takes_mask and not exam.held.mask_shape:
        _settle_mask_shape(exam)


def _settle_mask_shape(exam: Exam) -> None:
    """The first shape of masks that it takes, or else the plainest."""
    by_heads = "H" in exam.held.layout
    for shape in (*(("B 1 T S",) if by_heads else ()), "B T S", "T S"):
        exam.subject.change(mask_shape=shape)
        if takes(exam, causal(exam.T)):
            return


def takes(exam: Exam, allowed: Tensor | None = None) -> bool:
    """Whether it answers, in float64 or else in float32."""
    for dtype in (torch.float64, torch.float32):
        try:
            exam.ask(*exam.draw(dtype=dtype), allowed)
        except SubjectError:
            continue
        return True
    return False


def settle_masks(exam: Exam, find: bool) -> None:
    """The convention, if it is asked for, and what a causal flag needs."""
    inputs = exam.draw()
    if not exam.held.takes_mask:
        return
    if find:
        _find_convention(exam, inputs)
    _settle_flag(exam)
    if (
        exam.held.causal is not True
        and not exam.half
        and _hides_unasked(exam, inputs)
    ):
        exam.subject.change(open_mask=True)


def _hides_unasked(exam: Exam, inputs: Inputs) -> bool:
    """Whether it is causal without a mask, and open with one of all ones."""
    Q, K, V = inputs
    last, T = V.clone(), exam.T
    last[:, :, -1] += 1
    off = moved(exam.ask(Q, K, last), exam.ask(Q, K, V))
    if float(off[:, :, :-1].max()) > exam.tolerance:
        return False
    everything = torch.ones(T, T, dtype=torch.bool)
    try:
        behind = sight(exam, inputs, partial(exam.ask, allowed=everything))
    except SubjectError:  # told where masks are tried
        return False
    alone = sight(exam, inputs) > exam.tolerance
    opened = behind > exam.tolerance
    return bool(torch.equal(alone, causal(T)) and opened.all())


def _find_convention(exam: Exam, inputs: Inputs) -> None:
    """Which convention the subject obeys; the first, if it obeys none.

    By who sees whom, whatever the form.
    """
    name, mask = "mask polarity", random_mask(exam)
    alone = sight(exam, inputs) > exam.tolerance
    for convention in MASKS:
        if convention == "additive, lowest":
            continue  # cannot be told from the other
        exam.subject.change(mask=convention)
        ask = partial(exam.ask, allowed=mask)
        try:
            shown = sight(exam, inputs, ask) > exam.tolerance
        except SubjectError:  # a convention that it does not take
            continue
        if shows(shown, alone, mask):
            told = f"Found out, not declared: {convention}."
            exam.note(name, None, convention, "", told)
            return
    exam.subject.change(mask=MASKS[0])


def _settle_flag(exam: Exam) -> None:
    """Whether the causal flag is but a hint, and wants its mask beside it."""
    if not isinstance(exam.held.causal, str) or _answers_by_flag(exam):
        return
    exam.subject.change(flag_beside_mask=True)
    if not _answers_by_flag(exam):
        exam.subject.change(flag_beside_mask=False)


def _answers_by_flag(exam: Exam) -> bool:
    """Whether the causal flag, as it is sent now, is answered at all."""
    try:
        exam.ask_causal(*exam.draw())
    except SubjectError:
        return False
    return True
