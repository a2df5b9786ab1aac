"""What a cache goes through: padding, beams, cropping, and a window."""

from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.models.adapter import counted
from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import CACHE
from surgeon.checkup.models.probes.crossing import no_source_mask
from surgeon.checkup.models.probes.padding import padded, pads, real
from surgeon.checkup.models.probes.pieces import (
    CHUNKS,
    probe_pieces,
    step,
    through,
)
from surgeon.checkup.models.question import Question
from surgeon.checkup.subjects.answering import SubjectError, answer

PADDED, REORDERED, CROPPED, BEYOND = CACHE[3:]
ONES = (
    "With a cache, and a mask in which nothing is padding, a text is answered"
    " otherwise than without the mask."
)
UNTOLD = (
    "In a batch padded in front, read through a cache and told no positions,"
    " rows are answered otherwise than alone, though told them, or without a"
    " cache, all is well: with a cache, positions are miscounted."
)
RECORDED = (
    "Its cache was told to record what leaves the window"
    " (activate_past_recording); otherwise it refuses to be cropped behind"
    " it."
)
NONE = "It takes no cache that is known: declare it, if it has one."


def probe_caches(exam: ModelExam) -> None:
    """One by one, a prompt, chunks; padding, beams, cropping, a window."""
    if not exam.adapter.caches or not exam.by_token:
        exam.skip(*CACHE, why=NONE)
        return
    if exam.kind == "encoder":
        exam.skip(*CACHE, why="It reads both ways: nothing is to be cached.")
        return
    probe_pieces(exam)
    for law, probe in (
        (PADDED, _probe_padded),
        (REORDERED, _probe_reordered),
        (CROPPED, _probe_cropped),
        (BEYOND, _probe_beyond),
    ):
        if law in exam.findings:
            continue
        exam.trying = law
        try:
            probe(exam)
        except SubjectError as error:
            exam.skip(law, why=f"Cannot be told: the model raises {error}")


def _probe_padded(exam: ModelExam) -> None:
    """Prompts of several lengths, padded in front, and then one by one."""
    if exam.kind == "encoder-decoder":
        _probe_padded_source(exam)
        return
    for law in ("padding on the right", "padding on the left"):
        if exam.broken(law):
            exam.wait(PADDED, on=law)
            return
    if not exam.adapter.takes("mask") or exam.near < 6:
        exam.skip(PADDED, why="It takes no mask of padding.")
        return
    needs = exam.broken("positions from the mask")
    asked, T = exam.question(3, exam.near), exam.near
    cuts = [T - 3, 1, 1, 1]
    full = asked.but(seen=torch.ones(3, T, dtype=torch.bool))
    off = exam.off(through(exam, full, cuts), exam.ask(asked))
    if off > exam.share:
        exam.fail(PADDED, ONES, off, exam.share)
        return
    lengths, more = [T - 3, T - 5, T - 4], 3
    front = padded(exam, asked.start(T - 3), lengths, "left", pads(exam)[0])
    ids = torch.cat([front.ids, asked.ids[:, T - 3 :]], 1)
    assert front.seen is not None
    behind = torch.ones(3, more, dtype=torch.bool)
    seen = torch.cat([front.seen, behind], 1)
    row = front.but(ids=ids, seen=seen)
    starts = [real(length, T - 3, "left").start for length in lengths]
    single = [
        exam.ask(asked.rows(n).but(ids=ids[n : n + 1, start:]))[0]
        for n, start in enumerate(starts)
    ]

    def off_of(row: Question) -> float:
        told = through(exam, row, cuts)
        return max(
            exam.off(told[n, start:], single[n])
            for n, start in enumerate(starts)
        )

    if exam.base is None:
        worst = off_of(row)
    else:
        worst = off_of(row.but(positions=counted(seen, exam.base)))
        if worst <= exam.share and not needs:
            # as `generate` asks it: the mask alone says where tokens are
            worst = off_of(row)
            if worst > exam.share:
                exam.fail(PADDED, UNTOLD, worst, exam.share)
                return
    exam.within(
        PADDED,
        worst,
        "In a batch padded in front, and read through a cache, rows are"
        " answered otherwise than alone, though without a cache, and without"
        " padding, all is well.",
        held=(
            "With positions handed in, each row is answered as alone."
            if needs
            else ""
        ),
    )


def _probe_padded_source(exam: ModelExam) -> None:
    """Sources of several lengths, and the decoder token by token."""
    if not exam.adapter.takes("source_mask"):
        exam.skip(PADDED, why=no_source_mask(exam))
        return
    asked = exam.question(2, exam.near)
    assert asked.source is not None
    S = asked.source.shape[1]
    seen = torch.ones_like(asked.source, dtype=torch.bool)
    seen[1, S - 2 :] = False
    both = asked.but(source_seen=seen)
    told, worst = through(exam, both, [1] * exam.near), 0.0
    for row, length in enumerate((S, S - 2)):
        text = asked.rows(row)
        assert text.source is not None
        alone = text.but(source=text.source[:, :length])
        worst = max(worst, exam.off(told[row], exam.ask(alone)[0]))
    exam.within(
        PADDED,
        worst,
        "With a padded source, and read through a cache, rows are answered"
        " otherwise than alone.",
    )


