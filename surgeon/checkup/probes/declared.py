"""Is it what it was declared to be; and if not, what instead?"""

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from surgeon.checkup.designs.design import Design
from surgeon.checkup.designs.norms import SMALL, RowNorm
from surgeon.checkup.designs.schemes import Slopes, Table, Turning
from surgeon.checkup.designs.wrong import wrong_ways
from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, attend
from surgeon.checkup.probes.fitting import (
    Reading,
    complete,
    other_numbers,
)
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.probes.settling import FAR, read
from surgeon.checkup.probes.unknown import fit_factor, wrong_scale

WIDEST = 60  # window that the usual question shows
SQUARE = 1100  # as many queries as keys, at most


def tokens_to_show(exam: Exam) -> int:
    """How many tokens a question needs that shows the design."""
    window = exam.declared.window
    if exam.tokens or window is None:
        return exam.tokens or exam.T
    sides = [int(side) for side in window if math.isfinite(side)]
    wide = max(sides) + 4
    return max(exam.T, wide) if wide <= WIDEST else exam.T


def sizes_to_try(exam: Exam) -> list[tuple[int, int, int]]:
    """Queries, keys and sequences of further questions."""
    if exam.tokens:
        return []
    sizes = [(1, 1, 1), (3, 3, 1), (7, 7, 3), (61, 61, 1)]
    if exam.held.rectangular and exam.base is None:
        sizes += [(3, 7, 2), (7, 3, 1), (1, 7, 1), (3, 193, 1), (1, 521, 1)]
    sizes.append((131, 131, 1))
    if isinstance(exam.design.positions, Table):
        sizes = [size for size in sizes if max(size) <= FAR]
    return sizes + _beyond_the_window(exam)


def _beyond_the_window(exam: Exam) -> list[tuple[int, int, int]]:
    """One more, if the window is wider than the others show."""
    sides = [side for side in exam.design.window or () if math.isfinite(side)]
    wide = int(max(sides, default=0)) + 4
    if wide <= WIDEST:
        return []
    few = exam.held.rectangular and exam.base is None
    if not few and wide > SQUARE:
        return []
    return [(3 if few else wide, wide, 1)]


def from_the_first(
    exam: Exam, inputs: Inputs, got: Tensor, seen: Tensor | None
) -> bool:
    """Whether both count their places from the first, with other numbers.

    Without a mask of its own, that is as good as from the last.
    """
    T, S = inputs[0].shape[2], inputs[1].shape[2]
    free = "alignment" not in exam.demanded and exam.held.causal is None
    places = exam.design.positions or exam.design.window
    if T == S or not places or not free or exam.design.top_left:
        return False
    design = replace(exam.design, top_left=True)
    if not _fits(exam, inputs, got, seen, design):
        return False
    exam.how["design"] = design
    exam.portrait.append(
        "With fewer queries than keys, both count from the first: it is not"
        " made for a cache."
    )
    return True


def named(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    *,
    later: bool = False,
) -> bool:
    """Whether one way to miss the design explains the answer.

    Then it is named, and all else is compared with what is there instead;
    `later` whether it was right at other sizes.
    """
    if exam.design.plain:
        return False
    Q, K, _ = inputs
    reading = _read(exam, Q, K)
    more = read(exam) if _learns(exam) else None
    sizes = exam.held.heads, Q.shape[2], K.shape[2]
    for fresh in (False, True) if more else (False,):
        if fresh and _of_another_scale(exam, inputs, got, seen, later):
            return True  # weights of a norm would explain that as well
        norm, scale = exam.declared.norm, exam.declared.scale
        right = replace(exam.design, norm=norm, scale=scale)
        right = right if fresh else exam.design
        for law, meaning, design in wrong_ways(right, *sizes, later=later):
            if more and (fresh or design.norm != right.norm):
                design = complete(design, more, gains=fresh)
            if _fits(exam, inputs, got, seen, design):
                _adopt(exam, law, meaning, design)
                return True
    for design in other_numbers(exam.design, reading) if reading else ():
        if _fits(exam, inputs, got, seen, design):
            _adopt(exam, *_number(exam.design, design), design)
            return True
    return False


