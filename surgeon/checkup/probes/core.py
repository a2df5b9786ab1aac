"""Probes without a mask: which attention is this?"""

import math

from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE
from surgeon.checkup.forms import Inputs, attend, causal, weigh
from surgeon.checkup.probes.behaviour import sums_to_one
from surgeon.checkup.probes.declared import (
    confirm,
    from_the_first,
    named,
    sizes_to_try,
    tokens_to_show,
)
from surgeon.checkup.probes.guesses import window_of
from surgeon.checkup.probes.hypotheses import factors, wrong_cores
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.probes.sight import probe_future
from surgeon.checkup.probes.unknown import (
    CORE,
    are_shares,
    block,
    measured_factor,
    outside,
    probe_unknown,
    wrong_scale,
)
from surgeon.checkup.subjects.answering import SubjectError

BLOCKS = 1e-6  # of logarithms of shares: more than rounding
UNWRITTEN = (
    " Rows sum to less than one there, as if empty keys took part: places of"
    " a cache that nobody wrote to."
)


def probe_core(exam: Exam) -> None:
    """Compare with the formula, then with the ways in which it goes wrong.

    What explains the answer names it.
    """
    _skip_what_heads_lack(exam)
    if exam.blocked:  # what it is meant to be cannot be told
        return
    T = tokens_to_show(exam)
    inputs, seen = exam.draw(T), None if exam.base is None else causal(T)
    got = exam.ask(*inputs)
    if exam.agree(got, exam.form(seen)(*inputs)):
        _confirm(exam, inputs, got)
    elif named(exam, inputs, got, seen):
        if not exam.blocked:
            _but_for_that(exam)
    elif not (
        _scaled(exam, inputs, got, seen)
        or _named(exam, inputs, got, seen)
        or _sees_ahead(exam)
    ):
        probe_unknown(exam, inputs, got)


def _sees_ahead(exam: Exam) -> bool:
    """Whether a window shows the future that it was meant to hide.

    Nothing else can be told of it then.
    """
    meant = exam.held.causal is True and exam.declared.window is not None
    if not meant or exam.base is not None:
        return False
    probe_future(exam)
    broken = exam.broken(*FUTURE)
    if broken:
        block(exam, broken)
    return bool(broken)


def _skip_what_heads_lack(exam: Exam) -> None:
    heads, kv_heads = exam.held.heads, exam.held.kv_heads
    if heads == 1:
        exam.skip("heads apart", why="There is one head.")
    if kv_heads in (1, heads):
        why = "No key heads are shared in groups."
        exam.skip("grouped heads in order", why=why)


def _confirm(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """It is the formula here. For other numbers of everything, too?"""
    seen = None if exam.base is None else causal(inputs[0].shape[2])
    off = exam.off(got, exam.form(seen)(*inputs))
    for T, S, B in sizes_to_try(exam):
        others = exam.draw(T, S, B)
        seen = None if exam.base is None else causal(T, S)
        try:
            answered = exam.ask(*others)
        except SubjectError:  # a size that it does not take
            continue
        if exam.agree(answered, exam.form(seen)(*others)):
            continue
        if not from_the_first(exam, others, answered, seen):
            _at_this_size(exam, others, answered, seen)
            break
    if exam.but:
        _but_for_that(exam)
    exam.note("known form", True, off, exam.tolerance)
    exam.note("scale", True, measured_factor(exam, inputs), exam.factor)
    beyond = outside(got, inputs[2], exam.held.heads)
    exam.note("convex hull", True, beyond, 0.0)
    exam.agrees(*CORE)
    confirm(exam)


def _but_for_that(exam: Exam) -> None:
    """What is there instead of the design was named: all else holds."""
    exam.agrees(*CORE, *exam.designed, meaning=exam.but)


def _at_this_size(
    exam: Exam, inputs: Inputs, got: Tensor, seen: Tensor | None
) -> None:
    """The formula at smaller sizes, and not at this: what is seen here?"""
    name, (Q, K, _) = "known form", inputs
    if named(exam, inputs, got, seen, later=True):
        return
    B, T, S = len(Q), Q.shape[2], K.shape[2]
    meaning = (
        f"Right for some sizes, but not for {T} queries, {S} keys and {B}"
        " sequences."
    )
    weights = read_weights(exam, Q, K)
    if weights is None:
        exam.fail(name, meaning)
        return
    own_seen, seen = seen, (weights > 0).flatten(0, 1).any(0)
    own = bool(seen[-1, -1])
    if (
        own
        and not seen.all()
        and exam.agree(exam.ask(*inputs), exam.form(seen)(*inputs))
    ):
        last = int(seen[-1].sum())
        why = (
            f"Plain, but for keys hidden by place: of {S}, the last query"
            f" sees {last} (a window, or documents)."
        )
        exam.skip(name, "half precision", why=why)
        exam.portrait.append(why)
        if band := window_of(seen):
            told = (
                f"It agrees with {band}: say so, and that is examined, too."
            )
            exam.portrait.append(told)
        return
    if are_shares(exam, weights) and not sums_to_one(exam, weights):
        # As many queries as keys were right: it is no matter of blocks.
        square = T < S and S in _squares(exam)
        blocks = " Rows sum to less: empty keys of a last block count."
        meaning += UNWRITTEN if square else blocks
    elif first := _first_other(exam, inputs, weights, own_seen):
        meaning += (
            f" The first {first} keys share as they should, and others from"
            f" there on: blocks of {first}."
        )
    exam.fail(name, meaning)


def _squares(exam: Exam) -> list[int]:
    """Of how many queries and as many keys it was right."""
    return [S for T, S, _ in sizes_to_try(exam)[:4] if T == S]


def _first_other(
    exam: Exam, inputs: Inputs, weights: Tensor, seen: Tensor | None
) -> int:
    """From which key on scores are others, if those before are right."""
    right = weigh(*inputs[:2], seen, **exam.how)
    off = (weights.log() - right.log()).nan_to_num()
    off = (off - off[..., :1]).abs().amax((0, 1, 2)) > BLOCKS
    first = int(off.int().argmax())
    return first if first > 1 and bool(off[first:].all()) else 0


def _scaled(
    exam: Exam, inputs: Inputs, got: Tensor, seen: Tensor | None
) -> bool:
    """Whether another factor explains it."""
    heads, keys = exam.held.heads, inputs[1].shape[2]
    for factor, meaning in factors(exam.d_k, exam.d_v, heads, keys):
        if math.isclose(factor, exam.factor):
            continue
        how = exam.how | {"factor": factor}
        if exam.agree(got, attend(*inputs, seen, **how)):
            wrong_scale(exam, factor, meaning)
            return True
    return False


def _named(
    exam: Exam, inputs: Inputs, got: Tensor, seen: Tensor | None
) -> bool:
    """Whether another known fault explains it."""
    packed = "(H d)" in exam.held.layout
    for finding, meaning, form in wrong_cores(
        inputs, seen, packed, **exam.how
    ):
        try:
            expected = form(*inputs)
        except RuntimeError:  # numbers for each head, on another axis
            continue
        if not exam.agree(got, expected):
            continue
        exam.overrule(finding, meaning)
        if finding == "grouped heads in order":
            exam.how["turns"] = True
            but = "Holds, but for the order of the heads."
            exam.agrees(*CORE, *exam.designed, meaning=but)
        else:
            block(exam, finding)
        return True
    return False
