"""Does it answer at all, and is evaluation quiet?"""

import random

import numpy as np
import torch
from torch import nn

from surgeon.checkup.models.exam import COARSE, ModelExam
from surgeon.checkup.models.laws import QUIET
from surgeon.checkup.subjects.answering import SubjectError

TWICE, KEPT, STATE, INPUTS = QUIET


def probe_answers(exam: ModelExam) -> bool:
    """Whether it answers; how finely, and whether token by token."""
    exam.trying = "answers"
    asked = exam.question()
    try:
        reply = exam.subject.settle(asked)
    except SubjectError as error:
        exam.break_off(
            f"{error}"[:60],
            f"It raises {error}",
            "Cannot be told: the model does not answer.",
        )
        return False
    output = reply.output.detach()
    if not output.isfinite().all():
        lost = int((~output.isfinite()).sum())
        exam.break_off(
            f"{lost} of {output.numel()}",
            "Random tokens, no padding among them, are answered with numbers"
            " that are none: NaN, or infinite.",
            "Cannot be told: the model answers with no numbers.",
        )
        return False
    T = asked.ids.shape[1]
    exam.by_token = output.shape[1] == T and not exam.adapter.pictures
    exam.share = exam.subject.rounding(asked)
    exam.note("answers", True, f"{list(output.shape)}", "finite numbers")
    return True


def probe_quiet(exam: ModelExam) -> None:
    """Nothing drawn, nothing kept, nothing written into."""
    exam.trying = TWICE
    asked = exam.question()
    # no state that a seed gives, lest whoever seeds give it again
    torch.rand(1), random.random(), np.random.rand()
    states = (
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),
    )
    try:
        first = exam.ask(asked, seed=None)
        second = exam.ask(asked, seed=None)
        drawn = not (
            torch.equal(states[0], torch.get_rng_state())
            and states[1] == random.getstate()
            and states[2] == str(np.random.get_state())
        )
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
    seeded = exam.off(exam.ask(asked), exam.ask(asked))
    off = exam.off(second, first)
    if off > exam.share and seeded <= exam.share and drawn:
        exam.fail(
            TWICE,
            "Asked twice, it answers otherwise, and alike if the generators"
            " are seeded alike: dropout, or another draw, is active in"
            " evaluation.",
            off,
            exam.share,
        )
        exam.wait(STATE, on=TWICE)
    else:
        _probe_kept(exam, max(off, seeded))
        exam.note(TWICE, True, 0.0 if off <= exam.share else "as kept")
    if drawn:
        exam.fail(
            STATE,
            "In evaluation a global generator is drawn from or seeded: what"
            " others draw is another's, or always the same.",
            "changed",
            "as before",
        )
    exam.note(STATE, True, "as before", "as before")
    _probe_inputs(exam)


def _probe_kept(exam: ModelExam, off: float) -> None:
    """Other questions between two that are the same; and a fresh copy."""
    exam.trying = KEPT
    first = exam.question()
    short = exam.question(1, max(1, exam.T - 2))
    wide = exam.question(exam.B + 1)
    more = [first.but(ids=exam.others(first.ids)), short, wide]
    if exam.adapter.takes("mask") and exam.by_token:
        seen = torch.ones_like(first.ids, dtype=torch.bool)
        seen[:, -2:] = False
        more.insert(0, first.but(seen=seen))
    before = exam.ask(first)
    others = [exam.ask(each) for each in more]
    off = max(off, exam.off(exam.ask(first), before))
    if isinstance(exam.subject.model, nn.Module) and exam.subject.copied:
        for each, told in zip(more, others, strict=True):
            fresh = exam.subject.fresh()
            off = max(off, exam.off(told, exam.ask(each, by=fresh)))
    exam.within(
        KEPT,
        off,
        "A question is answered otherwise after others than at first: the"
        " model keeps something from one call to the next.",
    )


def _probe_inputs(exam: ModelExam) -> None:
    """What was handed in must come out as it was."""
    exam.trying = INPUTS
    asked = exam.question()
    if exam.adapter.takes("mask") and exam.by_token:
        seen = torch.ones_like(asked.ids, dtype=torch.bool)
        seen[:, -2:] = False
        asked = asked.but(seen=seen)
    kept = asked.cloned()
    exam.ask(asked, cloned=False)
    if not torch.equal(kept.ids, asked.ids):
        exam.fail(
            INPUTS,
            "The tokens that were handed in are changed by the call.",
            "changed",
            "as before",
        )
    exam.note(INPUTS, True, "as before", "as before")


def too_coarse(exam: ModelExam) -> str:
    """Why nothing can be compared, if roundings hide it."""
    if exam.share <= COARSE:
        return ""
    return (
        f"Cannot be told: rounding may make {exam.share:.2g} of an answer in"
        " the precision that it computes in. Hand in the module itself,"
        " which is cast."
    )