def _of_another_scale(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    later: bool,
) -> bool:
    """Whether another factor than the declared one stands beside a norm."""
    norm, meant = exam.declared.norm, exam.design
    declared = "factor" in exam.how and not later
    if not isinstance(norm, RowNorm) or norm.kind != "l2" or not declared:
        return False
    Q, K, _ = inputs
    weights = read_weights(exam, Q, K)
    # The small number was read off by the declared factor: that may be wrong.
    for eps in SMALL if math.isnan(norm.eps) else (norm.eps,):
        design = replace(meant, norm=replace(norm, eps=eps))
        exam.how["design"] = design
        factor = None if weights is None else fit_factor(exam, Q, K, weights)
        how: dict[str, Any] = exam.how | {"factor": factor}
        if factor and exam.agree(got, attend(*inputs, seen, **how)):
            unusual = "Scores are multiplied by an unusual factor."
            wrong_scale(exam, factor, unusual)
            return True
    exam.how["design"] = meant
    return False


def _learns(exam: Exam) -> bool:
    """Whether a norm may have weights of its own."""
    return isinstance(exam.declared.norm, RowNorm)


def _read(exam: Exam, Q: Tensor, K: Tensor) -> Reading | None:
    weights = read_weights(exam, Q, K)
    if weights is None or not weights.isfinite().all():
        return None
    factor, turns = exam.how.get("factor"), exam.how.get("turns", False)
    return Reading(Q.double(), K.double(), weights, factor, turns)


def _fits(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    design: Design,
) -> bool:
    how: dict[str, Any] = exam.how | {"design": design}
    return exam.agree(got, attend(*inputs, seen, **how))


def _adopt(exam: Exam, law: str, meaning: str, design: Design) -> None:
    exam.overrule(law, meaning)
    exam.how["design"] = design
    exam.but, exam.under = f"Holds, but for the {law}.", law


def _number(right: Design, found: Design) -> tuple[str, str]:
    """Which number is another, in words."""
    if right.cap is not None and found.cap is not right.cap:
        size, meant = float(found.cap.size), right.cap.size  # type: ignore[union-attr]
        return "soft cap", f"The cap is {size:.4g}, not {meant:.4g}."
    if isinstance(found.positions, Turning):
        assert isinstance(right.positions, Turning)
        base, meant = float(found.positions.base), right.positions.base
        return "positions", f"The base is {base:,.5g}, not {meant:,.5g}."
    assert isinstance(found.positions, Slopes)
    assert found.positions.slopes is not None
    slopes = ", ".join(f"{x:.4g}" for x in found.positions.slopes.tolist())
    return "positions", f"The slopes are {slopes}."


def ends_at(
    exam: Exam, inputs: Inputs, got: Tensor, forms: dict[str, Tensor]
) -> dict[str, bool]:
    """Which causal mask it draws with more keys than queries.

    Places are to be counted from the same end.
    """
    from_first = {"top-left": True, "bottom-right": False}
    found = dict.fromkeys(forms, False)
    for where, seen in forms.items():
        first = from_first[where]
        for top_left in (first, not first):
            design = replace(exam.design, top_left=top_left)
            found[where] = _fits(exam, inputs, got, seen, design)
            if found[where] and top_left == first:
                return found
            if found[where] and exam.design.positions:
                _from_the_other_end(exam, where)
                return found
    return found


def _from_the_other_end(exam: Exam, where: str) -> None:
    """A mask that ends at one end, and places counted from the other."""
    at_first = where == "top-left"
    masked, placed = ("first", "last") if at_first else ("last", "first")
    exam.overrule(
        "positions",
        "Angles of another offset: with more keys than queries, the causal"
        f" mask puts the {masked} query beside the {masked} key, and places"
        f" are counted as if the {placed} stood beside the {placed}.",
    )


def confirm(exam: Exam) -> None:
    """What was declared is there."""
    exam.agrees(*(law for law in exam.designed if law != "documents"))
