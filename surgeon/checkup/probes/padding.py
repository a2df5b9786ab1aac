"""Padding: whose keys are hidden from whom, at every length?"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.reading import moved
from surgeon.checkup.subjects.answering import SubjectError

NAME = "padding on keys"
FORGOTTEN = (
    "Told of padding, outputs depend on later tokens: the causal rule is"
    " lost."
)
# Queries and keys: fewer and more of the one than of the other.
LENGTHS = ((1, 7), (3, 7), (7, 3))


def probe_padding(exam: Exam) -> None:
    """Sequences of different lengths: whose keys are hidden from whom?

    As many sequences as tokens, so that the two may be taken for each other.
    """
    T = exam.T
    if NAME in exam.findings:
        return
    if not exam.held.padding and exam.held.mask_shape in ("", "T S"):
        why = "It takes one mask for all sequences, and no padding."
        exam.skip(NAME, why=why)
        return
    inputs = exam.draw(T, T, T)
    real = torch.arange(T) < torch.arange(1, T + 1)[:, None]  # [B, S]
    on_keys, on_queries = real[:, None, None], real[:, None, :, None]
    try:
        if exam.held.padding:
            got = exam.ask(*inputs, padding=real)
        else:
            got = exam.ask(*inputs, on_keys.expand(T, 1, T, T))
    except SubjectError as error:
        exam.skip(NAME, why=f"It takes no mask of each sequence: {error}")
        return
    if exam.blocked:
        _see_padding(exam, inputs, real)
        _other_lengths(exam)
        return
    base = torch.ones(T, T, dtype=torch.bool)
    base = base if exam.base is None else exam.base
    seeing = lambda seen: exam.form(seen & base)(*inputs)
    if exam.agree(got, seeing(on_keys)):
        _other_lengths(exam)
        exam.agrees(NAME)
        return
    if exam.base is not None and exam.agree(got, exam.form(on_keys)(*inputs)):
        _forgets_the_past(exam)
        exam.agrees(NAME)
        return
    B, H = T, exam.held.heads
    number = torch.arange(B * H).view(B, H)
    # The first that agrees: a padded query that sees nothing may give
    # anything, so that hiding padding from queries explains the most.
    wrong = {
        "Padding has no effect: no key is hidden.": seeing(base),
        "Padding is applied to the queries: their outputs are blanked, and"
        " no key is hidden.": seeing(base) * on_queries,
        "Padding is applied to the queries, and no key is hidden.": (
            seeing(on_queries)
        ),
        "Padding of sequence i is applied to query i of all: a mask (batch,"
        " keys) is taken for (queries, keys).": seeing(real),
        "Padding is inverted: real keys are hidden, and padding is seen.": (
            seeing(~on_keys)
        ),
        "Heads obey the padding of other sequences: masks are copied by"
        " repeat, 0 1 0 1, and rows of sequences and heads lie 0 0 1 1.": (
            seeing(real[number % B][:, :, None])
        ),
    }
    known = (said for said, form in wrong.items() if exam.agree(got, form))
    exam.fail(NAME, next(known, "Padding acts in no known way."))


def _see_padding(exam: Exam, inputs: Inputs, real: Tensor) -> None:
    """Without a formula: which values move what is no padding, [B, T, S]?

    A padded one moves nothing, and a real one what it moves without padding.
    """
    T = exam.T
    if exam.held.padding:
        ask = partial(exam.ask, padding=real)
    else:
        mask = real[:, None, None].expand(-1, 1, T, -1)
        ask = partial(exam.ask, allowed=mask)
    padded, plain = (each_sight(f, inputs) for f in (ask, exam.ask))
    words, keys = real[:, :, None], real[:, None]
    leaked = float((padded * (words & ~keys)).nan_to_num().max())
    shown, open_ = (x > exam.tolerance for x in (padded, plain))
    lost = open_ & ~shown
    if leaked > exam.tolerance:
        meaning = "Padding reaches real tokens: it hides nothing, or others."
        exam.fail(NAME, meaning, leaked, exam.tolerance)
    elif (lost & words & keys).any():
        meaning = "Real tokens are hidden with the padding."
        exam.fail(NAME, meaning, "hidden", "seen")
    elif exam.held.causal is True and (shown & ~open_ & words).triu(1).any():
        _forgets_the_past(exam)
    exam.note(NAME, True, leaked, exam.tolerance)


def _forgets_the_past(exam: Exam) -> None:
    """Causal by itself, and told of padding no longer."""
    exam.retract(FUTURE[1])
    exam.fail(FUTURE[1], FORGOTTEN, "every real key", "the past")


def _other_lengths(exam: Exam) -> None:
    """Padding where there are more keys than queries, or fewer."""
    held = exam.held
    if not held.padding or not held.rectangular or NAME in exam.findings:
        return
    for T, S in LENGTHS:
        try:
            wrong = _at_lengths(exam, T, S)
        except SubjectError:  # a size that it does not take
            continue
        if wrong:
            one = "1 query" if T == 1 else f"{T} queries"
            where = f"With {one} and {S} keys"
            exam.fail(NAME, f"{where}, {wrong}", "its sight", "real keys")
            return


def _at_lengths(exam: Exam, T: int, S: int) -> str:
    """What is wrong with padding where there are so many of both, in words.

    All keys real; the last two are padding; the first two are. A causal
    query may be padding itself where the last ones are.
    """
    place = torch.arange(S)
    ends = [place >= 0, place < S - 2, place >= 2]
    causal = exam.held.causal is True
    real = torch.stack(ends[::2] if causal else ends)
    inputs, keys = exam.draw(T, S, len(real)), real[:, None]
    padded = partial(exam.ask, padding=real)
    known = not exam.blocked and not causal
    if known and exam.agree(exam.ask(*inputs), exam.form()(*inputs)):
        if exam.agree(padded(*inputs), exam.form(keys[:, None])(*inputs)):
            return ""
    else:
        known = False
    shown, plain = (
        each_sight(ask, inputs) > exam.tolerance for ask in (padded, exam.ask)
    )
    wanted = plain & keys
    alive = wanted.any(-1, keepdim=True)
    if (alive & shown & ~keys).any():
        return "what padding hides is seen."
    if (wanted & ~shown).any():
        return "keys that padding shows are not seen."
    return "padding acts in no known way." if known else ""


def each_sight(ask: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """[B, T, S]: how far output i of each sequence moves with value j."""
    Q, K, V = inputs
    still, moves = ask(Q, K, V), []
    for j in range(K.shape[2]):
        other = V.clone()
        other[:, :, j] += 1
        moves.append(moved(ask(Q, K, other), still).amax((1, 3)))
    return torch.stack(moves, -1)
