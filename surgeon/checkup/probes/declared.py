"""Is it what it was declared to be; and if not, what instead?"""

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from surgeon.checkup.designs.design import PARTS, Design
from surgeon.checkup.designs.norms import SMALL, RowNorm
from surgeon.checkup.designs.schemes import (
    Called,
    Slopes,
    Table,
    Turning,
)
from surgeon.checkup.designs.wrong import wrong_ways
from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, attend
from surgeon.checkup.probes.fitting import (
    Reading,
    complete,
    other_numbers,
)
from surgeon.checkup.probes.instead import (
    maps_instead,
    numbers_instead,
    pattern_instead,
)
from surgeon.checkup.probes.partly import partly
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.probes.settling import FAR, read
from surgeon.checkup.probes.traits import LARGEST
from surgeon.checkup.probes.unknown import (
    block,
    fit_factor,
    wrong_scale,
)
from surgeon.checkup.subjects.answering import SubjectError

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
    if not fits(exam, inputs, got, seen, design):
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
    sizes = exam.held.heads, Q.shape[2], K.shape[2], exam.factor
    for fresh in (False, True) if more else (False,):
        if fresh and _of_another_scale(exam, inputs, got, seen, later):
            return True  # weights of a norm would explain that as well
        norm, scale = exam.declared.norm, exam.declared.scale
        right = replace(exam.design, norm=norm, scale=scale)
        right = right if fresh else exam.design
        for law, meaning, design in wrong_ways(right, *sizes, later=later):
            if more and (fresh or design.norm != right.norm):
                design = complete(design, more, gains=fresh)
            if fits(exam, inputs, got, seen, design):
                _adopt(exam, law, meaning, design)
                return True
    for design in other_numbers(exam.design, reading) if reading else ():
        if fits(exam, inputs, got, seen, design):
            _adopt(exam, *_number(exam.design, design), design)
            return True
    return _instead(exam, inputs, got, seen, later=later)


def _instead(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    *,
    later: bool,
) -> bool:
    """Whether what is there can be read off, or is only some rows'."""
    Q, K, _ = inputs
    T, S = Q.shape[2], K.shape[2]
    square = T == S and not later
    ways = wrong_ways(exam.design, exam.held.heads, T, S, exam.factor)
    if found := partly(exam, inputs, got, seen, ways):
        _only_name(exam, *found, later=later)
        return True
    for law, meaning, design in numbers_instead(exam, T) if square else ():
        if not fits(exam, inputs, got, seen, design):
            continue
        if isinstance(design.positions, (Called, Table)):  # of these places
            _only_name(exam, law, meaning, later=later)
        else:
            _adopt(exam, law, meaning, design)
        return True
    if exam.design.linear and square and _maps(exam):
        return True
    if exam.held.causal is True and exam.base is None:
        return False  # which keys are seen is the future's fault
    bare = replace(exam.design, window=None, picture=None)
    weights = None if bare == exam.design else read_weights(exam, Q, K)
    shown = None
    if weights is not None:
        shown = pattern_instead(weights, past=exam.base is not None)
    if shown and fits(exam, inputs, got, shown.seen, bare):
        _only_name(exam, PARTS["window"], shown.meaning, later=later)
        return True
    return False


def _maps(exam: Exam) -> bool:
    """Whether queries or keys have another feature map than declared."""
    inputs = exam.draw(3 * exam.d_k)
    try:
        weights = read_weights(exam, *inputs[:2])
    except SubjectError:  # a size that it does not take
        return False
    if weights is None or exam.d_k > LARGEST:
        return False
    meaning = maps_instead(exam.design, inputs, weights)
    if meaning:
        _only_name(exam, PARTS["linear"], meaning, later=False)
    return bool(meaning)


def _only_name(exam: Exam, law: str, meaning: str, *, later: bool) -> None:
    """Named, and nothing is known that all else could be compared with."""
    exam.overrule(law, meaning)
    if later:
        exam.but = f"Holds, but for the {law}."
    else:
        block(exam, law)


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


def fits(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    design: Design,
) -> bool:
    how: dict[str, Any] = exam.how | {"design": design}
    return exam.agree(got, attend(*inputs, seen, **how))


def _adopt(exam: Exam, law: str, meaning: str, design: Design) -> None:
    if _right_for_one(exam, design):
        meaning += " With one query it is as declared."
    exam.overrule(law, meaning)
    exam.how["design"] = design
    exam.but, exam.under = f"Holds, but for the {law}.", law


def _right_for_one(exam: Exam, found: Design) -> bool:
    """Whether one query is answered as declared, and not as others are."""
    if not exam.held.rectangular or exam.base is not None or exam.tokens:
        return False
    inputs = exam.draw(1, 7)
    try:
        got = exam.ask(*inputs)
    except SubjectError:  # a size that it does not take
        return False
    right = fits(exam, inputs, got, None, exam.design)
    return right and not fits(exam, inputs, got, None, found)


def _number(right: Design, found: Design) -> tuple[str, str]:
    """Which number is another, in words."""
    if right.cap and found.cap and found.cap is not right.cap:
        size, meant = float(found.cap.size), right.cap.size
        return "soft cap", f"The cap is {size:.4g}, not {meant:.4g}."
    if isinstance(found.positions, Turning):
        assert isinstance(right.positions, Turning)
        base, meant = float(found.positions.base), right.positions.base
        return "positions", f"The base is {base:,.5g}, not {meant:,.5g}."
    assert isinstance(found.positions, Slopes)
    assert found.positions.slopes is not None
    slopes = ", ".join(f"{x:.4g}" for x in found.positions.slopes.tolist())
    return "positions", f"The slopes are {slopes}."


def confirm(exam: Exam) -> None:
    """What was declared is there."""
    exam.agrees(*(law for law in exam.designed if law != "documents"))
