"""A layer on `x` whose projections are not known, asked from outside."""

import torch
from torch import Tensor

from surgeon.checkup.finding import LAWS, RAISES
from surgeon.checkup.forms import causal
from surgeon.checkup.outside import B, Outside, T
from surgeon.checkup.probes.answers import note_unlike
from surgeon.checkup.probes.core import NO_NUMBERS
from surgeon.checkup.probes.manners import (
    STRIDES,
    generators,
    note_written,
)
from surgeon.checkup.probes.sight import EVALUATING
from surgeon.checkup.probes.token_maps import probe_sight
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.surroundings import apart

UNKNOWN = (
    "Needs Q, K and V apart: name the module's projections to have it told."
)
SEEDS = (1, 2)


def examine_layer(exam: Outside) -> None:
    """Fill in every finding that needs no knowledge of the projections."""
    try:
        whole = exam.ask(exam.x)
    except SubjectError as error:
        meaning = f"It raises an error: {error}"
        exam.fail("answers", meaning, "an error", "an output")
        exam.skip_rest("Cannot be told: the subject does not answer.")
        return
    precision = str(exam.dtype).removeprefix("torch.")
    exam.note("answers", True, precision, "an output")
    slack = exam.tolerance * max(1.0, float(whole.abs().max()))
    try:
        if _answers_alike(exam, whole, slack):
            _differences(exam, whole, slack)
            _generator(exam)
            _inputs(exam)
            _order(exam, whole, slack)
            exam.trying = EVALUATING
            probe_sight(exam)
            if exam.held.padding:
                _padding(exam, slack)
    except SubjectError as error:  # now and then
        exam.break_off(
            "an error",
            f"It answers once, and then raises {error}",
            "Cannot be told: the subject does not answer each time.",
        )
    exam.skip_rest(UNKNOWN)


def _answers_alike(exam: Outside, whole: Tensor, slack: float) -> bool:
    """Whether the same question gets the same answer, of numbers."""
    name, x = "same answer twice", exam.x
    if not whole.isfinite().all():
        exam.fail("known form", NO_NUMBERS, "no number", "numbers")
        exam.wait(*LAWS, on="known form")
        return False
    later = float((exam.ask(x) - whole).abs().max())
    again = max(
        float((exam.ask(x, seed=s) - whole).abs().max()) for s in SEEDS
    )
    if max(again, later) <= slack:
        exam.note(name, True, again, 0.0)
        return True
    note_unlike(exam, max(again, later), by_chance=later <= slack)
    exam.skip_rest(exam.blocked)
    return False


def _differences(exam: Outside, whole: Tensor, slack: float) -> None:
    """Another sequence beside the first, and inputs laid out by columns."""
    x = exam.x
    other = torch.cat([x[:1], -0.7 * x[1:]])
    mixed = float((exam.ask(other)[0] - whole[0]).abs().max())
    batch = "An output changes with another sequence of the batch."
    exam.within("batch elements apart", mixed, slack, batch)
    off = float((exam.ask(x.mT.contiguous().mT) - whole).abs().max())
    exam.within("strided inputs", off, slack, STRIDES)


def _generator(exam: Outside) -> None:
    name = "random state"
    with apart(5):
        before = generators()
        exam.ask(exam.x, seed=None)
        after = generators()
    touched = [who for who in before if before[who] != after[who]]
    if touched:
        whose = " and ".join(touched)
        meaning = f"The global generator of {whose} is drawn from or seeded."
        exam.fail(name, meaning, ", ".join(touched), "untouched")
    exam.note(name, True, "untouched", "untouched")


def _inputs(exam: Outside) -> None:
    """Do `x` and the mask still hold what they held?"""
    layer, mask = exam.layer, causal(T) if exam.held.takes_mask else None
    for allowed in (mask, None):
        question = layer.compose(exam.x, allowed)
        try:
            with torch.no_grad():
                layer.put(question)
        except SubjectError:  # a mask that it refuses: told elsewhere
            if allowed is None:
                raise
            continue
        note_written(exam, question)
        return


def _order(exam: Outside, whole: Tensor, slack: float) -> None:
    """Tokens in another order give outputs in that order.

    Without a mask, and without positions.
    """
    if exam.held.causal:
        return
    order = torch.randperm(T, generator=exam.generator)
    off = float((exam.ask(exam.x[:, order]) - whole[:, order]).abs().max())
    if off > slack:
        meaning = (
            "The order of tokens matters without a mask: tokens are mixed"
            " where heads are split, or places are known."
        )
        exam.fail("known form", meaning, off, slack)


def _padding(exam: Outside, slack: float) -> None:
    """The last tokens of the first sequence are padding.

    Do they reach the others, and do the others reach each other?
    """
    name, x = "padding on keys", exam.x
    real = torch.ones(B, T, dtype=torch.bool)
    real[0, -2:] = False
    last, first = x.clone(), x.clone()
    last[0, -2:] *= -0.7
    first[0, 0] *= -0.7
    try:
        still, moved, seen = (
            exam.ask(z, padding=real)[0] for z in (x, last, first)
        )
    except SubjectError as error:
        exam.skip(name, why=f"{RAISES}{error}")
        return
    leaked = float((moved - still)[:-2].abs().max())
    sight = float((seen - still)[1:-2].abs().max())
    if not leaked <= slack:
        meaning = (
            "Padding reaches the tokens beside it: it hides nothing, or other"
            " keys."
        )
        exam.fail(name, meaning, leaked, slack)
    elif not sight > slack and not exam.held.causal:
        meaning = "Real tokens are hidden by the padding of others."
        exam.fail(name, meaning, "hidden", "seen")
    exam.note(name, True, leaked, slack)
