"""Padding, on either side: a row is answered as it is alone."""

import math

import torch
from torch import Tensor

from surgeon.checkup.models.adapter import counted
from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import PADDING
from surgeon.checkup.models.question import Question

RIGHT, LEFT, COUNTED, EMPTY, GRADIENTS = PADDING


def padded(
    exam: ModelExam, asked: Question, lengths: list[int], side: str, pad: int
) -> Question:
    """Rows of these lengths, the rest of them padding."""
    B, T = len(lengths), asked.ids.shape[1]
    ids = torch.full((B, T), pad)
    seen = torch.zeros(B, T, dtype=torch.bool)
    for row, length in enumerate(lengths):
        where = real(length, T, side)
        ids[row, where] = asked.ids[row, :length]
        seen[row, where] = True
    return asked.but(ids=ids, seen=seen)


def real(length: int, T: int, side: str) -> slice:
    """Where a row's tokens are."""
    return slice(0, length) if side == "right" else slice(T - length, T)


def pads(exam: ModelExam) -> tuple[int, int]:
    """Two words to pad with, its own first."""
    own = exam.adapter.pad
    first = exam.words[0] if own is None else own
    return first, next(w for w in exam.words[1:] if w != first)


def settle_positions(exam: ModelExam) -> None:
    """From which position it counts, if it takes any."""
    if not exam.adapter.takes("positions") or not exam.by_token:
        return
    asked = exam.question()
    usual = exam.ask(asked)
    places = torch.arange(asked.ids.shape[1]).expand_as(asked.ids)
    for base in (exam.adapter.base, 0, 1, 2, (exam.adapter.pad or 0) + 1):
        if exam.alike(exam.ask(asked.but(positions=places + base)), usual):
            exam.base = base
            return


class Rows:
    """Three rows of several lengths, and what each is answered alone."""

    def __init__(self, exam: ModelExam, side: str) -> None:
        T = exam.T
        self.exam, self.side = exam, side
        self.lengths = [T, T - 2, T - 4]
        self.asked = exam.question(3, T)
        self.single = [
            exam.alone(self.asked.rows(row).start(length), 0)
            for row, length in enumerate(self.lengths)
        ]

    def question(self, pad: int, *, positions: bool) -> Question:
        asked = padded(self.exam, self.asked, self.lengths, self.side, pad)
        base = self.exam.base
        if positions and base is not None and asked.seen is not None:
            asked = asked.but(positions=counted(asked.seen, base))
        return asked

    def tokens(self, output: Tensor, row: int) -> Tensor:
        """What the real tokens of a row were answered."""
        where = real(self.lengths[row], output.shape[1], self.side)
        return output[row, where]

    def off(
        self, asked: Question, rows: tuple[int, ...] = (0, 1, 2)
    ) -> float:
        """How far rows in one batch are from each alone."""
        output = self.exam.ask(asked)
        return max(
            self.exam.off(self.tokens(output, row), self.single[row])
            for row in rows
        )

    def off_alone(self, asked: Question) -> float:
        """The same, each padded row in a batch of its own."""
        worst = 0.0
        for row in (1, 2):
            output = self.exam.ask(asked.rows(row))
            where = real(self.lengths[row], output.shape[1], self.side)
            worst = max(
                worst, self.exam.off(output[0, where], self.single[row])
            )
        return worst


def probe_padding(exam: ModelExam) -> None:
    """Right, left, without positions, an empty row, and gradients."""
    adapter = exam.adapter
    if adapter.kind == "encoder-decoder" and not (
        adapter.takes("mask") and adapter.takes("source_mask")
    ):
        # one mask alone may be that of the source, whatever it is called
        exam.skip(*PADDING, why="Its source is padded: source padding.")
        return
    if not adapter.takes("mask"):
        exam.skip(*PADDING, why="It takes no mask of padding.")
        return
    if exam.T < 6:
        exam.skip(*PADDING, why="Its texts are too short to be padded.")
        return
    _probe_side(exam, "right", RIGHT)
    if exam.broken(RIGHT):
        exam.wait(*PADDING[1:], on=RIGHT)
        return
    _probe_side(exam, "left", LEFT)
    _probe_counted(exam)
    if exam.faulty(LEFT):
        exam.wait(EMPTY, GRADIENTS, on=LEFT)
        return
    _probe_empty(exam)


