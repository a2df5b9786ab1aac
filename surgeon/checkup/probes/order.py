"""Calls in another order, with other lengths between: is anything kept?"""

from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs
from surgeon.checkup.subjects.answering import SubjectError

NAME = "same answer twice"
KEPT = (
    "The answer depends on what was asked before: something is kept between"
    " calls, "
)
SIZES = "under too few of its sizes."
HALF = "as it was made for half precision."
AFTER = "The answer depends on what was asked before: after other lengths, "
TRAINED = "While training, the answer depends on what was asked before"

# Queries and keys: shorter, longer, and back.
LENGTHS = ((3, 3), (13, 13), (5, 5), (3, 7), (13, 17), (2, 2), (13, 13))
# Lengths of queries that nobody asks with otherwise: the first comes new, the
# others after a question of as many keys, and after one in half precision.
NEW, AFTER_KEYS, AFTER_HALF, KEYS = 11, 14, 17, 19


def probe_order(exam: Exam) -> bool:
    """Whether answers are those of one who was never asked before.

    A module has copies that were not. A function has none: there, questions
    of one more query must be answered alike, whatever was asked before.
    """
    module, drawn = exam.subject.is_module, exam.generator.get_state()
    found = _beside_fresh(exam) if module else _beside_another(exam)
    exam.generator.set_state(drawn)  # as if nothing had been drawn
    if not found:
        return True
    said, off = found
    exam.retract(NAME)
    exam.fail(NAME, said, off, 0.0)
    exam.blocked = "Cannot be told while answers depend on the past."
    return False


def _asked(exam: Exam) -> Callable[..., Tensor]:
    """How it is asked: with its flag, where it draws a mask itself."""
    return exam.ask_causal if exam.held.causal else exam.ask


def _beside_fresh(exam: Exam) -> tuple[str, float | str] | None:
    """Lengths in turn, each beside a copy that was not asked before."""
    ask, used = _asked(exam), exam.subject
    for T, S in LENGTHS:
        if T != S and not exam.held.rectangular:
            continue
        inputs = exam.draw(T, S)
        exam.subject = used.fresh()
        try:
            fresh = ask(*inputs)
        except SubjectError:  # a size that it does not take
            continue
        finally:
            exam.subject = used
        try:
            now = ask(*inputs)
        except SubjectError as error:
            return f"{AFTER}it raises {error}", "an error"
        if not exam.agree(now, fresh):
            return KEPT + SIZES, exam.off(now, fresh)
    return _training_beside_fresh(exam)


def _training_beside_fresh(exam: Exam) -> tuple[str, float | str] | None:
    """In training mode, with the same draws: as one never asked before?"""
    ask, used, inputs = _asked(exam), exam.subject, exam.draw()
    exam.subject = used.fresh()
    try:
        fresh = ask(*inputs, train=True, seed=3)
    except SubjectError:  # told where it is tried
        return None
    finally:
        exam.subject = used
    try:
        now = ask(*inputs, train=True, seed=3)
    except SubjectError as error:
        return f"{TRAINED}, and it raises {error}", "an error"
    if exam.agree(now, fresh):
        return None
    return f"{TRAINED}: something is kept between calls.", exam.off(
        now, fresh
    )


def _beside_another(exam: Exam) -> tuple[str, float] | None:
    """Two lengths of queries, one of which is new: do both agree?"""
    if not exam.held.rectangular:
        return None
    try:
        new = _apart(exam, NEW)
        exam.ask(*exam.draw(AFTER_KEYS, AFTER_KEYS))
        after_keys = _apart(exam, AFTER_KEYS)
        after_half = new
        if exam.dtype == torch.float64 and _asks_in_halves(exam):
            after_half = _apart(exam, AFTER_HALF)
    except SubjectError:  # a size that it does not take
        return None
    for said, offs in ((SIZES, after_keys), (HALF, after_half)):
        for before, after in zip(new, offs, strict=True):
            if before <= exam.tolerance < after:
                return KEPT + said, after
    return None


def _asks_in_halves(exam: Exam) -> bool:
    try:
        exam.ask(*exam.draw(AFTER_HALF, KEYS, dtype=torch.bfloat16))
    except SubjectError:  # a precision that it does not take
        return False
    return True


def _apart(exam: Exam, T: int) -> tuple[float, float]:
    """How far answers move with a query more, ahead of them or behind.

    Rows hold still in one of both, if queries are apart: places are counted
    from the last key, or from the first.
    """
    Q, K, V = exam.draw(T + 1, KEYS, 1)
    alone = exam.ask(Q[:, :, 1:], K, V)
    ahead = exam.ask(Q, K, V)[:, :, 1:]
    behind = exam.ask(*_turned(Q, K, V))[:, :, :-1]
    size = max(1.0, float(alone.nan_to_num().abs().max()))
    return exam.off(ahead, alone) / size, exam.off(behind, alone) / size


def _turned(Q: Tensor, K: Tensor, V: Tensor) -> Inputs:
    return Q.roll(-1, 2), K, V
