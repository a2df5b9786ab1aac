"""Probes without a mask: which attention is this?"""

import math

import torch
from torch import Tensor

from surgeon.checkup.designs.schemes import Nowhere
from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, attend, causal, spread, weigh
from surgeon.checkup.notes import AGREES
from surgeon.checkup.portrait import contradiction, likeness, portrait
from surgeon.checkup.probes.behaviour import probe_apart, sums_to_one
from surgeon.checkup.probes.declared import (
    confirm,
    from_the_first,
    named,
    sizes_to_try,
    tokens_to_show,
)
from surgeon.checkup.probes.guesses import suggestion, window_of
from surgeon.checkup.probes.hypotheses import factors, wrong_cores
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.probes.traits import NONE, read_traits
from surgeon.checkup.subjects.answering import SubjectError

CORE = (
    "batch elements apart",
    "heads apart",
    "grouped heads in order",
    "softmax over keys",
    "values in step with keys",
    "scale",
    "convex hull",
    "known form",
)
NO_NUMBERS = "Ordinary inputs give NaN or infinity."


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
        _but_for_that(exam)
    elif not (
        _scaled(exam, inputs, got, seen) or _named(exam, inputs, got, seen)
    ):
        _unknown(exam, inputs, got)


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
    exam.note("scale", True, _measured_factor(exam, inputs), exam.factor)
    beyond = _outside(got, inputs[2], exam.held.heads)
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
    seen = (weights > 0).flatten(0, 1).any(0)
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
    if _are_shares(exam, weights) and not sums_to_one(exam, weights):
        meaning += " Rows sum to less: empty keys of a last block count."
    exam.fail(name, meaning)


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
            _wrong_scale(exam, factor, meaning)
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
            _block(exam, finding)
        return True
    return False


def _block(exam: Exam, finding: str, *, follows: bool = True) -> None:
    """Nothing can be compared with the formula any more.

    Laws that need none are told all the same; with `follows`, one that is
    broken as well may be so by this fault, and cannot be told.
    """
    exam.blocked = f'Cannot be told while "{finding}" fails.'
    exam.under = finding if follows else ""


def _wrong_scale(exam: Exam, factor: float, meaning: str) -> None:
    exam.fail("scale", meaning, factor, exam.meant)
    exam.how["factor"] = factor
    why = "Cannot be told while the scale is wrong."
    exam.skip("scale before overflow", why=why)
    but = "Holds, but for the scale."
    exam.agrees(*CORE, *exam.designed, meaning=but)


def _measured_factor(exam: Exam, inputs: Inputs) -> float | str:
    Q, K, _ = inputs
    weights = read_weights(exam, Q, K)
    fitted = None if weights is None else _fit_factor(exam, Q, K, weights)
    return AGREES if fitted is None else fitted


def _fit_factor(
    exam: Exam, Q: Tensor, K: Tensor, weights: Tensor
) -> float | None:
    """Which factor of raw scores explains the weights of visible keys.

    By their logarithms, which one must explain to rounding; else None.
    """
    T, S = weights.shape[-2:]
    seen = torch.ones_like(weights) > 0
    window = exam.design.sees(T, S)
    for some in (None if exam.base is None else causal(T, S), window):
        seen = seen if some is None else seen & some
    if not (weights[seen] > 0).all():
        return None
    if exam.design.cap or exam.design.linear:  # no plain scores
        return None
    q, k, bias = exam.design.compared(Q.double(), K.double())
    raw, logs = q @ exam.spread(k).mT, weights.log() - bias
    raw, logs = (x.where(seen, torch.nan) for x in (raw, logs))
    raw, logs = (x - x.nanmean(-1, keepdim=True) for x in (raw, logs))
    raw, logs = raw[seen], logs[seen]
    factor = float((raw * logs).sum() / raw.square().sum())
    # Shares are rounded relative to what they are, so are sums of their rows.
    off = float((logs - factor * raw).abs().max())
    return factor if off < 4 * exam.tolerance else None


