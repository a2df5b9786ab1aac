"""Probes with a mask: who sees whom, and what is left of a hidden key?"""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.core import effective_weights
from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import Hypothesis, Inputs, attend, wrong_masks
from surgeon.imaging.influence import influence_map

# along which outputs are differentiated: a path is missed by none of them
# with probability one
DIRECTIONS = 12
SIGHT = (
    *READING,
    "mask diagonal",
    *FUTURE,
    "rectangular causal",
    "dead rows, forward",
    "dead rows, backward",
)


def random_mask(exam: Exam) -> Tensor:
    """[T, T]: everyone sees itself and some others; each row hides a key, and turning it over gives another mask."""
    T = exam.T
    while True:
        mask = torch.rand(T, T, generator=exam.generator) < 0.5
        mask |= torch.eye(T, dtype=torch.bool)
        if (
            not mask.all(-1).any()
            and not mask.all(0).any()
            and not torch.equal(mask, mask.T)
        ):
            return mask


def probe_always_causal(exam: Exam) -> bool:
    """For a subject that hides the future by itself: what it sees, before anything else is compared."""
    found = _identify(exam, exam.causal(exam.T), by_mask=False)
    if found is None:
        exam.base = exam.causal(exam.T)
        return True
    if (
        found.finding == "mask obeyed"
        and exam.subject.is_module
        and not _leak(_map(exam, FUTURE[0]))
    ):
        return True  # causal while it trains: no mask is what it has now
    exam.note(
        found.finding,
        False,
        "agrees to rounding with this fault",
        "agrees with the formula",
        found.meaning,
    )
    exam.blocked = f'Cannot be told while "{found.finding}" fails.'
    exam.skip("known form", why=exam.blocked)
    return False


def probe_masks(exam: Exam) -> None:
    """Which mask was read out of the one that was given."""
    subject = exam.subject
    if not exam.can_be_causal:
        exam.skip(
            *_but_padding(exam, SIGHT),
            why="The subject takes no mask and is not said to be causal.",
        )
        return
    if exam.blocked:
        maps = {
            name: _map(exam, name)
            for name in FUTURE
            if name == FUTURE[1] or subject.is_module
        }
        for name, found in maps.items():
            exam.note(name, None, meaning=exam.blocked, found=found)
        exam.skip(*SIGHT, why=exam.blocked)
        return
    wrong: Hypothesis | None = None
    if subject.mask != "none":
        wrong = _try_mask(exam)
    try:
        if wrong is None and not exam.broken(*READING):
            wrong = (
                _identify(exam, exam.causal(exam.T), by_mask=False)
                if exam.base is None
                else None
            )
        _future(exam, wrong)
    except Exception as error:  # whatever the subject raises
        by = (
            f" by {subject.causal}" if isinstance(subject.causal, str) else ""
        )
        meaning = f"Asked{by} to hide the future, it raises {reason(error)}"
        if not exam.broken(*READING):
            exam.note(FUTURE[1], False, "an error", "an output", meaning)
    if subject.mask == "none":
        exam.skip(
            *_but_padding(exam, READING),
            why="The subject takes no mask but the causal one.",
        )
    broken = exam.broken(*READING, "mask diagonal", *FUTURE)
    if broken:
        exam.skip(*SIGHT, why=f'Cannot be told while "{broken}" fails.')
        return
    exam.note(
        "mask diagonal",
        True,
        "sees itself, not the next",
        "sees itself, not the next",
    )
    for name in ("mask obeyed", "mask polarity", "mask before softmax"):
        exam.note(name, True, "agrees to rounding", "agrees with the formula")


def _but_padding(exam: Exam, names: tuple[str, ...]) -> list[str]:
    """Without the law about padding, if there is an argument for that."""
    return [
        name
        for name in names
        if name != "padding on keys" or not exam.subject.padding
    ]


def _try_mask(exam: Exam) -> Hypothesis | None:
    try:
        return _identify(exam, random_mask(exam), by_mask=True)
    except Exception as error:  # whatever the subject raises
        meaning = f"It refuses a mask: {reason(error)}"
        exam.note("mask obeyed", False, "an error", "an output", meaning)
        return None


def _identify(exam: Exam, mask: Tensor, by_mask: bool) -> Hypothesis | None:
    """None if the mask is obeyed; otherwise what explains the answer, or that nothing does."""
    inputs = exam.draw()
    got = exam.ask(*inputs, mask) if by_mask else exam.ask_causal(*inputs)
    seen = mask if exam.base is None else mask & exam.base
    right = attend(*inputs, seen, **exam.how)
    if exam.agree(got, right):
        return None
    for wrong in wrong_masks(mask, causal=not by_mask, **exam.how):
        expected = wrong.form(*inputs)
        if exam.agree(got, expected):
            return wrong
    weights = effective_weights(exam, inputs[2], got)
    if weights is not None and (
        stand_in := _stand_in(exam, inputs, weights, mask)
    ):
        return stand_in
    meaning = (
        "With a mask, the output agrees with no known form of attention."
    )
    return Hypothesis("known form", meaning, lambda q, k, v: right)


