"""Alone, or in a batch: a row is answered alike."""

from torch import Tensor

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.question import Question

LAW = "alone or in company"
TRIED = 3  # sets of neighbours, for each row


def probe_company(exam: ModelExam) -> None:
    """The same row in batches of 1, 2 and 5, at every place."""
    exam.trying = LAW
    five = exam.question(5)
    whole = exam.ask(five)
    single = [exam.alone(five, row) for row in range(5)]
    inside = max(exam.off(whole[row], single[row]) for row in range(5))
    turned = exam.ask(five.rows(2, 0, 4, 1, 3))
    places = max(
        exam.off(turned[at], single[row])
        for at, row in enumerate((2, 0, 4, 1, 3))
    )
    two = exam.ask(five.rows(3, 1))
    pair = max(exam.off(two[0], single[3]), exam.off(two[1], single[1]))
    worst = max(inside, places, pair)
    if worst <= exam.share:
        exam.note(LAW, True, worst, exam.share)
        return
    if _moved(exam, five, whole):
        meaning = (
            "A row's answer moves when other rows of its batch change: they"
            " are mixed somewhere, as by a norm or a mean over the batch."
        )
    else:
        meaning = (
            "A row is answered otherwise in a batch than alone, whoever was"
            " tried beside it: something depends on its place, or on their"
            " number."
        )
    exam.fail(LAW, meaning, worst, exam.share)


def _moved(exam: ModelExam, five: Question, whole: Tensor) -> bool:
    """Whether a row, whichever, moves when those beside it are others."""
    for row in range(5):
        for _ in range(TRIED):
            others = exam.question(5)
            others.ids[row] = five.ids[row]
            if others.source is not None and five.source is not None:
                others.source[row] = five.source[row]
            told = exam.ask(others)[row]
            if not exam.alike(told, whole[row]):
                return True
    return False
