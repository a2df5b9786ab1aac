"""The course of an examination: which probe follows which, and why."""

from collections.abc import Callable
from dataclasses import replace

from surgeon.checkup.adapting import settle_masks, takes
from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import ALL_LAWS, FUTURE, LAWS, RAISES, READING
from surgeon.checkup.portrait import finish
from surgeon.checkup.probes.answers import probe_answers, probe_repetition
from surgeon.checkup.probes.behaviour import (
    probe_behaviour,
    probe_nobody_else,
)
from surgeon.checkup.probes.compiled import COMPILED, probe_compiled
from surgeon.checkup.probes.core import probe_core
from surgeon.checkup.probes.documents import probe_documents
from surgeon.checkup.probes.gradients import probe_gradients
from surgeon.checkup.probes.manners import (
    probe_inputs,
    probe_random_state,
    probe_strides,
)
from surgeon.checkup.probes.mask_shapes import (
    BOTH,
    MASK_SHAPES,
    OBLONG,
    ONE,
    probe_both,
    probe_oblong,
    probe_one_mask,
)
from surgeon.checkup.probes.numerics import (
    probe_dropout,
    probe_large_scores,
    probe_weights,
)
from surgeon.checkup.probes.order import probe_order
from surgeon.checkup.probes.padding import probe_padding
from surgeon.checkup.probes.precision import (
    AUTOCAST,
    SINGLE,
    probe_autocast,
    probe_coarse,
    probe_half,
    probe_overflow,
    probe_single,
)
from surgeon.checkup.probes.rectangular import probe_rectangular
from surgeon.checkup.probes.roads import ROADS, probe_roads
from surgeon.checkup.probes.rows import (
    probe_dead_rows,
    probe_outbid,
)
from surgeon.checkup.probes.settling import settle_design
from surgeon.checkup.probes.sight import (
    SIGHT,
    probe_always_causal,
    probe_future,
    probe_masks,
)
from surgeon.checkup.probes.widths import WIDE, WIDTHS, probe_width
from surgeon.checkup.subjects.answering import SubjectError

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
        settle_masks(exam, find)
        _probe(exam)
    except SubjectError as error:  # now and then
        meaning = f"It answers once, and then raises {error}"
        exam.break_off("an error", meaning, UNANSWERED)
    finish(exam)


def conduct_again(exam: Exam) -> None:
    """Where no fault was found, with other widths, if none were given.

    They may lead another way through the subject: fast programs take some
    alone, or equal ones. Everything with one of them, and in short with more.
    """
    # Products of features grow with their number: not with these widths.
    wide = exam.declared.width or (8 if exam.declared.linear else 0)
    if exam.held.widths or exam.faulty(*ALL_LAWS):
        return
    exam.trying = "everything again with other widths"
    twin = exam.twin(wide or WIDE)
    if exam.d_k == exam.d_v == twin.d_k or not takes(twin):
        return
    conduct(twin)
    _say_where(exam, twin)
    # Weights of a norm that were read off belong to one width.
    bound = getattr(exam.design.norm, "gains", None) is not None
    for width in () if exam.half or wide or bound else WIDTHS:
        other = exam.twin(width)
        other.found(exam)
        if exam.faulty(*ALL_LAWS) or exam.d_k == exam.d_v == width:
            return
        if takes(other):
            probe_width(other, exam.blocked)
            _say_where(exam, other)


def _say_where(exam: Exam, twin: Exam) -> None:
    """What fails with other widths, and not with the usual ones."""
    where = (
        f"So it is where d_k and d_v are both {twin.d_k}; with"
        f" {exam.d_k} and {exam.d_v} it holds."
    )
    held = exam.findings["known form"].passed
    for name, finding in twin.findings.items():
        meaning = f"{finding.meaning} {where}"
        if finding.passed is False and not exam.broken(name):
            exam.findings[name] = replace(finding, meaning=meaning)
        elif name == "known form" and held and not finding.passed:
            exam.overrule(name, meaning)  # there, it is another form


def _probe(exam: Exam) -> None:
    """All probes: what one cannot tell after another's finding waits."""
    exam.trying = "same answer twice"
    if not (probe_repetition(exam) and probe_order(exam)):
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
    elif broken := exam.faulty(*ALL_LAWS) or exam.broken(*ALL_LAWS):
        exam.wait(*LAWS, *exam.designed, on=broken)


def _probe_halves(exam: Exam) -> None:
    """What needs no comparison of numbers: what moves, and what does not."""
    _guarded(exam, probe_nobody_else, "batch elements apart")
    _guarded(exam, probe_inputs, "inputs unchanged")
    _guarded(exam, probe_random_state, "random state")
    if exam.held.can_be_causal:
        _guarded(exam, probe_future, *FUTURE)
    probe_coarse(exam)
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
    _probe_other_questions(exam)
    _guarded(exam, probe_weights, "weights returned")
    _guarded(exam, probe_gradients, "gradients")
    _guarded(exam, probe_dropout, "dropout after softmax")
    if not exam.blocked:  # needs the scores
        _guarded(exam, probe_overflow, "scale before overflow")
        if exam.broken("known form"):  # long texts may be wrong anyhow
            exam.wait("half precision", on="known form")
        if "half precision" not in exam.findings:
            _guarded(exam, probe_half, "half precision")
    if broken := exam.broken("large scores", "half precision"):
        exam.wait(SINGLE, AUTOCAST, on=broken)
    _guarded(exam, probe_single, SINGLE)
    if not exam.faulty(*ALL_LAWS):
        _guarded(exam, probe_compiled, COMPILED)
    if not exam.broken(SINGLE):
        _guarded(exam, probe_autocast, AUTOCAST)


def _probe_other_questions(exam: Exam) -> None:
    """The same asked in other ways, once masks are read at all."""
    if broken := exam.faulty(*READING, *FUTURE, "mask diagonal"):
        exam.wait(*MASK_SHAPES, ROADS, AUTOCAST, on=broken)
        return
    _guarded(exam, probe_one_mask, ONE)
    _guarded(exam, probe_oblong, OBLONG)
    _guarded(exam, probe_both, BOTH)
    if not exam.faulty(*MASK_SHAPES):
        _guarded(exam, probe_roads, ROADS)


def _guarded(exam: Exam, probe: Callable[[Exam], None], *names: str) -> None:
    """A probe that is answered with an error tells nothing but the error."""
    exam.trying = names[0]
    try:
        probe(exam)
    except SubjectError as error:
        exam.skip(*names, why=f"{RAISES}{error}")
