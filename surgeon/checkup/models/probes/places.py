"""Packed documents, places moved on, and texts beyond the table."""

import torch

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.subjects.answering import SubjectError

DOCUMENTS = "documents apart"
ALONG, BEYOND = "moving along", "beyond the table"
MOVED = 5


def probe_documents(exam: ModelExam) -> None:
    """Three texts in one row, and each alone."""
    exam.trying = DOCUMENTS
    adapter = exam.adapter
    named = adapter.takes("documents") or adapter.marks is not None
    if not exam.by_token or exam.kind == "encoder-decoder":
        exam.skip(DOCUMENTS, why="It packs no documents.")
        return
    if not named and (exam.base is None or adapter.marks is not None):
        exam.skip(DOCUMENTS, why="It is not told which document is whose.")
        return
    lengths = [exam.T - 4, 1, 3]
    asked = exam.question(1)
    which = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))[
        None
    ]
    starts = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = asked.but(documents=which) if named else asked
    if exam.base is not None:
        packed = packed.but(positions=starts + exam.base)
    told = exam.ask(packed)[0]
    single = torch.cat(
        [
            exam.ask(asked.piece(at, at + n))[0]
            for at, n in zip(
                (0, exam.T - 4, exam.T - 3), lengths, strict=True
            )
        ]
    )
    off = exam.off(told, single)
    if off <= exam.share:
        held = "" if named else "Positions that start anew keep them apart."
        exam.note(DOCUMENTS, True, off, exam.share, held)
        return
    ids = asked.ids.clone()
    ids[:, : lengths[0]] = exam.others(ids[:, : lengths[0]])
    moved = exam.ask(packed.but(ids=ids))[0]
    read = not exam.alike(moved[lengths[0] :], told[lengths[0] :])
    if not named:
        exam.skip(
            DOCUMENTS,
            why=(
                "Positions that start anew do not keep documents apart here,"
                " and no other way is known."
            ),
        )
        return
    meaning = (
        "A document is answered otherwise if the one before it, in the same"
        " row, has other words: it is read."
        if read
        else "No document reads another, and each is answered otherwise than"
        " alone: its positions do not start anew."
    )
    exam.fail(DOCUMENTS, meaning, off, exam.share)


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
