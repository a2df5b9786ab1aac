"""Greedy writing: cached or not, it is the argmax of the whole."""

import torch
from torch import Tensor

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.probes.padding import padded, pads
from surgeon.checkup.models.question import Question
from surgeon.checkup.subjects.answering import answer

LAW = "writing"
NEW = 5


def probe_writing(exam: ModelExam) -> None:
    """Three prompts of several lengths, written on alone and in a batch.

    Another three are asked where these went well: what a small model writes
    may be the same five words whatever it reads.
    """
    exam.trying = LAW
    if exam.adapter.generate is None or exam.kind != "decoder":
        exam.skip(LAW, why="How it writes is not known: generate.")
        return
    ways, wrong, ties = _ask(exam, exam.question(3))
    drawn = exam.generator.get_state()
    if not wrong:
        _, wrong, more = _ask(exam, exam.question(3))
        ties += more
    exam.generator.set_state(drawn)  # later laws draw the same either way
    told = f"{ways - len(wrong)} of {ways} ways"
    tie = f"Up to the first tie: {ties} were met." if ties else ""
    if wrong:
        exam.fail(
            LAW,
            f"What it writes {wrong[0]} is not the argmax of the whole text.",
            told,
            "all",
        )
    exam.note(LAW, True, told, "all", tie)


def _ask(exam: ModelExam, asked: Question) -> tuple[int, list[str], int]:
    """How many ways there are, those that write otherwise, and the ties."""
    T = exam.T
    lengths = [T - 2, T - 4, T - 3]
    wanted = []
    ties = 0
    for n, length in enumerate(lengths):
        text = asked.ids[n : n + 1, :length]
        written, tied = _argmax(exam, text)
        wanted.append(written)
        ties += tied
    batch = padded(exam, asked.start(T - 2), lengths, "left", pads(exam)[0])
    ways: dict[str, list[Tensor]] = {}
    for cached in (True, False):
        how = "with a cache" if cached else "without a cache"
        ways[f"{how}, alone"] = [
            _written(exam, asked.ids[n : n + 1, :length], None, cached)[0]
            for n, length in enumerate(lengths)
        ]
        if exam.adapter.takes("mask"):
            ways[f"{how}, in a padded batch"] = list(
                _written(exam, batch.ids, batch.seen, cached)
            )
    wrong = [
        how
        for how, texts in ways.items()
        if any(
            got.tolist()[: len(want)] != want
            for got, want in zip(texts, wanted, strict=True)
        )
    ]
    return len(ways), wrong, ties


def _written(
    exam: ModelExam, ids: Tensor, seen: Tensor | None, cached: bool
) -> Tensor:
    """[B, NEW]: the words that it writes behind a text."""
    subject, generate = exam.subject, exam.adapter.generate
    assert generate is not None
    with torch.no_grad(), subject.asking(subject.model):
        whole = answer(generate, subject.model, ids, seen, NEW, cached)
    return whole[:, ids.shape[1] :]


def _argmax(exam: ModelExam, ids: Tensor) -> tuple[list[int], bool]:
    """The likeliest words, one after the other, until two tie."""
    written: list[int] = []
    for _ in range(NEW):
        logits = exam.ask(exam.question(1).but(ids=ids))[0, -1]
        top = logits.topk(2)
        gap = float(top.values[0] - top.values[1])
        if gap <= 2 * exam.share * float(logits.abs().max()):
            return written, True
        written.append(int(top.indices[0]))
        ids = torch.cat([ids, top.indices[None, :1]], 1)
    return written, False
