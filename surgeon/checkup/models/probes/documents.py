"""Packed documents: each is answered as it is alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.question import Question
from surgeon.checkup.subjects.answering import SubjectError

DOCUMENTS = "documents apart"
BOOLEANS, ADDITIVE = FORMS = (
    "a mask [B, 1, T, T] of booleans",
    "an additive mask [B, 1, T, T]",
)
ANEW = "positions that start anew"
READ = (
    "A document is answered otherwise if the one before it, in the same row,"
    " has other words: it is read."
)


class Packed:
    """Two rows of three texts each, and what each text is answered alone."""

    def __init__(self, exam: ModelExam) -> None:
        T = exam.T
        self.exam = exam
        self.asked = exam.question(2)
        cuts = ([T - 4, 1, 3], [2, T - 4, 2])
        each = torch.arange(3)
        self.which = torch.stack(
            [torch.repeat_interleave(each, torch.tensor(cut)) for cut in cuts]
        )
        self.places = torch.stack(
            [torch.cat([torch.arange(n) for n in cut]) for cut in cuts]
        )
        self.firsts = [cut[0] for cut in cuts]
        self.single = torch.stack(
            [self._alone(row, cut) for row, cut in enumerate(cuts)]
        )

    def _alone(self, row: int, cut: list[int]) -> Tensor:
        """What the texts of a row are answered, one after the other."""
        told, at = [], 0
        for n in cut:
            piece = self.asked.rows(row).piece(at, at + n)
            told.append(self.exam.ask(piece)[0])
            at += n
        return torch.cat(told)

    def question(self, rows: int, *, anew: bool = True) -> Question:
        """The first rows, told positions, if it takes any."""
        asked, base = self.asked, self.exam.base
        if anew and base is not None:
            asked = asked.but(positions=self.places + base)
        return asked.rows(*range(rows))

    def off(self, asked: Question) -> float:
        told = self.exam.ask(asked)
        return self.exam.off(told, self.single[: len(told)])

    def read(self, asked: Question) -> bool:
        """Whether other words in a row's first text move the others."""
        exam, ids = self.exam, asked.ids.clone()
        for row, n in enumerate(self.firsts[: len(ids)]):
            ids[row, :n] = exam.others(ids[row, :n])
        told, moved = exam.ask(asked), exam.ask(asked.but(ids=ids))
        return not all(
            exam.alike(moved[row, n:], told[row, n:])
            for row, n in enumerate(self.firsts[: len(ids)])
        )


def probe_documents(exam: ModelExam) -> None:
    """Texts in one row, told apart in each way that the model takes."""
    exam.trying = DOCUMENTS
    adapter = exam.adapter
    named = adapter.takes("documents") or adapter.marks is not None
    if not exam.by_token or exam.kind == "encoder-decoder":
        exam.skip(DOCUMENTS, why="It packs no documents.")
        return
    if exam.T < 6:
        exam.skip(DOCUMENTS, why="Its texts are too short to be packed.")
        return
    forms = _forms(exam)
    if not named and exam.base is None and not forms:
        exam.skip(DOCUMENTS, why="It is not told which document is whose.")
        return
    packed = Packed(exam)
    worst, kept, beside = 0.0, [], ""
    if named:
        asked = packed.question(1).but(documents=packed.which[:1])
        worst = packed.off(asked)
        if worst > exam.share:
            exam.fail(DOCUMENTS, _cause(packed, asked), worst, exam.share)
            return
        kept.append("what it is told of documents")
    elif exam.base is not None:
        off = packed.off(packed.question(1))
        if off <= exam.share:
            worst, beside = off, _beside_ones(packed)
            kept.append(ANEW)
    for form in forms:
        more = _block_mask(exam, form, packed.which)
        asked = packed.question(2).but(more=more)
        off = packed.off(asked)
        if off > exam.share:
            meaning = f"Told by {form}: {_cause(packed, asked, form)}"
            exam.fail(DOCUMENTS, meaning, off, exam.share)
            return
        worst = max(worst, off)
        kept.append(form)
    if kept:
        held = f"Kept apart by {', and by '.join(kept)}.{beside}"
        exam.note(DOCUMENTS, True, worst, exam.share, held)
        return
    exam.skip(
        DOCUMENTS,
        why=(
            "Positions that start anew do not keep documents apart here, and"
            " no other way is known."
        ),
    )


def _beside_ones(packed: Packed) -> str:
    """Whether positions keep apart beside a mask without padding, too."""
    exam, asked = packed.exam, packed.question(1)
    if not exam.adapter.takes("mask"):
        return ""
    ones = torch.ones_like(asked.ids, dtype=torch.bool)
    if packed.off(asked.but(seen=ones)) <= exam.share:
        return ""
    return (
        " Beside a mask of ones, positions that start anew do not: leave that"
        " mask out."
    )


def _cause(packed: Packed, asked: Question, form: str = "") -> str:
    """Whether a document is read, or what else moves its answer."""
    if packed.read(asked):
        return READ
    if form:
        return (
            "No document reads another, and each is answered otherwise than"
            " alone: a query sees less than its own document, or what"
            " another row may see."
        )
    return (
        "No document reads another, and each is answered otherwise than"
        " alone: its positions do not start anew."
    )


def _forms(exam: ModelExam) -> list[str]:
    """As what it takes a mask of who may see whom, if as anything.

    It does if a mask of what it hides by itself changes nothing, in a text
    that no window hides a token of, and one of all but the token itself does.
    """
    adapter, longest = exam.adapter, exam.T - 4
    placed = exam.base is not None or adapter.positions == "relative"
    window = adapter.window or exam.T
    causal = exam.kind == "decoder"
    fits = longest <= window or (causal and bool(adapter.layers))
    sure = causal or (exam.kind == "encoder" and not adapter.window)
    if not (adapter.takes("mask") and placed and fits and sure):
        return []
    asked = exam.question(2, min(exam.T, window))
    whole, taken = exam.ask(asked), []
    one = torch.zeros_like(asked.ids)
    each = torch.arange(asked.ids.shape[1]).expand_as(asked.ids)
    for form in FORMS:
        try:
            same, alone = (
                exam.ask(asked.but(more=_block_mask(exam, form, which)))
                for which in (one, each)
            )
        except SubjectError:
            continue
        if exam.alike(same, whole) and not exam.alike(alone, whole):
            taken.append(form)
    return taken


def _block_mask(
    exam: ModelExam, form: str, which: Tensor
) -> Mapping[str, Tensor]:
    """Who may see whom, [B, 1, T, T], by the name of its mask."""
    adapter, T = exam.adapter, which.shape[1]
    i, j = torch.arange(T)[:, None], torch.arange(T)
    allowed = which[:, :, None] == which[:, None]
    if exam.kind == "decoder":
        allowed = allowed & (j <= i)
    if adapter.window and adapter.layers:
        near = i - j < adapter.window
        allowed = allowed & (near | (j < adapter.sinks))
    mask = allowed[:, None]
    if form == ADDITIVE:
        dtype = torch.float64 if exam.subject.double else torch.float32
        hidden = torch.finfo(dtype).min
        mask = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, hidden)
    return {adapter.names["mask"]: mask}
