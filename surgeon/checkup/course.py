"""The course of an examination: which probe follows which, and why."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import ALL_LAWS, FUTURE, LAWS, RAISES
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.portrait import finish
from surgeon.checkup.probes.answers import probe_answers, probe_repetition
from surgeon.checkup.probes.behaviour import (
    probe_behaviour,
    probe_nobody_else,
)
from surgeon.checkup.probes.core import probe_core
from surgeon.checkup.probes.documents import probe_documents
from surgeon.checkup.probes.manners import (
    probe_inputs,
    probe_random_state,
    probe_strides,
)
from surgeon.checkup.probes.numerics import (
    probe_dropout,
    probe_gradients,
    probe_half,
    probe_large_scores,
    probe_overflow,
    probe_weights,
)
from surgeon.checkup.probes.reading import moved, sight
from surgeon.checkup.probes.rows import (
    probe_dead_rows,
    probe_outbid,
    probe_padding,
    probe_rectangular,
)
from surgeon.checkup.probes.settling import settle_design
from surgeon.checkup.probes.sight import (
    SIGHT,
    probe_always_causal,
    probe_future,
    probe_masks,
)
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.conventions import MASKS

# What must hold before a mask is tried row by row
MASKS_READ = (
    "mask obeyed",
    "mask polarity",
    "mask before softmax",
)
DEAD_ROWS = ("dead rows, forward", "dead rows, backward")
TOO_COARSE = (
    "It computes in half precision, whatever comes: too coarse to tell this."
)
UNANSWERED = "Cannot be told: the subject does not answer each time."


def conduct(exam: Exam, *, find: bool = False) -> None:
    """Fill in every finding of a subject that takes Q, K and V.

    `find` whether the convention of its mask is to be found out.
    """
    if not probe_answers(exam):
        return
    try:
        settle_design(exam)
        _settle_masks(exam, find)
        _probe(exam)
    except SubjectError as error:  # now and then
        meaning = f"It answers once, and then raises {error}"
        exam.break_off("an error", meaning, UNANSWERED)
    finish(exam)


def conduct_again(exam: Exam) -> None:
    """Where d_k and d_v differed and nothing was found: with equal widths.

    They may lead another way through the subject: PyTorch's flash kernel
    takes no others.
    """
    if exam.held.widths or exam.d_k == exam.d_v or exam.broken(*ALL_LAWS):
        return
    twin = Exam(exam.subject, exam.dead_rows, exam.alignment, exam.seed)
    twin.demanded = exam.demanded
    twin.declare(exam.declared)
    wide = exam.declared.width or 8
    twin.resize(wide, wide)
    if "factor" in exam.how:  # nothing is broken: it was declared
        twin.how["factor"] = twin.meant = exam.how["factor"]
    exam.trying = "everything again with equal widths"
    if not _takes(twin):
        return
    conduct(twin)
    where = (
        f"So it is where d_k and d_v are both {wide}; with"
        f" {exam.d_k} and {exam.d_v} it holds."
    )
    held = exam.findings["known form"].passed
    for name, finding in twin.findings.items():
        meaning = f"{finding.meaning} {where}"
        if finding.passed is False:
            exam.findings[name] = replace(finding, meaning=meaning)
        elif name == "known form" and held and not finding.passed:
            exam.overrule(name, meaning)  # there, it is another form


def _probe(exam: Exam) -> None:
    """All probes: what one cannot tell after another's finding waits."""
    exam.trying = "same answer twice"
    if not probe_repetition(exam):
        _guarded(exam, probe_inputs, "inputs unchanged")
        exam.skip_rest(exam.blocked)
        return
    if exam.half:
        _probe_halves(exam)
        return
    if exam.held.causal is not True or probe_always_causal(exam):
        exam.trying = "known form"
        probe_core(exam)
    under, exam.under = exam.under, ""
    _guarded(exam, probe_strides, "strided inputs")
    _guarded(exam, probe_inputs, "inputs unchanged")
    _guarded(exam, probe_random_state, "random state")
    exam.under = under
    if exam.blocked:
        _guarded(exam, probe_behaviour, "softmax over keys")
    _guarded(exam, probe_large_scores, "large scores")
    _guarded(exam, probe_masks, *SIGHT)
    _guarded(exam, probe_documents, "documents")
    _probe_what_is_left(exam)
    exam.under = ""
    if exam.blocked:
        exam.skip_rest(exam.blocked)
    elif broken := exam.broken(*ALL_LAWS):
        exam.wait(*LAWS, *exam.designed, on=broken)


def _probe_halves(exam: Exam) -> None:
    """What needs no comparison of numbers: what moves, and what does not."""
    _guarded(exam, probe_nobody_else, "batch elements apart")
    _guarded(exam, probe_inputs, "inputs unchanged")
    _guarded(exam, probe_random_state, "random state")
    if exam.held.can_be_causal:
        _guarded(exam, probe_future, *FUTURE)
    exam.skip_rest(TOO_COARSE)


def _probe_what_is_left(exam: Exam) -> None:
    """Edges of the mask, and arithmetic."""
    read = MASKS_READ if exam.blocked else (*MASKS_READ, "known form")
    if not exam.broken(*read):
        _guarded(exam, probe_padding, "padding on keys")
        if not exam.broken("padding on keys"):
            _guarded(exam, probe_outbid, "minus infinity")
            _guarded(exam, probe_dead_rows, *DEAD_ROWS)
    if not exam.broken("future, evaluating", "mask diagonal"):
        _guarded(exam, probe_rectangular, "rectangular causal")
    _guarded(exam, probe_weights, "weights returned")
    _guarded(exam, probe_gradients, "gradients")
    _guarded(exam, probe_dropout, "dropout after softmax")
    if not exam.blocked:  # needs the scores
        _guarded(exam, probe_overflow, "scale before overflow")
        _guarded(exam, probe_half, "half precision")


def _guarded(exam: Exam, probe: Callable[[Exam], None], *names: str) -> None:
    """A probe that is answered with an error tells nothing but the error."""
    exam.trying = names[0]
    try:
        probe(exam)
    except SubjectError as error:
        exam.skip(*names, why=f"{RAISES}{error}")


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
        if _takes(exam):
            break
    else:
        exam.subject.held = first
        exam.resize(*usual)
    if exam.held.takes_mask and not exam.held.mask_shape:
        _settle_mask_shape(exam)


def _settle_mask_shape(exam: Exam) -> None:
    """The first shape of masks that it _takes, or else the plainest."""
    by_heads = "H" in exam.held.layout
    for shape in (*(("B 1 T S",) if by_heads else ()), "B T S", "T S"):
        exam.subject.change(mask_shape=shape)
        if _takes(exam, causal(exam.T)):
            return


def _takes(exam: Exam, allowed: Tensor | None = None) -> bool:
    """Whether it answers, in float64 or else in float32."""
    for dtype in (torch.float64, torch.float32):
        try:
            exam.ask(*exam.draw(dtype=dtype), allowed)
        except SubjectError:
            continue
        return True
    return False


def _settle_masks(exam: Exam, find: bool) -> None:
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
    """Which convention the subject obeys; the first, if it obeys none."""
    name, mask = "mask polarity", causal(exam.T)
    for convention in MASKS:
        if convention == "additive, lowest":
            continue  # cannot be told from the other
        exam.subject.change(mask=convention)
        try:
            obeyed = exam.agree(
                exam.ask(*inputs, mask), exam.form(mask)(*inputs)
            )
        except SubjectError:  # a convention that it does not take
            continue
        if obeyed:
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
