"""A causal mask that the subject draws, with more keys than queries."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.probes.behaviour import sums_to_one
from surgeon.checkup.probes.core import UNWRITTEN
from surgeon.checkup.probes.declared import fits, named
from surgeon.checkup.probes.reading import read_weights, sight
from surgeon.checkup.probes.unknown import are_shares
from surgeon.checkup.subjects.answering import SubjectError

ALIGNED = {
    "top-left": (
        "Aligned top-left: The first query sees the first key alone, and the"
        " last keys are seen by nobody."
    ),
    "bottom-right": (
        "Aligned bottom-right: The last query sees every key, as when tokens"
        " follow a cache."
    ),
    "neither": (
        "Aligned neither: the causal mask agrees with neither convention."
    ),
}


def probe_rectangular(exam: Exam) -> None:
    """Three queries, seven keys, a causal flag: where does it end?"""
    name, T, S = "rectangular causal", 3, 7
    if name in exam.findings:
        return
    if not exam.held.causal or exam.held.flag_beside_mask:
        exam.skip(
            name,
            why="The subject draws no causal mask: the caller's mask says who"
            " sees whom.",
        )
        return
    if not exam.held.rectangular:
        exam.skip(name, why=exam.held.why_square)
        return
    inputs = exam.draw(T, S)
    try:
        got = exam.ask(*inputs, causal=True)
    except SubjectError as error:
        why = f"It takes no more keys than queries: {error}"
        exam.skip(name, why=why)
        return
    top_left = torch.ones(T, S, dtype=torch.bool).tril()
    forms = {"top-left": top_left, "bottom-right": causal(T, S)}
    ends = {} if exam.blocked else _ends_at(exam, inputs, got, forms)
    if not any(ends.values()):
        ends = _seen_to_end(exam, inputs, forms)
        found = next((where for where in forms if ends[where]), "")
        if found and not exam.blocked:
            _oblong_and_wrong(exam, inputs, got, forms[found])
    found = next((where for where in forms if ends[where]), "neither")
    asked = exam.alignment
    held = found == asked or (asked == "any" and found in forms)
    # PyTorch documents top-left, which is right where T is S.
    meant = found == "neither" or "alignment" in exam.demanded
    weight = "fault" if meant else "hazard"
    exam.note(name, held, found, asked, ALIGNED[found], weight=weight)
    told = exam.blocked or exam.broken("known form", *exam.designed)
    if held and found == "bottom-right" and not told:
        _probe_one_query(exam, S)


def _seen_to_end(
    exam: Exam, inputs: Inputs, forms: dict[str, Tensor]
) -> dict[str, bool]:
    """Where the last key ends that each query sees, whatever the form."""
    ask = partial(exam.ask, causal=True)
    shown = sight(exam, inputs, ask) > exam.tolerance
    last = shown.shape[-1] - 1 - shown.flip(-1).int().argmax(-1)
    return {
        where: torch.equal(last, seen.sum(-1) - 1)
        for where, seen in forms.items()
    }


def _oblong_and_wrong(
    exam: Exam, inputs: Inputs, got: Tensor, seen: Tensor
) -> None:
    """The mask ends where it may, and the numbers are others."""
    T, S = seen.shape
    if named(exam, inputs, got, seen, later=True):
        return
    meaning = (
        f"Right for as many queries as keys, but not for {T} queries and {S}"
        " keys."
    )
    ask = partial(exam.ask, causal=True)
    weights = read_weights(exam, *inputs[:2], ask)
    whole = exam.design.sink is None and not exam.design.linear
    if (
        weights is not None
        and whole
        and are_shares(exam, weights)
        and not sums_to_one(exam, weights)
    ):
        meaning += UNWRITTEN
    exam.overrule("known form", meaning)


def _ends_at(
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
            found[where] = fits(exam, inputs, got, seen, design)
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


def _probe_one_query(exam: Exam, S: int) -> None:
    """One query that follows a cache: as the last row of several?"""
    inputs, seen = exam.draw(1, S, 1), torch.ones(1, S, dtype=torch.bool)
    try:
        got = exam.ask(*inputs, causal=True)
    except SubjectError:  # a size that it does not take
        return
    right = exam.agree(got, exam.form(seen)(*inputs))
    if not right and not named(exam, inputs, got, seen, later=True):
        exam.overrule(
            "known form",
            f"Right for several queries, but not for 1 query and {S} keys.",
        )
