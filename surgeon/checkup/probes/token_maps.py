"""A layer on `x` from outside, with a mask: who reaches whom?"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from surgeon.checkup.forms import causal
from surgeon.checkup.outside import Outside, T
from surgeon.checkup.probes.maps import leak, reach
from surgeon.checkup.probes.rows import (
    BACKWARD,
    FORWARD,
    GIVES,
    unless_demanded,
)
from surgeon.checkup.probes.sight import (
    AS_TRAINING,
    EVALUATING,
    NO_MASK,
    SIGHT,
    TRAINING,
)
from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.conventions import MASKS


def probe_sight(exam: Outside, *, find: bool = False) -> None:
    """Maps with a causal mask, in both modes, and what they look like.

    `find` whether the convention of the mask is to be found out.
    """
    held = exam.held
    if not held.can_be_causal:
        kept = "padding on keys" if held.padding else ""
        exam.skip(*(name for name in SIGHT if name != kept), why=NO_MASK)
        return
    mask = None if held.causal else causal(T)
    if find and mask is not None:
        _find_convention(exam, mask)
    try:
        maps = _maps(exam, mask)
    except SubjectError as error:
        meaning = f"It refuses a mask: {error}"
        exam.fail("mask obeyed", meaning, "an error", "an output")
        return
    if _explained(exam, maps):
        return
    leaks = {name: leak(found) for name, found in maps.items()}
    if all(leaks.values()) and len(maps) > 1:
        both = leaks[EVALUATING], 0.0, AS_TRAINING, maps[EVALUATING]
        exam.note(EVALUATING, None, *both)
    for name, found in maps.items():
        sound = leaks[name] == 0
        meaning = "" if sound else "Outputs depend on later tokens."
        exam.note(name, sound, leaks[name], 0.0, meaning, found)
    if any(leaks.values()):
        return
    above = "nothing above the diagonal"
    exam.note("mask obeyed", True, above, above)
    full = T * (T - 1) // 2
    below = [int(found.tril(-1).count_nonzero()) for found in maps.values()]
    if set(below) == {full}:
        told = "all below the diagonal"
        exam.note("mask polarity", True, told, told)
        if mask is not None:
            _dead_row(exam)


def _find_convention(exam: Outside, mask: Tensor) -> None:
    """Which convention it obeys; the first, if it obeys none."""
    first = exam.held
    for convention in MASKS:
        if convention == "additive, lowest":
            continue  # cannot be told from the other
        exam.layer.held = replace(first, mask=convention)
        try:
            found = _maps(exam, mask)[EVALUATING]
        except SubjectError:  # a convention that it does not take
            continue
        if torch.equal((found > 0) | torch.eye(T, dtype=torch.bool), mask):
            told = f"Found out, not declared: {convention}."
            exam.note("mask polarity", None, convention, "", told)
            return
    exam.layer.held = replace(first, mask=MASKS[0])


def _maps(exam: Outside, mask: Tensor | None) -> dict[str, Tensor]:
    """Who reaches whom in the first sequence, in each mode that there is."""

    def function(train: bool) -> Callable[[Tensor], Tensor]:
        ask = exam.layer.ask
        return lambda x: ask(x[None], mask, train=train, seed=3)[0]

    modes = {TRAINING: True} if exam.layer.is_module else {}
    modes[EVALUATING] = False
    return {
        name: reach(function(train), exam.x[0], exam.tolerance)
        for name, train in modes.items()
    }


def _explained(exam: Outside, maps: dict[str, Tensor]) -> bool:
    """Whether all maps look like one fault's; then it is named."""
    held, leaks = exam.held, [leak(found) > 0 for found in maps.values()]
    if not all(leaks):
        return False
    ones = torch.ones(T, T, dtype=torch.bool)
    # A query always reaches its own output; the row of a token that sees
    # nothing may be NaN.
    eye = torch.eye(T, dtype=torch.bool)
    seen = [(found > 0) | eye for found in maps.values()]
    for name, meaning, pattern in (
        (
            "mask obeyed",
            "The mask has no effect: everyone sees everything.",
            ones,
        ),
        (
            "mask polarity",
            "The mask hides the past and shows the future.",
            ones.triu(),
        ),
        (
            "mask diagonal",
            "The mask is one place too wide: each token sees the next one.",
            ones.tril(1),
        ),
    ):
        if pattern is ones and held.causal is True:
            continue  # no mask was given: the future's fault
        if all(torch.equal(s, pattern | eye) for s in seen):
            meaning = held.worded(meaning)
            exam.fail(name, meaning, "its map", "nothing above the diagonal")
            follows = f'Follows from "{name}".'
            for future, found in maps.items():
                exam.note(future, None, leak(found), 0.0, follows, found)
            return True
    return False


def _dead_row(exam: Outside) -> None:
    """One query may look at nothing.

    Is its output a number, and does any other token reach it?
    """
    row, mask = 2, causal(T)
    mask[row] = False
    x = exam.x[:1].clone().requires_grad_()
    asked, weight = exam.dead_rows, unless_demanded(exam, "hazard")
    try:
        output = exam.layer.ask(x, mask)[0]
    except SubjectError as error:
        why = f"It refuses a row with nothing to look at: {error}"
        exam.skip(FORWARD, BACKWARD, why=why)
        return
    if output[row].isnan().any():
        meaning, held = GIVES["nan"], asked in ("any", "nan")
        exam.note(FORWARD, held, "nan", asked, meaning, weight=weight)
        exam.skip(BACKWARD, why="Follows from the NaN of the output.")
        return
    if not output.requires_grad:
        exam.skip(FORWARD, BACKWARD, why="No gradient flows.")
        return

    def slope(y: Tensor) -> Tensor:
        how = {"retain_graph": True, "materialize_grads": True}
        return answer(torch.autograd.grad, y.sum(), x, **how)[0]

    reached = slope(output[row])[0, torch.arange(T) != row]
    others = bool(reached.nan_to_num().any())
    kind = "uniform" if others else "zero"
    all_the_same = (
        "A row that may look at nothing looks at others all the same."
    )
    meaning = all_the_same if others else ""
    held = asked in ("any", kind)
    exam.note(FORWARD, held, kind, asked, meaning, weight=weight)
    if not slope(output).isfinite().all():
        meaning = "The output is finite, but the gradient of x is NaN."
        exam.fail(BACKWARD, meaning, "NaN", "finite", weight)
    exam.note(BACKWARD, True, "finite", "finite")