def _stand_in(
    exam: Exam, inputs: Inputs, weights: Tensor, mask: Tensor
) -> Hypothesis | None:
    """Hidden scores that were set to one number, or lowered by one, too small to put them out."""
    Q, K, _ = inputs
    scores = Q.double() @ exam.spread(K).mT * exam.factor
    if not (weights > 1e-13).all():
        return None
    logs = weights.log()
    level = ((logs - scores) * mask).sum(-1, keepdim=True) / mask.sum(
        -1, keepdim=True
    )
    for rest, said in (
        (logs - level, "set to"),
        (logs - level - scores, "changed by"),
    ):
        hidden = rest[mask.expand_as(rest).logical_not()]
        if float(hidden.std()) < 1e5 * exam.tolerance:
            meaning = (
                f"Hidden scores are {said} {float(hidden.mean()):.3g}, which"
                " leaves them a share."
            )
            return Hypothesis("minus infinity", meaning, lambda q, k, v: q)
    return None


def _future(exam: Exam, wrong: Hypothesis | None) -> None:
    """Maps of who reaches whom, while training and while evaluating; a leak in one mode alone is that mode's."""
    training, evaluating = FUTURE
    maps = {evaluating: _map(exam, evaluating)}
    if exam.subject.is_module:
        maps[training] = _map(exam, training)
    leaks = {name: _leak(found) for name, found in maps.items()}
    one_mode = len(maps) == 2 and (leaks[training] > 0) != (
        leaks[evaluating] > 0
    )
    if wrong is not None and not (
        one_mode and wrong.finding in ("mask obeyed", "known form")
    ):
        known = wrong.finding != "known form" or not leaks[evaluating]
        if known:
            exam.overrule(wrong.finding, wrong.meaning)
            for name, found in maps.items():
                exam.note(
                    name,
                    None,
                    leaks[name],
                    0.0,
                    f'Follows from "{wrong.finding}".',
                    found,
                )
            exam.skip(training, why="A function has no training mode.")
            return
    if exam.broken(*READING):
        for name, found in maps.items():
            exam.note(
                name,
                None,
                leaks[name],
                0.0,
                f'Follows from "{exam.broken(*READING)}".',
                found,
            )
    for name, found in maps.items():
        other = training if name == evaluating else evaluating
        if leaks[name] > 0 and name == evaluating and leaks.get(other):
            exam.note(
                name,
                None,
                leaks[name],
                0.0,
                "Leaks as it does while training.",
                found,
            )
        mode = (
            ""
            if not exam.subject.is_module
            else f", {name.split(', ')[1]}" + " alone" * one_mode
        )
        meaning = (
            f"Outputs depend on later tokens{mode}."
            if leaks[name] > 0
            else ""
        )
        exam.note(name, leaks[name] == 0, leaks[name], 0.0, meaning, found)
    exam.skip(training, why="A function has no training mode.")


def _leak(found: Tensor) -> float:
    """The largest entry above the diagonal."""
    return float(found.nan_to_num(nan=math.inf).triu(1).max())


def _map(exam: Exam, name: str) -> Tensor:
    """[T, T]: how strongly output i depends on key and value j."""
    Q, K, V = (x[:1] for x in exam.draw())
    train = name == FUTURE[0]
    rows = torch.cat(
        [K.transpose(1, 2).flatten(2), V.transpose(1, 2).flatten(2)], -1
    )[0]  # [T, all widths]

    def function(x: Tensor) -> Tensor:
        k, v = x.split([K.shape[1] * K.shape[3], V.shape[1] * V.shape[3]], -1)
        k, v = (
            y.unflatten(-1, (K.shape[1], -1)).transpose(0, 1)[None]
            for y in (k, v)
        )
        return (
            exam.answer_causal(Q, k, v, train=train, seed=3)
            .output[0]
            .transpose(0, 1)
            .flatten(1)
        )

    return reach(function, rows, exam.tolerance)


def reach(function: Any, rows: Tensor, tolerance: float) -> Tensor:
    """`influence_map`, and where that is zero, how far a change of the token moves the output.

    Wide outputs are taken along some random directions: a cell then estimates
    its norm, and is still 0 where no path leads, and nowhere else.
    """
    chance = torch.Generator().manual_seed(0)

    def narrow(x: Tensor) -> Tensor:
        y = function(x)
        if y.shape[-1] <= DIRECTIONS:
            return y
        directions = torch.randn(
            y.shape[-1], DIRECTIONS, generator=chance, dtype=torch.float64
        )
        return y @ (directions / math.sqrt(DIRECTIONS)).to(y.dtype)

    try:
        found = influence_map(narrow, rows)
    except Exception:  # a subject that autograd cannot follow
        found = rows.new_zeros(len(rows), len(rows))
    with torch.no_grad():
        still = function(rows)
        for j in range(len(rows)):
            changed = rows.clone()
            changed[j] = -0.7 * changed[j] + 0.3
            moved = (function(changed) - still).norm(dim=-1)
            moved = torch.where(moved > tolerance, moved, 0.0)
            found[:, j] = torch.where(found[:, j] == 0, moved, found[:, j])
    return found.detach()
