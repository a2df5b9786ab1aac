"""Probes of manners: what becomes of inputs and of the world.

And how memory is read.
"""

import random

import numpy as np
import torch

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.notes import Notes
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.subject import Question
from surgeon.checkup.subjects.surroundings import apart

STRIDES = "Inputs that are not contiguous are read as if they were."


def probe_strides(exam: Exam) -> None:
    """The same numbers, laid out in memory by columns, and permuted."""
    name, inputs = "strided inputs", exam.draw()
    right, offs, refused = exam.ask(*inputs), [], ""
    bound = exam.tolerance * max(1.0, float(right.nan_to_num().abs().max()))
    for how in ("columns", "permuted"):
        try:
            offs.append(exam.off(exam.ask(*inputs, strided=how), right))
        except SubjectError as error:
            refused = refused or str(error)
    if not offs:
        why = f"It refuses inputs that are not contiguous: {refused}"
        exam.skip(name, why=why)
        return
    meaning = STRIDES if max(offs) > bound else ""
    exam.note(name, not meaning, max(offs), bound, meaning)


def probe_inputs(exam: Exam) -> None:
    """Do Q, K, V and the mask still hold what they held?"""
    subject, inputs = exam.subject, exam.draw()
    masked = exam.held.takes_mask and not exam.broken("mask obeyed")
    allowed = causal(exam.T) if masked else None
    question = subject.compose(*inputs, allowed)
    with torch.no_grad():
        subject.put(question, *inputs)
    note_written(exam, question)


def note_written(notes: Notes, question: Question) -> None:
    """What was written into, of the question that was put."""
    name, written = "inputs unchanged", question.written()
    if written:
        meaning = f"It writes into {' and '.join(written)}."
        notes.fail(name, meaning, ", ".join(written), "unchanged")
    notes.note(name, True, "unchanged", "unchanged")


def probe_random_state(exam: Exam) -> None:
    """The global generators before and after an evaluation.

    And whether training seeds them.
    """
    name, inputs = "random state", exam.draw()
    if name in exam.findings:
        return
    before, after = _states(exam, inputs, 11)
    touched = [who for who in before if before[who] != after[who]]
    if touched:
        whose = " and ".join(touched)
        meaning = f"The global generator of {whose} is drawn from or seeded."
        exam.fail(name, meaning, ", ".join(touched), "untouched")
    elif exam.subject.is_module:
        _, one = _states(exam, inputs, 11, train=True)
        _, other = _states(exam, inputs, 12, train=True)
        seeded = [who for who in one if one[who] == other[who]]
        if seeded:
            meaning = (
                "While training, the global generator of"
                f" {' and '.join(seeded)} is seeded: every draw after it is"
                " the same."
            )
            exam.fail(name, meaning, ", ".join(seeded), "untouched")
    exam.note(name, True, "untouched", "untouched")


def _states(
    exam: Exam, inputs: Inputs, seed: int, train: bool = False
) -> tuple[dict, dict]:
    with apart(seed):
        before = generators()
        exam.ask(*inputs, seed=None, train=train)
        return before, generators()


def generators() -> dict[str, object]:
    """The states of everybody's global generators."""
    numpy = np.random.get_state(legacy=False)
    return {
        "PyTorch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"]),
        "Python": random.getstate(),
    }
