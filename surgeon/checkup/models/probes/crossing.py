"""Encoder and decoder: the source is read whole, and its padding is not."""

import torch

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.probes.padding import pads

PADDED, WHOLE = "source padding", "source read whole"


def probe_source(exam: ModelExam) -> None:
    """Every output by every token of the source; then padding behind it."""
    if exam.adapter.kind != "encoder-decoder":
        exam.skip(PADDED, WHOLE, why="It has no source beside its tokens.")
        return
    _probe_whole(exam)
    exam.trying = PADDED
    if exam.broken(WHOLE):
        exam.wait(PADDED, on=WHOLE)
        return
    if not exam.adapter.takes("source_mask"):
        exam.skip(PADDED, why=no_source_mask(exam))
        return
    right, left = (_padded(exam, side) for side in ("right", "left"))
    if (
        right > exam.share
        and _padded(exam, "right", together=False) <= exam.share
    ):
        exam.fail(
            PADDED,
            "A padded source is answered as without its padding in a batch of"
            " one, and not in a batch: the mask of another row is applied.",
            right,
            exam.share,
        )
    elif right > exam.share:
        exam.fail(
            PADDED,
            "With padding behind its source, the decoder answers otherwise:"
            " the padding is read.",
            right,
            exam.share,
        )
    elif left > exam.share:
        exam.fail(
            PADDED,
            "With padding in front of its source, the decoder answers"
            " otherwise: positions count the padding. Behind the source, it"
            " does nothing.",
            left,
            exam.share,
            "hazard",
        )
    exam.note(PADDED, True, max(right, left), exam.share)


def _probe_whole(exam: ModelExam) -> None:
    exam.trying = WHOLE
    asked = exam.question(1)
    assert asked.source is not None
    S = asked.source.shape[1]
    rows = asked.rows(*[0] * (S + 1))
    assert rows.source is not None
    each = torch.arange(S)
    rows.source[each + 1, each] = exam.others(asked.source)[0]
    told = exam.ask(rows)
    size = float(told[0].abs().max()) or 1.0
    moved = (told[1:] - told[0]).abs().amax(-1).T / size > exam.share
    total = f"{int(moved.sum())} of {moved.numel()}"
    if not moved.all():
        at, which = (int(x) for x in (~moved).nonzero()[0])
        exam.fail(
            WHOLE,
            f"Output {at} does not depend on token {which} of the source.",
            total,
            "all",
        )
    exam.note(WHOLE, True, total, "all")


def no_source_mask(exam: ModelExam) -> str:
    """Why padding of the source cannot be told."""
    mask = exam.adapter.names.get("mask")
    if not mask:
        return "It takes no mask of its source."
    return (
        f"{mask} is taken for the mask of its own tokens: if it is that of"
        f' the source, say names={{"source_mask": "{mask}"}}.'
    )


def _padded(exam: ModelExam, side: str, *, together: bool = True) -> float:
    """How far padded sources are from each alone, in a batch or not."""
    asked = exam.question(3)
    assert asked.source is not None
    S, worst = asked.source.shape[1], 0.0
    lengths = [S, S - 2, S - 4]
    for pad in pads(exam):
        source = torch.full_like(asked.source, pad)
        seen = torch.zeros_like(asked.source, dtype=torch.bool)
        for row, length in enumerate(lengths):
            start = 0 if side == "right" else S - length
            where = slice(start, start + length)
            source[row, where] = asked.source[row, :length]
            seen[row, where] = True
        batch = asked.but(source=source, source_seen=seen)
        parts = [[0, 1, 2]] if together else [[0], [1], [2]]
        told = torch.cat([exam.ask(batch.rows(*rows)) for rows in parts])
        for row, length in enumerate(lengths):
            alone = asked.rows(row).but(
                source=asked.source[row : row + 1, :length]
            )
            worst = max(worst, exam.off(told[row], exam.ask(alone)[0]))
    return worst
