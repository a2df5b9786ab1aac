"""What a declaration leaves open, read off before anything is compared."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.designs.bounds import Sink
from surgeon.checkup.designs.design import Design
from surgeon.checkup.designs.norms import RowNorm
from surgeon.checkup.designs.schemes import Slopes, Table, slopes_of
from surgeon.checkup.designs.wrong import wrong_sinks
from surgeon.checkup.exam import Exam
from surgeon.checkup.probes.behaviour import NOT_LINEAR
from surgeon.checkup.probes.fitting import Reading, complete
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.subjects.answering import SubjectError

TOKENS = 13  # to read numbers off
FAR = 61  # and distances


def settle_design(exam: Exam) -> None:
    """The design with all its numbers, or a sentence why they are not told.

    What is wrong with them is a finding.
    """
    design = replace(exam.declared, top_left=exam.alignment == "top-left")
    exam.how["design"] = design
    if exam.half or design.plain:
        return
    design = _with_sink(exam, _with_table(exam, design))
    exam.how["design"] = design
    if not exam.blocked:
        exam.how["design"] = _best(exam, design)


def read(exam: Exam, tokens: int = TOKENS) -> Reading | None:
    """The weights of an ordinary question, to fit numbers to."""
    Q, K, _ = exam.draw(exam.tokens or tokens)
    weights = _weights(exam, Q, K)
    if weights is None:
        return None
    factor, turns = exam.how.get("factor"), exam.how.get("turns", False)
    return Reading(Q.double(), K.double(), weights, factor, turns)


def _nothing(exam: Exam, tokens: int) -> Tensor | None:
    """The weights of queries and keys that are zero: places and sinks."""
    Q, K, _ = (torch.zeros_like(x) for x in exam.draw(tokens))
    return _weights(exam, Q, K)


def _weights(exam: Exam, Q: Tensor, K: Tensor) -> Tensor | None:
    """Weights that are numbers, or None."""
    try:
        weights = read_weights(exam, Q, K)
    except SubjectError:  # a size that it does not take
        return None
    finite = weights is not None and weights.isfinite().all()
    return weights if finite else None


def _unread(exam: Exam, law: str, instead: str) -> None:
    why = f"Its numbers cannot be read off. {NOT_LINEAR} {instead}"
    exam.skip(law, why=why)
    exam.blocked = f"Needs the numbers of its {law}. {instead}"


def _with_table(exam: Exam, design: Design) -> Design:
    """The number of each distance, from one row or another."""
    if not isinstance(design.positions, Table):
        return design
    numbers, off = table_of(exam)
    if numbers is None:
        _unread(exam, "positions", "Give it as a function: positions.")
        return design
    if off > 1e-3:
        meaning = (
            "What is added for places is no matter of their distance alone."
        )
        exam.fail("positions", meaning, off, 0.0)
        _block(exam, "positions")
    return replace(design, positions=Table(numbers))


def table_of(exam: Exam, tokens: int = FAR) -> tuple[Tensor | None, float]:
    """[H, 2 T - 1]: what each distance adds, and how far places differ."""
    logs = bare_logs(exam, exam.tokens or tokens)
    if logs is None:
        return None, 0.0
    T, found, worst = logs.shape[-1], [], 0.0
    for ahead in range(1 - T, T):
        same = logs.diagonal(ahead, -2, -1)
        mean = same.nanmean(-1, keepdim=True)
        worst = max(worst, float((same - mean).nan_to_num().abs().max()))
        found.append(mean[:, 0].nan_to_num())
    return torch.stack(found, -1), worst


def bare_logs(exam: Exam, tokens: int) -> Tensor | None:
    """[H, T, T]: what places add, NaN where hidden; or None.

    Read off where all products are zero, less what the own key gets.
    """
    weights = _nothing(exam, tokens)
    if weights is None:
        return None
    logs = weights[0].log()
    logs = logs - logs.diagonal(dim1=-2, dim2=-1)[..., None]
    return logs.masked_fill(logs.isinf(), math.nan)


def _with_sink(exam: Exam, design: Design) -> Design:
    """The sink of each head: what is missing where all scores are zero."""
    if design.sink is None or design.sink.scores is not None:
        return design
    weights = _nothing(exam, exam.T)
    if weights is None:
        _unread(exam, "sink", "Give them: sink=[...], one for each head.")
        return design
    missing = 1 - weights.sum(-1)
    if float(missing.abs().max()) <= exam.tolerance:
        _dropped(exam)
        return replace(design, sink=None)
    scores = _beside(exam, design, weights)
    by_head = scores.mean((0, 2))
    if _alike(scores, (0, 2)):
        design = replace(design, sink=Sink(by_head))
        _compare_sinks(exam, design, by_head)
        return design
    by_place = scores.mean((0, 1))
    if _alike(scores, (0, 1)):
        meaning = "The sink belongs to the query's place, not to its head."
        exam.fail("sink", meaning, "a number a place", "a number a head")
        _go_on(exam, "sink")
        return replace(design, sink=Sink(by_place[:, None]))
    exam.fail(
        "sink",
        "What rows lack of one is no number of their head.",
        "another number a row",
        "a number a head",
    )
    _block(exam, "sink")
    return design


def _compare_sinks(exam: Exam, design: Design, found: Tensor) -> None:
    """What was read off, beside the module's own numbers.

    A layer may make sinks of its parameter in any way that is not known to
    be wrong.
    """
    own = own_sinks(exam.subject.target, len(found))
    if own is None or _close(found, own):
        return
    meant, heads = replace(design, sink=Sink(own)), len(found)
    for law, meaning, wrong in wrong_sinks(meant, heads, exam.factor):
        assert wrong.sink is not None
        scores = wrong.sink.scores
        odd = wrong.sink.unshifted or wrong.sink.bare
        if odd or scores is None or scores.ndim > 1:
            continue
        if _close(found, scores.expand(heads)):
            exam.fail(law, meaning, "other numbers", "its parameter's")
            _go_on(exam, law)
            return


def own_sinks(target: Any, heads: int) -> Tensor | None:
    """[H]: the parameter of a module that is called a sink, if one is."""
    if not isinstance(target, nn.Module):
        return None
    found = [
        x.detach().double().flatten()
        for name, x in target.named_parameters()
        if "sink" in name.lower() and x.numel() == heads
    ]
    return found[0] if len(found) == 1 else None


def _close(found: Tensor, other: Tensor) -> bool:
    return float((found - other).abs().max()) < 1e-3


def _beside(exam: Exam, design: Design, weights: Tensor) -> Tensor:
    """[B, H, T]: the scores beside rows whose own are zero."""
    bias = design.compared(*exam.draw()[:2])[2].double()
    there = bias.exp().expand_as(weights) * (weights > 0)
    total = weights.sum(-1)
    return (there.sum(-1) * (1 - total) / total).log()


def sink_of(exam: Exam, design: Design) -> Tensor | None:
    """[H], or [1] where all are alike: the sinks that are there."""
    weights = _nothing(exam, exam.T)
    if weights is None:
        return None
    scores = _beside(exam, design, weights)
    found = scores.mean((0, 2))
    if not _alike(scores, (0, 2)):
        return None
    return found[:1] if len(found) > 1 and _alike(found, (0,)) else found


def _block(exam: Exam, law: str) -> None:
    """Nothing can be compared with the form any more."""
    exam.blocked = f'Cannot be told while "{law}" fails.'
    exam.under = law


def _dropped(exam: Exam) -> None:
    meaning = "The sink takes nothing: rows sum to one."
    exam.fail("sink", meaning, "1", "less than 1")
    _go_on(exam, "sink")


def _go_on(exam: Exam, law: str) -> None:
    """What is there instead is known."""
    exam.but, exam.under = f"Holds, but for the {law}.", law


def _alike(scores: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether numbers are the same along these axes."""
    mean = scores.mean(axes, keepdim=True)
    return float((scores - mean).abs().max()) < 1e-3


def _best(exam: Exam, design: Design) -> Design:
    """What a norm has learned, and the small number beside its squares."""
    ways = [design]
    if (
        isinstance(design.positions, Slopes)
        and design.positions.slopes is None
    ):
        plain = Slopes(slopes_of(exam.held.heads, plain=True))
        ways.append(replace(design, positions=plain))
    fixed = isinstance(design.norm, RowNorm) and not math.isnan(
        design.norm.eps
    )
    if len(ways) == 1 and (fixed or design.norm is None):
        return design
    reading = read(exam)
    if reading is None:
        if not isinstance(design.norm, RowNorm):
            return design
        norm = replace(design.norm, eps=0.0)
        return replace(design, norm=norm)
    return min((complete(way, reading) for way in ways), key=reading.misfit)
