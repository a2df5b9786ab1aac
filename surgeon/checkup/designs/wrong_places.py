"""Places that come in wrongly, by name."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from surgeon.checkup.designs.schemes import (
    AXES,
    Called,
    LostForOne,
    NewLate,
    Placed,
    Scheme,
    Slopes,
    Table,
    Turning,
    slopes_of,
)

Placement = tuple[str, Scheme]
BASES = (10_000.0, 500_000.0, 1_000_000.0, 100_000.0, 1_000.0, 100.0)


def wrong_places(
    scheme: Scheme, heads: int, T: int, S: int
) -> Iterator[Placement]:
    """What is meant, and a scheme that does it.

    `heads` of the queries, `T` and `S` tokens of the question.
    """
    if T == 1 and not isinstance(scheme, Turning):
        meaning = (
            "What is added for places is lost where there is one query, as"
            " beside a cache."
        )
        yield meaning, LostForOne(scheme)
    if isinstance(scheme, Turning):
        yield from _turned(scheme, T, S)
    elif isinstance(scheme, Slopes):
        yield from _slopes(scheme, heads)
    elif isinstance(scheme, Table):
        yield from _called(Called(scheme))
    elif isinstance(scheme, Called):
        yield from _called(scheme)


def _turned(right: Turning, T: int, S: int) -> Iterator[Placement]:
    other = {"halves": "neighbours", "neighbours": "halves"}[right.pairs]
    yield (
        f"Pairs are mixed: {right.pairs} are turned by angles that are laid"
        f" out for {other}.",
        replace(right, angles=other),
    )
    yield (
        f"Pairs are mixed: {other} are turned by angles that are laid out for"
        f" {right.pairs}.",
        replace(right, pairs=other, angles=right.pairs),
    )
    yield (
        f"{other.capitalize()} are pairs, not {right.pairs}. If that is"
        f' meant, say so: positions="rotary pairs={other}".',
        replace(right, pairs=other),
    )
    for axis in AXES:
        if axis != right.axis:
            meaning = f"Angles grow along {axis}, not along the tokens."
            yield meaning, replace(right, axis=axis)
    for only, said in (("Q", "Keys"), ("K", "Queries")):
        yield f"{said} are not turned.", replace(right, only=only)
    yield "Angles have the other sign.", replace(right, sign=-right.sign)
    yield (
        "Queries and keys are turned in opposite directions.",
        Called(_Opposite(right)),
    )
    for late in (1, -1, S - T, T - S, -(S - 1), 1 - T):
        if late:
            way = "ahead of" if late > 0 else "behind"
            meaning = (
                "Angles of another offset: queries are turned as if they"
                f" stood {_places(late)} {way} their own."
            )
            yield meaning, replace(right, late=late)
    for late in (1, -1) if T < S else ():
        way = "ahead of" if late > 0 else "behind"
        meaning = (
            "Angles of another offset: beside a cache, new queries and keys"
            f" are turned as if they stood one place {way} their own."
        )
        yield meaning, NewLate(right, late)
    for times, said in ((2.0, "half"), (0.5, "twice")):
        yield (
            f"Angles of another length: places count {said}.",
            replace(right, stretch=right.stretch * times),
        )
    if right.frequencies is not None:
        return
    for falling, said in (
        ("i/d", "fall half as fast as they should"),
        ("2i/width", "are those of the whole width, not of what is turned"),
    ):
        yield f"Frequencies {said}.", replace(right, falling=falling)
    for base in BASES:
        if base != right.base:
            meaning = (
                f"The base is {base:,.0f}, not {right.base:,.0f}. If that is"
                f' meant, say so: positions="rotary base={base:.0f}".'
            )
            yield meaning, replace(right, base=base)
    for share in (1.0, 0.5, 0.25):
        if share != right.share:
            meaning = (
                f"{share:.0%} of the width is turned, not {right.share:.0%}."
            )
            yield meaning, replace(right, share=share)


def _places(n: int) -> str:
    return "one place" if abs(n) == 1 else f"{abs(n)} places"


class _Opposite:
    """Keys turned the other way."""

    def __init__(self, right: Turning) -> None:
        self.right, self.other = right, replace(right, sign=-right.sign)

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        q = self.right(Q, K, queries, keys)[0]
        return q, self.other(Q, K, queries, keys)[1], None


def _slopes(right: Slopes, heads: int) -> Iterator[Placement]:
    yield (
        "Distance raises scores, where it should lower them.",
        replace(right, sign=-right.sign),
    )
    yield (
        "Keys ahead are raised by their distance, as those behind are"
        " lowered: made for a decoder.",
        replace(right, ahead=-1),
    )
    yield (
        "Keys behind are raised by their distance: the difference of places"
        " has the other sign.",
        replace(right, sign=-right.sign, ahead=-1),
    )
    slopes = slopes_of(heads) if right.slopes is None else right.slopes
    if heads > 1:
        others = {
            "Heads have one another's slopes, in reverse order.": (
                slopes.flip(0)
            ),
            "Heads have one another's slopes, one place away.": (
                slopes.roll(1, 0)
            ),
            "All heads have the first head's slope.": (
                slopes[:1].expand(heads)
            ),
            "Slopes begin at one: 2^(-8h/H) with h from 0.": (
                slopes_of(heads, plain=True) * 2 ** (8 / heads)
            ),
        }
        for meaning, wrong in others.items():
            yield meaning, replace(right, slopes=wrong)
    yield from (
        (
            f"Distances count {said}.",
            replace(right, slopes=slopes * times),
        )
        for said, times in (("twice", 2.0), ("half", 0.5))
    )


def _called(right: Called) -> Iterator[Placement]:
    yield (
        "What is added for places has the other sign.",
        replace(right, sign=-right.sign),
    )
    yield (
        "Distances have the other sign: places of queries and of keys are"
        " taken for each other.",
        replace(right, mirrored=True),
    )
    yield (
        "Heads have one another's numbers, in reverse order.",
        replace(right, heads="reversed"),
    )
    yield "What is added for places is lost.", replace(right, sign=0)
    for only, said in (("Q", "Keys"), ("K", "Queries")):
        yield f"{said} are not turned.", replace(right, only=only)
    for late in (1, -1):
        way = "ahead of" if late > 0 else "behind"
        yield (
            f"Queries are placed one {way} their own place.",
            replace(right, late=late),
        )
