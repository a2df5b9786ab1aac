"""A layer on `x` whose projections are not known, asked from outside."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from surgeon.checkup.finding import LAWS, RAISES
from surgeon.checkup.forms import causal
from surgeon.checkup.outside import B, Outside, T
from surgeon.checkup.probes.answers import note_unlike
from surgeon.checkup.probes.documents import NAME as DOCUMENTS
from surgeon.checkup.probes.documents import probe_layer_documents
from surgeon.checkup.probes.gradients import NAME as GRADIENTS
from surgeon.checkup.probes.manners import (
    STRIDES,
    generators,
    note_written,
)
from surgeon.checkup.probes.roads import ROADS
from surgeon.checkup.probes.sight import EVALUATING
from surgeon.checkup.probes.token_maps import probe_sight
from surgeon.checkup.probes.token_roads import probe_layer_roads
from surgeon.checkup.probes.token_slopes import (
    probe_layer_gradients,
    remembers_lengths,
)
from surgeon.checkup.probes.unknown import NO_NUMBERS
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.models import attentions
from surgeon.checkup.subjects.projections import known_projections
from surgeon.checkup.subjects.surroundings import apart

UNKNOWN = (
    "Needs Q, K and V apart: name the module's projections to have it told."
)
SEEDS = (1, 2)


def examine_layer(exam: Outside, *, find: bool = False) -> None:
    """Fill in every finding that needs no knowledge of the projections.

    `find` whether the convention of its mask is to be found out.
    """
    try:
        exam.answered(exam.ask(exam.x))
    except SubjectError as error:
        meaning = f"It raises an error: {error}"
        if found := attentions(exam.layer.target):
            meaning = (
                f"{meaning.rstrip('.')}. It holds attentions: hand in"
                f" model{found[0]}."
            )
        exam.fail("answers", meaning, "an error", "an output")
        exam.skip_rest("Cannot be told: the subject does not answer.")
        return
    exam.portrait = _portrait(exam)
    precision = str(exam.dtype).removeprefix("torch.")
    exam.note("answers", True, precision, "an output")
    steps: dict[str, Callable[[Outside], None]] = {
        "batch elements apart": _batch,
        "strided inputs": _strides,
        "random state": _generator,
        "inputs unchanged": _inputs,
        "known form": _order,
        EVALUATING: partial(probe_sight, find=find),
        "padding on keys": _padding,
        DOCUMENTS: probe_layer_documents,
        ROADS: probe_layer_roads,
        GRADIENTS: probe_layer_gradients,
    }
    try:
        exam.trying = "same answer twice"
        for name, step in steps.items() if _answers_alike(exam) else ():
            exam.trying = name
            step(exam)
    except SubjectError as error:  # now and then
        meaning = f"It answers once, and then raises {error}"
        why = "Cannot be told: the subject does not answer each time."
        exam.break_off("an error", meaning, why)
    exam.skip_rest(
        f"Needs Q, K and V apart. {exam.aside}" if exam.aside else UNKNOWN
    )


def _portrait(exam: Outside) -> list[str]:
    """What is known of a layer from outside."""
    layer = exam.layer
    lines = ["Asked from outside: queries and keys are not seen."]
    if exam.aside:
        lines.append(exam.aside)
    if layer.extra:
        tokens = f"{layer.extra} token{'s' if layer.extra > 1 else ''}"
        where = "in front" if layer.front else "behind"
        lines.append(
            f"It adds {tokens} to the tokens it is given, {where}: their"
            " outputs are set aside."
        )
    return [*lines, *layer.said, *_beyond(exam)]


def _beyond(exam: Outside) -> list[str]:
    """What cannot be told so, and what would have it told."""
    target = exam.layer.target
    if exam.aside:
        return []
    rests = "What its weights rest on cannot be told so:"
    if not isinstance(target, nn.Module):
        return [f"{rests} hand in what it does with Q, K and V."]
    if found := known_projections(target):
        names = ", ".join(found)
        return [f"{rests} it is where projections are not False ({names})."]
    if inside := attentions(target):
        return [f"{rests} hand in model{inside[0]}, an attention in it."]
    return [
        f"{rests} name its projections, as in"
        ' projections=("q", "k", "v", "o").'
    ]


def _answers_alike(exam: Outside) -> bool:
    """Whether the same question gets the same answer, of numbers."""
    name, x = "same answer twice", exam.x
    if not exam.whole.isfinite().all():
        exam.fail("known form", NO_NUMBERS, "no number", "numbers")
        exam.wait(*LAWS, on="known form")
        return False
    later = exam.off(exam.ask(x), exam.whole)
    again = max(exam.off(exam.ask(x, seed=s), exam.whole) for s in SEEDS)
    if max(again, later) <= exam.slack:
        if remembers_lengths(exam):
            exam.skip_rest("Cannot be told while answers depend on the past.")
            return False
        exam.note(name, True, again, 0.0)
        return True
    by_chance = later <= exam.slack
    note_unlike(exam, max(again, later), by_chance=by_chance)
    exam.skip_rest(exam.blocked)
    return False


def _batch(exam: Outside) -> None:
    """Another sequence beside the first."""
    other = torch.cat([exam.x[:1], -0.7 * exam.x[1:]])
    mixed = exam.off(exam.ask(other)[0], exam.whole[0])
    meaning = "An output changes with another sequence of the batch."
    exam.within("batch elements apart", mixed, meaning)


def _strides(exam: Outside) -> None:
    """The same numbers, laid out in memory by columns."""
    off = exam.off(exam.ask(exam.x.mT.contiguous().mT), exam.whole)
    exam.within("strided inputs", off, STRIDES)


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


def _order(exam: Outside) -> None:
    """Tokens in another order give outputs in that order.

    Without a mask, and without positions.
    """
    if exam.held.causal:
        return
    order = torch.randperm(T, generator=exam.generator)
    off = exam.off(exam.ask(exam.x[:, order]), exam.whole[:, order])
    if off > exam.slack:
        meaning = (
            "The order of tokens counts without a mask: places are known, or"
            " tokens are mixed where heads are split. If no place is to"
            ' count, say so: positions="none".'
        )
        if exam.orderless:
            exam.fail("known form", meaning, off, exam.slack)
        exam.skip("known form", why=meaning)
        exam.portrait.append(meaning)


def _padding(exam: Outside) -> None:
    """The last tokens of the first sequence are padding.

    Do they reach the others, and do the others reach each other?
    """
    if not exam.held.padding:
        return
    name, x, slack = "padding on keys", exam.x, exam.slack
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
    leaked = exam.off(moved[:-2], still[:-2])
    sight = exam.off(seen[1:-2], still[1:-2])
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
