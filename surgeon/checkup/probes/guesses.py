"""Which declaration would say what an attention was found to be?"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.designs.bounds import Cap
from surgeon.checkup.designs.design import PLAIN
from surgeon.checkup.designs.norms import RowNorm
from surgeon.checkup.designs.schemes import Slopes, Table, Turning
from surgeon.checkup.exam import Exam
from surgeon.checkup.probes.fitting import complete
from surgeon.checkup.probes.settling import read, table_of
from surgeon.checkup.probes.traits import (
    ADDED,
    ASTRAY,
    BIAS,
    NONE,
    PLACE_BIAS,
    TURNED,
    Traits,
)
from surgeon.checkup.subjects.answering import SubjectError

CLOSE = 1e-3  # of logarithms of shares
Guess = tuple[str, dict[str, Any]]
BASES = {
    "": 10_000.0,
    " base=500000": 500_000.0,
    " base=1000000": 1_000_000.0,
    " base=100000": 100_000.0,
}
SHARES = {"": 1.0, " share=0.5": 0.5, " share=0.25": 0.25}


def suggestion(exam: Exam, traits: Traits) -> str:
    """A sentence that says what to declare, or what kind of thing."""
    try:
        found = _declaration(exam, traits)
    except SubjectError:  # a size that it does not take
        found = ""
    if found:
        return f"It agrees with {found}: say so, and that is examined, too."
    if names := ", ".join(_names(traits)):
        return f"Say what is meant ({names}), and that is examined, too."
    return ""


def _declaration(exam: Exam, traits: Traits) -> str:
    """The arguments that describe it, if some do."""
    reading = read(exam)
    if reading is None or traits.rank is not None:
        return ""
    # shares without what a sink takes
    weights = reading.weights / reading.weights.sum(-1, keepdim=True)
    reading = replace(reading, weights=weights)
    parts = (_norms(traits), _places(exam, traits), _caps(traits))
    for gains, guess in itertools.product(
        (False, True), itertools.product(*parts)
    ):
        made = {
            name: part for _, some in guess for name, part in some.items()
        }
        whole = complete(replace(PLAIN, **made), reading, gains=gains)
        if float(reading.residual(whole).abs().max()) < CLOSE:
            words = ", ".join(said for said, _ in guess if said)
            break
    else:
        return ""
    beside = [] if traits.whole or not traits.sum_varies else ["sink=True"]
    if band := window_of(traits.seen):
        beside.append(band)
    return ", ".join([word for word in (words, *beside) if word])


def _norms(traits: Traits) -> list[Guess]:
    if traits.query_length or traits.key_length:
        return [("", {})]
    return [
        (f'qk_norm="{kind}"', {"norm": RowNorm(kind, math.nan)})
        for kind in ("rms", "l2")
    ]


def _places(exam: Exam, traits: Traits) -> list[Guess]:
    if traits.places == NONE:
        return [("", {})]
    if traits.places == TURNED:
        return list(_turned(exam.d_k))
    if traits.places != BIAS:
        return []
    sloping = Slopes()
    found: list[Guess] = [('positions="alibi"', {"positions": sloping})]
    numbers, off = table_of(exam)
    if numbers is not None and off < CLOSE:
        found.append(('positions="distance"', {"positions": Table(numbers)}))
    return found


def _turned(width: int) -> Iterator[Guess]:
    for share, base, pairs in itertools.product(
        SHARES, BASES, ("", " pairs=neighbours")
    ):
        columns = SHARES[share] * width
        if columns % 2 or columns < 2:
            continue
        scheme = Turning(
            BASES[base], SHARES[share], "neighbours" if pairs else "halves"
        )
        yield (
            f'positions="rotary{base}{share}{pairs}"',
            {"positions": scheme},
        )


def _caps(traits: Traits) -> list[Guess]:
    limit = traits.limit
    if limit is None:
        return [("", {})]
    if math.isnan(limit):
        return []
    return [(f"softcap={limit:.4g}", {"cap": Cap(limit)})]


def window_of(seen: Tensor) -> str:
    """The argument for a band of keys, if they are one that ends behind."""
    T, S = seen.shape
    back = int(seen[-1].sum()) - 1
    if T > S or back + 1 >= S or not seen[-1, -1]:
        return ""
    for sides, word in (
        ((back, 0), f"sliding_window={back + 1}"),
        ((back, back), f"window={back}"),
    ):
        band = replace(PLAIN, window=sides).sees(T, S)
        if band is not None and torch.equal(seen, band):
            return word
    return ""


def _names(traits: Traits) -> list[str]:
    """The arguments that are for what was seen."""
    needs = {
        "qk_norm": not (traits.query_length and traits.key_length),
        "positions": traits.places
        in (BIAS, PLACE_BIAS, TURNED, ADDED, ASTRAY),
        "softcap": traits.limit is not None and traits.rank is None,
        "sink": not traits.whole and traits.sum_varies,
        "window": bool(window_of(traits.seen)),
    }
    return [name for name, needed in needs.items() if needed]
