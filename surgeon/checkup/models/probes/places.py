"""Places moved on, and texts beyond the table."""

import torch

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.subjects.answering import SubjectError

ALONG, BEYOND = "moving along", "beyond the table"
MOVED = 5


def probe_moved(exam: ModelExam) -> None:
    """Where only distances count: all positions, so many further on."""
    exam.trying = ALONG
    kind = exam.adapter.positions
    if kind != "relative":
        said = (
            "Its positions are absolute."
            if kind
            else ("Nobody said whether its positions are relative.")
        )
        exam.skip(ALONG, why=said)
        return
    if exam.base is None or not exam.by_token:
        exam.skip(ALONG, why="It takes no positions that could be moved.")
        return
    asked = exam.question()
    places = torch.arange(exam.T).expand_as(asked.ids) + exam.base
    off = exam.off(
        exam.ask(asked.but(positions=places + MOVED)), exam.ask(asked)
    )
    exam.within(
        ALONG,
        off,
        f"With all positions {MOVED} further on, the answer is another,"
        " though only distances should count.",
    )


def probe_table(exam: ModelExam) -> None:
    """A text longer than the table of absolute positions."""
    exam.trying = BEYOND
    longest = exam.adapter.max_len
    if exam.adapter.positions != "absolute" or not longest:
        exam.skip(BEYOND, why="It was not said to have a table of positions.")
        return
    if longest > 4096:
        exam.skip(BEYOND, why="Its table is too long to be outgrown here.")
        return
    try:
        exam.ask(exam.question(1, longest + 1))
    except SubjectError as error:
        exam.note(BEYOND, True, f"{error}"[:60], "an error")
        return
    exam.fail(
        BEYOND,
        f"A text of {longest + 1} tokens is answered, though the table ends"
        f" at {longest}: positions are wrapped, cut off, or another's.",
        "answered",
        "an error",
        "hazard",
    )
