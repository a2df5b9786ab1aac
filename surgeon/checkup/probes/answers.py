"""Does it answer at all, and alike each time?"""

import torch

from surgeon.checkup.exam import Exam
from surgeon.checkup.notes import Notes
from surgeon.checkup.subjects.answering import SubjectError


def probe_answers(exam: Exam) -> bool:
    """Whether it answers at all, in float64 or else in float32."""
    said: SubjectError | None = None
    for dtype in (torch.float64, torch.float32):
        exam.dtype = dtype
        try:
            exam.ask(*exam.draw())
            coarse = dtype == torch.float64 and _is_lost(exam, 1e-10)
            exam.half = _is_lost(exam, 1e-5, 0.01)
        except SubjectError as error:
            said = error
            continue
        told = str(dtype).removeprefix("torch.")
        if coarse:
            exam.dtype, told = torch.float32, "float32, whatever comes"
        if exam.half:
            told = "half precision, whatever comes"
        exam.note("answers", True, told, "an output")
        return True
    meaning = f"It raises an error, or returns something else: {said}"
    exam.fail("answers", meaning, "an error", "an output")
    exam.skip_rest("Cannot be told: the subject does not answer.")
    return False


def _is_lost(exam: Exam, share: float, far: float = 0.0) -> bool:
    """Whether a change of Q by this share is rounded away.

    In a third of all numbers, and of those that a change by a tenth moves
    further than `far`: weights that are all but one hardly move.
    """
    Q, K, V = exam.draw()
    towards = exam.normal(*Q.shape).to(Q.dtype)
    still, nudged, moved = (
        exam.ask(Q + by * towards, K, V) for by in (0.0, share, 0.1)
    )
    lost = (nudged == still) & (moved != still)
    some = lost[(moved - still).abs() > far]
    return bool(lost.double().mean() > 0.3 and some.double().mean() > 0.3)


def probe_repetition(exam: Exam) -> bool:
    """Whether the same question gets the same answer.

    Whatever the random state, and whatever was asked in between.
    """
    name, inputs, others = "same answer twice", exam.draw(), exam.draw()
    first = exam.ask(*inputs, seed=1)
    exam.ask(*others, seed=1)
    later = exam.off(exam.ask(*inputs, seed=1), first)
    again = max(
        exam.off(exam.ask(*inputs, seed=seed), first) for seed in (2, 3)
    )
    if first.isnan().any():
        exam.note(name, True, "NaN each time", 0.0)
        return True
    if max(again, later) <= exam.tolerance:
        exam.note(name, True, again, 0.0)
        return True
    note_unlike(exam, max(again, later), by_chance=later <= exam.tolerance)
    return False


def note_unlike(notes: Notes, off: float, *, by_chance: bool) -> None:
    """Answers differ, by chance or by what was asked before."""
    if by_chance:
        notes.blocked = "Cannot be told while answers are random."
        meaning = (
            "The answer depends on the random state: dropout is active"
            " outside training."
        )
        why = "The draws are those of a dropout that should be off."
        notes.skip("random state", why=why)
    else:
        notes.blocked = "Cannot be told while answers depend on the past."
        meaning = (
            "The answer depends on what was asked before: something is kept"
            " between calls."
        )
    notes.fail("same answer twice", meaning, off, 0.0)