def _probe_side(exam: ModelExam, side: str, law: str) -> None:
    """Three lengths in one batch, each alone, and two words for padding."""
    exam.trying = law
    rows, words = Rows(exam, side), pads(exam)
    first, second = (rows.question(pad, positions=True) for pad in words)
    together = max(rows.off(first), rows.off(second))
    apart = max(rows.off_alone(first), rows.off_alone(second))
    worst = max(together, apart)
    if worst <= exam.share:
        exam.note(law, True, worst, exam.share)
        return
    meaning = _cause(exam, rows, first, second, together, apart)
    weight = "fault"
    # few pad an encoder in front, or a decoder beside a source
    rare = exam.kind in ("encoder", "encoder-decoder")
    if side == "left" and rare and "count" in meaning:
        weight = "hazard"
    exam.fail(law, meaning, worst, exam.share, weight)


def _cause(
    exam: ModelExam,
    rows: Rows,
    first: Question,
    second: Question,
    together: float,
    apart: float,
) -> str:
    """Why a padded row is not answered as alone."""
    if math.isinf(together):
        return "Tokens of a padded row are answered with NaN."
    if apart <= exam.share:
        unmasked = rows.off(first, (0,))
        beside = (
            " It is that of the first row, for all."
            if (
                unmasked <= exam.share
                and rows.off(first.rows(0, 0, 0), (0,)) <= exam.share
                and _of_first(exam, rows, first)
            )
            else ""
        )
        return (
            "A padded row is answered as alone in a batch of one, and not in"
            f" a batch: the mask of another row is applied.{beside}"
        )
    seen = first.seen
    assert seen is not None
    other = first.but(
        ids=torch.where(seen, first.ids, exam.others(first.ids))
    )
    if together <= exam.share:
        if _moves(exam, rows, first.rows(1), other.rows(1), (1,)):
            return (
                "A padded row alone in its batch is answered otherwise: there"
                " its padding is read, whatever the mask says."
            )
    elif _moves(exam, rows, first, other, (0, 1, 2)):
        return (
            "The padding is read: with other words in its place, the answer"
            " to the tokens is another, whatever the mask says."
        )
    return (
        "What stands in the padding does not count, and how much of it there"
        " is does: positions, or a sum, count the padding."
    )


def _moves(
    exam: ModelExam,
    rows: Rows,
    first: Question,
    other: Question,
    lengths: tuple[int, ...],
) -> bool:
    """Whether the tokens' answers move with the words in the padding."""
    one, moved = exam.ask(first), exam.ask(other)
    T = one.shape[1]
    return any(
        not exam.alike(moved[at, where], one[at, where])
        for at, n in enumerate(lengths)
        for where in [real(rows.lengths[n], T, rows.side)]
    )


def _of_first(exam: ModelExam, rows: Rows, asked: Question) -> bool:
    """Whether a batch is answered as if all had the first row's mask."""
    assert asked.seen is not None
    same = asked.but(seen=asked.seen[:1].expand_as(asked.seen))
    return exam.alike(exam.ask(same), exam.ask(asked))


def _probe_counted(exam: ModelExam) -> None:
    """Padded in front, and told no positions."""
    exam.trying = COUNTED
    if not exam.adapter.takes("positions") or exam.base is None:
        exam.skip(COUNTED, why="It takes no positions that say more.")
        return
    if exam.broken(LEFT):
        exam.wait(COUNTED, on=LEFT)
        return
    rows = Rows(exam, "left")
    asked = rows.question(pads(exam)[0], positions=False)
    worst = max(rows.off(asked), rows.off_alone(asked))
    exam.within(
        COUNTED,
        worst,
        "Padded in front, and told no positions, it counts the padding: a"
        " row's answer depends on how much there is.",
        "hazard",
    )


def _probe_empty(exam: ModelExam) -> None:
    """A row of padding alone, beside others."""
    exam.trying = EMPTY
    rows = Rows(exam, "right")
    asked = rows.question(pads(exam)[0], positions=True)
    assert asked.seen is not None
    full = exam.ask(asked)
    seen = asked.seen.clone()
    seen[1] = False
    output = exam.ask(asked.but(seen=seen))
    off = max(
        exam.off(rows.tokens(output, row), rows.tokens(full, row))
        for row in (0, 2)
    )
    if off > exam.share:
        exam.fail(
            EMPTY,
            "A row without a token changes what other rows are answered.",
            off,
            exam.share,
        )
    elif not output.isfinite().all():
        exam.fail(
            EMPTY,
            "A row without a token is answered with NaN; a mean over the"
            " batch is NaN, too.",
            "nan",
            "numbers",
            "hazard",
        )
    exam.note(EMPTY, True, off, exam.share)
