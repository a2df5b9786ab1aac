"""Heads of other widths: the short questions, where the long are answered."""

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import causal
from surgeon.checkup.probes.manners import probe_strides
from surgeon.checkup.subjects.answering import SubjectError

WIDE = 64  # where everything is asked again
WIDTHS = (8, 128, 256)


def probe_width(exam: Exam, blocked: str) -> None:
    """The formula, with a mask and without, and another place in memory.

    `blocked` why nothing can be compared with the formula, if nothing can.
    """
    try:
        if not blocked:
            _compare(exam)
        if not exam.broken("known form"):
            probe_strides(exam)
    except SubjectError:  # widths that it does not take
        return


def _compare(exam: Exam) -> None:
    inputs, held = exam.draw(), exam.held
    pairs = [(exam.ask(*inputs), exam.form(exam.base)(*inputs), "")]
    if held.can_be_causal:
        seen, got = causal(exam.T), exam.ask_causal(*inputs)
        behind = " behind a mask"
        pairs.append((got, exam.form(seen)(*inputs), behind))
    for got, right, where in pairs:
        if not exam.agree(got, right):
            meaning = f"The output{where} is another."
            exam.fail("known form", meaning, exam.off(got, right))
            return
