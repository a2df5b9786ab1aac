"""Read in pieces, through a cache, a text is answered as whole."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import CACHE
from surgeon.checkup.models.question import Question
from surgeon.checkup.subjects.answering import SubjectError

ONE, PROMPT, CHUNKS = CACHE[:3]
NO_CACHE = (
    "It handed no cache back: if it keeps one, say new_cache, cache_back, or"
    " by options what makes it."
)


def probe_pieces(exam: ModelExam) -> None:
    """Token by token, a prompt first, and several tokens at a time."""
    exam.trying = ONE
    asked = exam.question(T=exam.near)
    whole, T = exam.ask(asked), exam.near
    try:
        told = through(exam, asked, [1] * T)
    except SubjectError as error:
        _raised(exam, error)
        return
    off = exam.off(told, whole)
    if off > exam.share:
        meaning = _cause(exam, asked, told, whole)
        exam.fail(ONE, meaning, off, exam.share)
        exam.wait(*CACHE, on=ONE)
        return
    exam.note(ONE, True, off, exam.share)
    _probe_prompt(exam, asked, whole)


def through(
    exam: ModelExam,
    asked: Question,
    cuts: Sequence[int],
    *,
    starts: bool = False,
) -> Tensor:
    """What it answers if it reads the text in pieces, through a cache.

    `starts` whether it is told the positions of each piece.
    """
    cache, at, told = None, 0, []
    for cut in cuts:
        piece = asked.piece(at, at + cut).but(cache=cache, caching=True)
        if starts and exam.base is not None:
            places = torch.arange(at, at + cut) + exam.base
            piece = piece.but(positions=places.expand_as(piece.ids))
        output, cache = step(exam, piece)
        told.append(output)
        at += cut
    return torch.cat(told, 1)


def step(exam: ModelExam, piece: Question) -> tuple[Tensor, Any]:
    """A piece's answer, and the cache for the next."""
    with torch.no_grad():
        reply = exam.subject.ask(piece)
    if reply.cache is None:
        raise SubjectError("it handed no cache back")
    if reply.output.shape[1] != piece.ids.shape[1]:
        raise SubjectError(
            f"of {piece.ids.shape[1]} tokens behind a cache it answered"
            f" {reply.output.shape[1]}"
        )
    return reply.output, reply.cache


def _raised(exam: ModelExam, error: SubjectError) -> None:
    """What has a cache and raises with it."""
    if "no cache back" in str(error):
        exam.skip(*CACHE, why=NO_CACHE)
        return
    exam.fail(
        ONE,
        f"Token by token through its cache, it raises {error}",
        "an error",
        "an answer each time",
    )
    exam.wait(*CACHE, on=ONE)


def _cause(
    exam: ModelExam, asked: Question, told: Tensor, whole: Tensor
) -> str:
    """Why it answers otherwise, token by token."""
    T = exam.near
    single = torch.cat(
        [exam.ask(asked.but(ids=asked.ids[:, t : t + 1])) for t in range(T)],
        1,
    )
    if exam.alike(told, single):
        return (
            "With its cache it forgets: each token is answered as if it stood"
            " alone."
        )
    if exam.base is not None:
        given = through(exam, asked, [1] * T, starts=True)
        if exam.alike(given, whole):
            return (
                "With a cache, positions start anew: told the position of"
                " each token, it answers as to the whole."
            )
    off = [exam.off(told[:, t], whole[:, t]) for t in range(T)]
    first = next((t for t in range(T) if off[t] > exam.share), 0)
    window, sinks = exam.adapter.window, exam.adapter.sinks
    if window and first == window and not sinks:
        return (
            "Token by token through its cache, it answers otherwise than to"
            f" the whole, from token {first} on, the first that a window of"
            f" {window} hides a key from: what the cache keeps is not what"
            " the window shows."
        )
    told_too = ", told its position, too" if exam.base is not None else ""
    return (
        "Token by token through its cache, it answers otherwise than to the"
        f" whole, from token {first} on{told_too}. What differs may be keys,"
        " values, positions, the mask, or which head reads which key."
    )


def _probe_prompt(exam: ModelExam, asked: Question, whole: Tensor) -> None:
    """A prompt first, and then one by one; and in chunks."""
    T = exam.near
    exam.trying = PROMPT
    head = T - 3
    try:
        told = through(exam, asked, [head, 1, 1, 1])
    except SubjectError as error:
        exam.fail(
            PROMPT,
            f"A prompt read into its cache: it raises {error}",
            "an error",
            "an answer",
        )
        exam.wait(*CACHE, on=PROMPT)
        return
    off = exam.off(told, whole)
    if off > exam.share:
        exam.fail(
            PROMPT,
            _of_prompt(exam, asked, told, whole, head),
            off,
            exam.share,
        )
        exam.wait(*CACHE, on=PROMPT)
        return
    exam.note(PROMPT, True, off, exam.share)
    exam.trying = CHUNKS
    try:
        told = through(exam, asked, [2, 2, T - 4])
    except SubjectError as error:
        exam.skip(
            CHUNKS,
            why=(
                "Cannot be told: several tokens behind a cache are refused,"
                f" by {error}"
            ),
        )
        return
    exam.within(
        CHUNKS,
        exam.off(told, whole),
        _of_chunks(exam, asked, told, whole),
    )


def _of_prompt(
    exam: ModelExam, asked: Question, told: Tensor, whole: Tensor, head: int
) -> str:
    """Whether the prompt itself, or what follows, is answered otherwise."""
    if exam.alike(told[:, :head], whole[:, :head]):
        return (
            f"Behind a prompt of {head} tokens, the next is answered"
            " otherwise than in the whole, though token by token all is well."
        )
    ids = asked.ids.clone()
    ids[:, head - 1] = exam.others(ids[:, head - 1 : head])[:, 0]
    moved = through(exam, asked.but(ids=ids), [head, 1, 1, 1])
    if not exam.alike(moved[:, : head - 1], told[:, : head - 1]):
        return (
            "A prompt that is read into a cache sees its own future: its"
            " earlier outputs move with its last token."
        )
    return "The outputs of a prompt are others if it is read into a cache."


def _of_chunks(
    exam: ModelExam, asked: Question, told: Tensor, whole: Tensor
) -> str:
    """Whether a chunk sees its own future, or too little."""
    ids = asked.ids.clone()
    ids[:, 3] = exam.others(ids[:, 3:4])[:, 0]
    with_other = through(exam, asked.but(ids=ids), [2, 2, exam.near - 4])
    if not exam.alike(with_other[:, 2], told[:, 2]):
        return (
            "Of several tokens behind a cache, the first sees the later ones:"
            " no mask is drawn for them."
        )
    return (
        "Several tokens behind a cache are answered otherwise than in the"
        " whole: a mask, positions or a state begin anew with them."
    )
