"""An attention that agrees with no known form: what is it like?"""

import math

import torch
from torch import Tensor

from surgeon.checkup.designs.design import PARTS
from surgeon.checkup.designs.schemes import Nowhere
from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal, spread, weigh
from surgeon.checkup.notes import AGREES
from surgeon.checkup.portrait import contradiction, likeness, portrait
from surgeon.checkup.probes.behaviour import probe_apart, sums_to_one
from surgeon.checkup.probes.guesses import suggestion
from surgeon.checkup.probes.reading import moved, read_weights
from surgeon.checkup.probes.traits import ALIKE, NONE, read_traits

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


def probe_unknown(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """No hypothesis explains it.

    Who mixes with whom, what is left of the weights, and where does the
    output lie?
    """
    Q, K, _ = inputs
    name = "known form"
    if not got.isfinite().all():
        exam.fail(name, NO_NUMBERS)
        exam.skip_rest(f'Cannot be told while "{name}" fails.')
        block(exam, name)
        return
    probe_apart(exam, inputs, got)
    if name := exam.broken(*CORE):
        block(exam, name)
        return
    weights = read_weights(exam, Q, K)
    if weights is None:
        _not_linear(exam, inputs)
        return
    seen = None if exam.base is None else causal(Q.shape[2])
    fitted = fit_factor(exam, Q, K, weights)
    if fitted is not None and sums_to_one(exam, weights):
        unusual = "Scores are multiplied by an unusual factor."
        wrong_scale(exam, fitted, unusual)
    elif order := _permutation(weights, weigh(Q, K, seen, **exam.how), exam):
        name = "values in step with keys"
        exam.fail(
            name,
            f"The weight of each key goes to another key's value: {order}.",
        )
        block(exam, name)
    elif are_shares(exam, weights):
        _draw(exam, inputs, weights, fitted)
    elif fitted is None and _alone(exam, Q, K, weights):
        exam.skip("known form", "convex hull", "softmax over keys", why=ALONE)
        exam.portrait.append(ALONE)
        exam.blocked = f"Needs the formula. {ALONE}"
    else:
        said = "" if fitted is None else _sums(exam, weights)
        _no_shares(exam, inputs, got, said)


def are_shares(exam: Exam, weights: Tensor) -> bool:
    """Whether no weight is negative, and no row sums to more than one."""
    slack = exam.tolerance * weights.shape[-1]
    most = float(weights.sum(-1).max())
    return float(weights.min()) >= -slack and most <= 1 + slack


def _no_shares(
    exam: Exam, inputs: Inputs, got: Tensor, said: str = ""
) -> None:
    """Outputs outside the values: weights that are no shares of one."""
    name, excess = "convex hull", outside(got, inputs[2], exam.held.heads)
    if excess > exam.tolerance:
        meaning = (
            "Outputs lie outside the values: the weights are no shares of"
            f" one.{said}"
        )
        exam.fail(name, meaning, excess, 0.0)
    else:
        name = "known form"
        exam.fail(name, "Weights are negative, or sum to more than one.")
    block(exam, name, follows=name != "known form")


def _not_linear(exam: Exam, inputs: Inputs) -> None:
    """Something is done to the output, or added: that may be meant."""
    Q, K, V = inputs
    why = CHANGED
    if float(exam.ask(Q, K, 0 * V).abs().max()) > exam.tolerance:
        why = (
            "With values of zero the output is not zero: something else is"
            " added to it (a residual, a bias)."
        )
    elif _of_one_length(exam, inputs):
        why = NORMED
        if exam.declared.norm and _normed_instead(exam, inputs):
            return
    exam.skip("known form", "convex hull", why=why)
    exam.portrait.append(why)
    exam.blocked = f"Needs weights to be read. {why}"


CHANGED = (
    "The output is no sum of values by any weights: values or outputs are"
    " changed in another way (a norm, a gate)."
)
NORMED = (
    "The output is no sum of values by any weights: their lengths do not"
    " count (a norm of values)."
)


def _of_one_length(exam: Exam, inputs: Inputs) -> bool:
    """Whether nothing changes where each value is longer in its own way."""
    Q, K, V = inputs
    longer = V * torch.linspace(1.5, 3, V.shape[2]).to(V.dtype)[:, None]
    return not _moves(exam, inputs, (Q, K, longer))


def _moves(exam: Exam, before: Inputs, after: Inputs) -> bool:
    still, now = exam.ask(*before), exam.ask(*after)
    return float(moved(now, still).max()) > ALIKE * float(still.abs().max())


def _normed_instead(exam: Exam, inputs: Inputs) -> bool:
    """Whether values have the norm that queries or keys were to have."""
    law, (Q, K, V) = PARTS["norm"], inputs
    queries = _moves(exam, inputs, (2 * Q, K, V))
    keys = _moves(exam, inputs, (Q, 2 * K, V))
    said = {
        (True, True): "neither queries nor keys are",
        (True, False): "queries are not",
        (False, True): "keys are not",
    }.get((queries, keys), "")
    if said:
        exam.fail(law, f"Values are normalised, and {said}.")
        exam.portrait.append(NORMED)
        block(exam, law, follows=False)
    return bool(said)


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
        block(exam, "positions", follows=False)
        return
    if not exam.declared.plain:
        looks = (
            f" It looks like one with {', and '.join(like)}." if like else ""
        )
        exam.fail(name, f"It is not what was declared.{looks}")
        block(exam, name, follows=False)
        return
    if wrong := contradiction(traits):
        exam.fail(name, wrong)
        block(exam, name)
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
    block(exam, name, follows=False)


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


def outside(output: Tensor, V: Tensor, heads: int) -> float:
    """How far an output lies beyond all values of its column."""
    V = spread(V.double(), heads)
    above = (output - V.amax(2, keepdim=True)).clamp(min=0)
    below = (V.amin(2, keepdim=True) - output).clamp(min=0)
    return float((above + below).max())


def block(exam: Exam, finding: str, *, follows: bool = True) -> None:
    """Nothing can be compared with the formula any more.

    Laws that need none are told all the same; with `follows`, one that is
    broken as well may be so by this fault, and cannot be told.
    """
    exam.blocked = f'Cannot be told while "{finding}" fails.'
    exam.under = finding if follows else ""


def wrong_scale(exam: Exam, factor: float, meaning: str) -> None:
    exam.fail("scale", meaning, factor, exam.meant)
    exam.how["factor"] = factor
    why = "Cannot be told while the scale is wrong."
    exam.skip("scale before overflow", why=why)
    but = "Holds, but for the scale."
    exam.agrees(*CORE, *exam.designed, meaning=but)


def measured_factor(exam: Exam, inputs: Inputs) -> float | str:
    Q, K, _ = inputs
    weights = read_weights(exam, Q, K)
    fitted = None if weights is None else fit_factor(exam, Q, K, weights)
    return AGREES if fitted is None else fitted


def fit_factor(
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