def _unknown(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """No hypothesis explains it.

    Who mixes with whom, what is left of the weights, and where does the
    output lie?
    """
    Q, K, _ = inputs
    name = "known form"
    if not got.isfinite().all():
        exam.fail(name, NO_NUMBERS)
        exam.skip_rest(f'Cannot be told while "{name}" fails.')
        _block(exam, name)
        return
    probe_apart(exam, inputs, got)
    if name := exam.broken(*CORE):
        _block(exam, name)
        return
    weights = read_weights(exam, Q, K)
    if weights is None:
        _not_linear(exam, inputs)
        return
    seen = None if exam.base is None else causal(Q.shape[2])
    fitted = _fit_factor(exam, Q, K, weights)
    if fitted is not None and sums_to_one(exam, weights):
        unusual = "Scores are multiplied by an unusual factor."
        _wrong_scale(exam, fitted, unusual)
    elif order := _permutation(weights, weigh(Q, K, seen, **exam.how), exam):
        name = "values in step with keys"
        exam.fail(
            name,
            f"The weight of each key goes to another key's value: {order}.",
        )
        _block(exam, name)
    elif _are_shares(exam, weights):
        _draw(exam, inputs, weights, fitted)
    elif fitted is None and _alone(exam, Q, K, weights):
        exam.skip("known form", "convex hull", "softmax over keys", why=ALONE)
        exam.portrait.append(ALONE)
        exam.blocked = f"Needs the formula. {ALONE}"
    else:
        said = "" if fitted is None else _sums(exam, weights)
        _no_shares(exam, inputs, got, said)


def _are_shares(exam: Exam, weights: Tensor) -> bool:
    """Whether no weight is negative, and no row sums to more than one."""
    slack = exam.tolerance * weights.shape[-1]
    most = float(weights.sum(-1).max())
    return float(weights.min()) >= -slack and most <= 1 + slack


def _no_shares(
    exam: Exam, inputs: Inputs, got: Tensor, said: str = ""
) -> None:
    """Outputs outside the values: weights that are no shares of one."""
    name, excess = "convex hull", _outside(got, inputs[2], exam.held.heads)
    if excess > exam.tolerance:
        meaning = (
            "Outputs lie outside the values: the weights are no shares of"
            f" one.{said}"
        )
        exam.fail(name, meaning, excess, 0.0)
    else:
        name = "known form"
        exam.fail(name, "Weights are negative, or sum to more than one.")
    _block(exam, name, follows=name != "known form")


def _not_linear(exam: Exam, inputs: Inputs) -> None:
    """Something is done to the output, or added: that may be meant."""
    Q, K, V = inputs
    why = (
        "The output is no sum of values by any weights: values or outputs are"
        " changed in another way (a norm, a gate)."
    )
    if float(exam.ask(Q, K, 0 * V).abs().max()) > exam.tolerance:
        why = (
            "With values of zero the output is not zero: something else is"
            " added to it (a residual, a bias)."
        )
    exam.skip("known form", "convex hull", why=why)
    exam.portrait.append(why)
    exam.blocked = f"Needs weights to be read. {why}"


def _alone(exam: Exam, Q: Tensor, K: Tensor, weights: Tensor) -> bool:
    """Whether no weight knows of another key: nothing is shared."""
    for j in range(K.shape[2]):
        k = K.clone()
        k[:, :, j] = 0.3 - 0.7 * k[:, :, j]
        now = read_weights(exam, Q, k)
        rest = torch.arange(K.shape[2]) != j
        if now is None or not exam.agree(now[..., rest], weights[..., rest]):
            return False
    return True


ALONE = (
    "The weights of a query share nothing: each is a number of its own query"
    " and key (as a sigmoid's)."
)


def _draw(
    exam: Exam, inputs: Inputs, weights: Tensor, fitted: float | None
) -> None:
    """An attention of another kind: which, and is any sound one like it?"""
    name = "known form"
    traits = read_traits(exam, inputs, weights)
    exam.portrait = portrait(traits, exam.base is not None)
    like = likeness(traits)
    if isinstance(exam.declared.positions, Nowhere) and traits.places != NONE:
        exam.fail("positions", "Places count, and were said not to.")
        _block(exam, "positions", follows=False)
        return
    if not exam.declared.plain:
        looks = (
            f" It looks like one with {', and '.join(like)}." if like else ""
        )
        exam.fail(name, f"It is not what was declared.{looks}")
        _block(exam, name, follows=False)
        return
    if wrong := contradiction(traits):
        exam.fail(name, wrong)
        _block(exam, name)
        return
    if like:
        kinds = ", and ".join(like)
        why = f"No plain attention. It looks like one with {kinds}."
        exam.skip(name, why=why)
        exam.portrait.insert(0, why)
        if told := suggestion(exam, traits):
            exam.portrait.append(told)
        exam.blocked = f"Needs the formula, and this one has {kinds}."
        if fitted is not None:  # a sink, and plain scores
            _judge_factor(exam, fitted)
        return
    exam.fail(name, "The output agrees with no known form of attention.")
    _block(exam, name, follows=False)


def _judge_factor(exam: Exam, fitted: float) -> None:
    meaning = "Scores are multiplied by an unusual factor."
    if not math.isclose(fitted, exam.meant, rel_tol=4 * exam.tolerance):
        exam.fail("scale", meaning, fitted, exam.meant)
    exam.note("scale", True, fitted, exam.meant)


def _sums(exam: Exam, weights: Tensor) -> str:
    """What the rows of weights sum to, in words."""
    sums = weights.sum(-1)
    mean = float(sums.mean())
    if float(sums.std()) <= exam.tolerance * weights.shape[-1]:
        return f" Every row sums to {mean:.3g}."
    return f" Rows sum to {mean:.3g}: the division by the sum is missing."


def _permutation(weights: Tensor | None, right: Tensor, exam: Exam) -> str:
    """Where each right column of weights is, if all are in other places."""
    if weights is None:
        return ""
    gaps = (weights.unsqueeze(-1) - right.unsqueeze(-2)).abs()
    nearest, places = gaps.amax((0, 1, 2)).min(-1)  # of [S, S]
    found = places.tolist()
    close = bool((nearest < 10 * exam.tolerance).all())
    if not close or sorted(found) != list(range(len(found))):
        return ""
    moved = ((there, here) for here, there in enumerate(found))
    return ", ".join(f"{a} to {b}" for a, b in moved if a != b)


def _outside(output: Tensor, V: Tensor, heads: int) -> float:
    """How far an output lies beyond all values of its column."""
    V = spread(V.double(), heads)
    above = (output - V.amax(2, keepdim=True)).clamp(min=0)
    below = (V.amin(2, keepdim=True) - output).clamp(min=0)
    return float((above + below).max())