def _probe_reordered(exam: ModelExam) -> None:
    """Beams: rows of a cache change places, and some are doubled."""
    asked, order, T = exam.question(3, exam.near), [2, 0, 0], exam.near
    head = T - 3
    first = asked.start(head).but(caching=True)
    _, cache = step(exam, first)
    reorder = exam.adapter.reorder or _reorder_of(cache)
    if reorder is None:
        exam.skip(
            REORDERED,
            why="Its cache cannot be reordered, or how is"
            " not known: reorder.",
        )
        return
    cache = _changed(reorder, cache, torch.tensor(order))
    turned = asked.rows(*order)
    told, _ = _onwards(exam, turned, cache, head)
    exam.within(
        REORDERED,
        exam.off(told, exam.ask(turned)[:, head:]),
        "After its rows changed places, as in a search with beams, the cache"
        " is not that of the new rows: something in it stayed.",
    )


def _changed(change: Any, cache: Any, *how: Any) -> Any:
    """A cache that was changed, or what was returned in its place."""
    changed = answer(change, cache, *how)
    return cache if changed is None else changed


def _onwards(
    exam: ModelExam, asked: Question, cache: Any, start: int
) -> tuple[Tensor, Any]:
    """What tokens are answered one by one behind a cache, and the cache."""
    told = []
    for at in range(start, asked.ids.shape[1]):
        piece = asked.piece(at, at + 1).but(cache=cache, caching=True)
        output, cache = step(exam, piece)
        told.append(output)
    return torch.cat(told, 1), cache


def _reorder_of(cache: Any) -> Any:
    """The library's own way, if it has one."""
    method = getattr(cache, "reorder_cache", None)
    return None if method is None else lambda _, rows: method(rows)


def _crop_of(cache: Any) -> Any:
    """The library's own way, if it has one."""
    method = getattr(cache, "crop", None)
    if method is None or getattr(cache, "is_croppable", True) is False:
        return None
    # a negative number is what goes, in all of its versions
    return lambda it, kept, removed: it.crop(-removed)


def _probe_cropped(exam: ModelExam) -> None:
    """Two tokens are taken back, and others follow."""
    asked, T = exam.question(T=exam.near), exam.near
    head = T - 3
    _, cache = step(exam, asked.start(head).but(caching=True))
    crop = exam.adapter.crop or _crop_of(cache)
    if crop is None:
        exam.skip(
            CROPPED,
            why="Its cache cannot be cropped, or how is not known: crop.",
        )
        return
    recorded = _recorded(exam, cache, asked.start(head))
    cache = cache if recorded is None else recorded
    cache = _changed(crop, cache, head - 2, 2)
    ids = asked.ids.clone()
    ids[:, head - 2 :] = exam.others(ids[:, head - 2 :])
    other = asked.but(ids=ids)
    told, _ = _onwards(exam, other, cache, head - 2)
    exam.within(
        CROPPED,
        exam.off(told, exam.ask(other)[:, head - 2 :]),
        "After two tokens were taken out of its cache, the next ones are"
        " answered otherwise than in a text without them.",
        held="" if recorded is None else RECORDED,
    )


def _recorded(exam: ModelExam, cache: Any, head: Question) -> Any:
    """A cache of the library's windows that keeps what leaves them, or None.

    It has to be told so before; otherwise it raises where it is cropped.
    """
    own = exam.adapter.crop is None and exam.adapter.window
    if not own or not hasattr(cache, "activate_past_recording"):
        return None
    _, cache = step(exam, head.start(1).but(caching=True))
    answer(cache.activate_past_recording)
    return _onwards(exam, head, cache, 1)[1]


def _probe_beyond(exam: ModelExam) -> None:
    """A text longer than the window, token by token and in chunks."""
    window = exam.adapter.window
    longest = exam.adapter.max_len or 64
    if not window or window + 5 > min(longest, 64):
        exam.skip(
            BEYOND, why="No window was declared that a short text outgrows."
        )
        return
    T = window + 5
    asked = exam.question(2, T)
    whole = exam.ask(asked)
    ways = {"token by token": [1] * T, "behind a prompt": [T - 2, 1, 1]}
    if exam.findings.get(CHUNKS) and exam.findings[CHUNKS].passed:
        ways["in chunks"] = [window - 1, 3, T - window - 2]
    off = {
        way: exam.off(through(exam, asked, cuts), whole)
        for way, cuts in ways.items()
    }
    way = max(off, key=lambda each: off[each])
    exam.within(
        BEYOND,
        off[way],
        f"A text longer than the window, read {way} through the cache, is"
        " answered otherwise than the whole.",
    )
