"""Masks of other shapes: for one sequence, for more keys, beside padding."""

from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.probes.padding import each_sight
from surgeon.checkup.probes.reading import (
    Ask,
    mask_by_chance,
    random_mask,
    shows,
    sight,
    sight_at_once,
)
from surgeon.checkup.subjects.answering import SubjectError

ONE, OBLONG, BOTH = "one mask for all", "rectangular mask", "mask and padding"
MASK_SHAPES = (ONE, OBLONG, BOTH)


def probe_one_mask(exam: Exam) -> None:
    """A mask [1, T, S] beside the same mask for each sequence."""
    held, subject = exam.held, exam.subject
    if not held.takes_mask or not held.mask_shape.startswith("B"):
        exam.skip(ONE, why="Its masks have no axis for the batch.")
        return
    inputs, mask = exam.draw(), random_mask(exam)
    each, alone = exam.ask(*inputs, mask), exam.ask(*inputs)
    question = subject.compose(*inputs, mask)
    name = question.mask_name
    question.extras[name] = question.extras[name][:1].clone()
    try:
        with torch.no_grad():
            got = subject.put(question, *inputs).output.double()
    except SubjectError as error:
        why = f"It refuses a mask with a batch of one: {error}"
        exam.skip(ONE, why=why)
        return
    off = exam.off(got, each)
    if exam.agree(got, each):
        exam.note(ONE, True, off, exam.tolerance)
        return
    meaning = "A mask with a batch of one acts otherwise than for each."
    if exam.agree(got[1:], alone[1:]):
        meaning = (
            "A mask with a batch of one hides nothing from the sequences"
            " after the first."
        )
    exam.fail(ONE, meaning, off, exam.tolerance)


def probe_oblong(exam: Exam) -> None:
    """Masks of fewer queries than keys, and of more: who sees whom?"""
    if not exam.held.takes_mask:
        exam.skip(OBLONG, why="The subject takes no mask of its caller.")
        return
    if not exam.held.rectangular:
        exam.skip(OBLONG, why=exam.held.why_square)
        return
    tried = []
    for T, S in ((3, 7), (7, 3), (1, 7)):
        inputs, mask = exam.draw(T, S), mask_by_chance(exam, T, S)
        if not exam.blocked and _as_shown_at_once(exam, inputs, mask):
            tried.append(f"{T} by {S}")
            continue
        one = "1 query" if T == 1 else f"{T} queries"
        where = f"With {one} and {S} keys"
        try:
            plain = sight(exam, inputs) > exam.tolerance
        except SubjectError:  # a size that it does not take
            continue
        try:
            seen = sight(exam, inputs, partial(exam.ask, allowed=mask))
        except SubjectError as error:
            why = f"{where}, it refuses a mask: {error}"
            exam.skip(OBLONG, why=why)
            return
        shown = seen > exam.tolerance
        if (shown & ~mask).any():
            meaning = f"{where}, what the mask hides is seen."
            leak = float(seen[~mask].max())
            exam.fail(OBLONG, meaning, leak, exam.tolerance)
        elif (plain & mask & ~shown).any():
            meaning = f"{where}, keys that the mask shows are not seen."
            exam.fail(OBLONG, meaning, "hidden", "seen")
        tried.append(f"{T} by {S}")
    if not tried:
        exam.skip(OBLONG, why="It takes as many keys as queries.")
    exam.note(OBLONG, True, ", ".join(tried), "as the mask shows")


def _as_shown_at_once(exam: Exam, inputs: Inputs, mask: Tensor) -> bool:
    """All keys in one batch: where all is well, each is seen as it should."""
    try:
        plain = sight_at_once(exam, inputs, exam.ask)
        shown = sight_at_once(exam, inputs, partial(exam.ask, allowed=mask))
    except SubjectError:  # it is heard alone, or wants other batches
        return False
    return shows(shown > exam.tolerance, plain > exam.tolerance, mask)


def probe_both(exam: Exam) -> None:
    """A mask, or the causal flag, and padding: is each obeyed?"""
    held, T = exam.held, exam.T
    if not held.padding or not held.can_be_causal:
        exam.skip(BOTH, why="It takes no mask and padding apart.")
        return
    inputs = exam.draw(T, T, T)
    # Sequences of different lengths, which begin late: what a causal mask
    # shows, padding hides.
    real = torch.arange(T) >= torch.arange(T)[:, None]
    mask, both = _masked(exam, real)
    words, keys = real[:, :, None], real[:, None]
    try:
        seen = each_sight(both, inputs)
    except SubjectError as error:
        exam.skip(BOTH, why=f"It refuses a mask beside padding: {error}")
        return
    plain = each_sight(exam.ask, inputs) > exam.tolerance
    shown = seen > exam.tolerance
    wanted = mask & keys
    if not (words & (shown & ~wanted | plain & wanted & ~shown)).any():
        told = "what both show"
        exam.note(BOTH, True, told, told)
        return
    fits = lambda pattern: not (words & plain & (shown ^ pattern)).any()
    meaning = "With a mask and padding, keys are seen that one of them hides."
    if fits(keys.expand_as(shown)):
        meaning = "Beside padding, the mask is lost."
    elif fits(mask.expand_as(shown)):
        meaning = "Beside a mask, padding is lost."
    elif not (words & shown & ~wanted).any():
        meaning = "With a mask and padding, keys are hidden that both show."
    exam.fail(BOTH, meaning, "its sight", "what both show")


def _masked(exam: Exam, real: Tensor) -> tuple[Tensor, Ask]:
    """A mask, and how it is asked with it: by its argument or by a flag."""
    if exam.held.takes_mask:
        mask = random_mask(exam)
        return mask, partial(exam.ask, allowed=mask, padding=real)
    return causal(exam.T), partial(exam.ask_causal, padding=real)
