"""A fault that is but some queries', heads' or sequences'."""

from collections.abc import Iterable

import torch
from torch import Tensor

from surgeon.checkup.designs.wrong import Wrong
from surgeon.checkup.exam import Exam, tolerance
from surgeon.checkup.forms import Inputs, attend


def partly(
    exam: Exam,
    inputs: Inputs,
    got: Tensor,
    seen: Tensor | None,
    ways: Iterable[Wrong],
) -> tuple[str, str] | None:
    """A law and what is said of it, if a fault is only some rows'.

    Where each row of the answer is right or has this fault: those of some
    queries, of some heads, or of some sequences.
    """
    right = attend(*inputs, seen, **exam.how)
    size = max(1.0, float(right.nan_to_num().abs().max()))
    slack = exam.tolerance * size
    if not exam.design.plain and exam.dtype == torch.float64:
        slack = tolerance(torch.float32) * size
    sound = _alike(got, right, slack)
    if sound.all() or not sound.any():
        return None
    for law, meaning, design in ways:
        how = exam.how | {"design": design}
        try:
            wrong = attend(*inputs, seen, **how)
        except RuntimeError:  # numbers for each head, on another axis
            continue
        where = _where(sound, _alike(got, wrong, slack))
        if where:
            return law, f"{meaning} So it is {where} alone."
    return None


def _alike(got: Tensor, form: Tensor, slack: float) -> Tensor:
    """[B, H, T]: whether rows agree."""
    return (got - form).abs().nan_to_num().amax(-1) <= slack


def _where(sound: Tensor, faulty: Tensor) -> str:
    """Along which axis of [B, H, T] rows are sound or faulty, in words."""
    for axis, one, many in (
        (2, "for query", "for queries"),
        (1, "in head", "in heads"),
        (0, "in sequence", "in sequences"),
    ):
        rest = tuple({0, 1, 2} - {axis})
        bad = (~sound).any(rest)
        fits = faulty.all(rest)
        if bad.all() or not fits[bad].all():
            continue
        found = bad.nonzero().flatten().tolist()
        if axis == 2 and found == [sound.shape[2] - 1]:
            return "for the last query"
        said = one if len(found) == 1 else many
        return f"{said} {', '.join(map(str, found))}"
    return ""
