"""Alone, or in a batch: a row is answered alike."""

from surgeon.checkup.models.exam import ModelExam

LAW = "alone or in company"


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
    others = exam.question(5)
    others.ids[0] = five.ids[0]
    if others.source is not None and five.source is not None:
        others.source[0] = five.source[0]
    moved = exam.off(exam.ask(others)[0], whole[0])
    if moved > exam.share:
        meaning = (
            "A row's answer moves when other rows of its batch change: they"
            " are mixed somewhere, as by a norm or a mean over the batch."
        )
    else:
        meaning = (
            "A row is answered otherwise in a batch than alone, whoever is"
            " beside it: something depends on its place, or on their number."
        )
    exam.fail(LAW, meaning, worst, exam.share)
