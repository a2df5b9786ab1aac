"""Ways in which an attention is not what it was meant to be, by name."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from surgeon.checkup.designs.bounds import Cap, Sink
from surgeon.checkup.designs.design import PARTS, Design
from surgeon.checkup.designs.linear import open_sums, wrong_linear
from surgeon.checkup.designs.norms import SMALL, CalledNorm, RowNorm
from surgeon.checkup.designs.schemes import Turning
from surgeon.checkup.designs.wrong_pictures import wrong_pictures
from surgeon.checkup.designs.wrong_places import wrong_places

NOT_TURNED = (
    "Places do not count: nothing is turned along the tokens. Angles that"
    " grow along heads or the batch cancel."
)


class Wrong(NamedTuple):
    """A law that is broken, what that means, and what is there instead."""

    law: str
    meaning: str
    design: Design


LEFT_OUT = {
    "norm": "Queries and keys are not normalised.",
    "positions": "Places do not count: nothing is added for them.",
    "cap": "Scores are not capped.",
    "window": "The window hides nothing.",
    "picture": "Windows hide nothing.",
    "linear": "It is softmax of products, and not products of features.",
    "sink": "The sink takes nothing: rows sum to one.",
}


def wrong_ways(
    design: Design,
    heads: int,
    T: int,
    S: int,
    by: float,
    *,
    later: bool = False,
) -> Iterator[Wrong]:
    """Each part left out, and each part gone wrong.

    `heads` of the queries, `T` and `S` tokens of the question, `by` what its
    scores are multiplied by; `later` whether it was right at other sizes, so
    that no part is left out at all.
    """
    if not later:
        yield from _left_out(design)
    if design.positions is not None:
        for meaning, scheme in wrong_places(design.positions, heads, T, S):
            wrong = replace(design, positions=scheme)
            yield Wrong("positions", meaning, wrong)
        if not design.biased_first:
            yield Wrong(
                "positions",
                "What is added for places is multiplied by the scale, as"
                " products are.",
                replace(design, biased_first=True),
            )
    if design.picture is not None:
        for meaning, picture in wrong_pictures(design.picture):
            yield Wrong("window", meaning, replace(design, picture=picture))
    if design.linear is not None:
        law = PARTS["linear"]
        for meaning, linear in wrong_linear(design.linear):
            yield Wrong(law, meaning, replace(design, linear=linear))
    yield from _norms(design)
    yield from _windows(design, S)
    yield from _caps(design)
    yield from wrong_sinks(design, heads, by)
    if later:
        yield from _left_out(design)


def _left_out(design: Design) -> Iterator[Wrong]:
    turned = {"positions": NOT_TURNED}
    said = turned if isinstance(design.positions, Turning) else {}
    for part, meaning in (LEFT_OUT | said).items():
        if getattr(design, part) is not None:
            nothing: dict[str, Any] = {part: None}
            without = replace(design, **nothing)
            yield Wrong(PARTS[part], meaning, without)


def _norms(design: Design) -> Iterator[Wrong]:
    law, norm = PARTS["norm"], design.norm
    if norm is None:
        return
    if design.positions is not None:
        late, early = "after they are turned", "before they are turned"
        said, meant = (early, late) if design.norm_last else (late, early)
        yield Wrong(
            law,
            f"Queries and keys are normalised {said}, not {meant}.",
            replace(design, norm_last=not design.norm_last),
        )
    for only, other in (("Q", "keys"), ("K", "queries")):
        if isinstance(norm, (RowNorm, CalledNorm)):
            yield Wrong(
                law,
                f"The {other} are not normalised.",
                replace(design, norm=replace(norm, only=only)),
            )
    if isinstance(norm, CalledNorm):
        yield from _without_weights(design)
    if not isinstance(norm, RowNorm):
        return
    axes = {
        (-2,): "over the tokens, not over the width of a head",
        (1,): "over the heads, not over the width of one",
        (0,): "over the batch, not over the width of a head",
        (1, -1): "over all heads together, not over the width of one",
        (-2, -1): "over all tokens together, not over each",
        (-1,): "over the width of one head, not over all heads together",
    }
    for over, said in axes.items():
        if over != norm.over:
            yield Wrong(
                law,
                f"Lengths are taken {said}.",
                replace(design, norm=replace(norm, over=over)),
            )
    rows = {
        "the query's": "Keys are divided by the norm of queries.",
        "the query's key": (
            "A score is divided by the norm of another row: that of the key"
            " in the query's own place, not of its own key."
        ),
    }
    for of, meaning in rows.items():
        yield Wrong(law, meaning, replace(design, norm=replace(norm, of=of)))
    yield Wrong(
        law,
        "Rows are divided by the square of their length: the root is"
        " missing.",
        replace(design, norm=replace(norm, power=2)),
    )
    kinds = {
        "l2": "divided by their length",
        "rms": "divided by their root mean square",
        "layer": "centred before they are normalised",
    }
    for kind, said in kinds.items():
        if kind != norm.kind:
            yield Wrong(
                law,
                f"Rows are {said}, which is another norm.",
                replace(design, norm=replace(norm, kind=kind)),
            )


def _without_weights(design: Design) -> Iterator[Wrong]:
    """Of a norm that is a function: what is there has no numbers."""
    kinds = {"rms": "root mean square", "l2": "length"}
    for kind, by in kinds.items():
        for eps in SMALL:
            yield Wrong(
                PARTS["norm"],
                f"Rows are divided by their {by}, and that is all: weights"
                " that were declared are left out.",
                replace(design, norm=RowNorm(kind, eps)),
            )


def _windows(design: Design, S: int) -> Iterator[Wrong]:
    if design.window is None:
        return
    back, ahead = design.window
    others = {
        (back + 1, ahead): "One key too many is seen behind the query",
        (back - 1, ahead): "One key too few is seen behind the query",
        (back, ahead + 1): "One key too many is seen ahead of the query",
        (back, ahead - 1): "One key too few is seen ahead of the query",
        (back + 1, ahead + 1): "One key too many is seen on each side",
        (back - 1, ahead - 1): "One key too few is seen on each side",
        (math.inf, ahead): "The window ends ahead, and not behind",
        (back, math.inf): "The window ends behind, and not ahead",
        (ahead, back): "The window looks ahead instead of behind",
    }
    for window, meaning in others.items():
        known = window != design.window and min(window) >= 0
        if known and (max(window) < S or math.inf in window):
            yield Wrong(
                "window",
                f"{meaning}.",
                replace(design, window=window),
            )
    for times, said in ((2, "twice as wide"), (0.5, "half as wide")):
        wide = int(back * times), int(ahead * times)
        if wide != design.window and math.isfinite(sum(wide)):
            meaning = f"The window is {said}."
            yield Wrong("window", meaning, replace(design, window=wide))
    if not design.top_left:
        yield Wrong(
            "window",
            "The window counts from the first query, not from the last.",
            replace(design, top_left=True),
        )


def _caps(design: Design) -> Iterator[Wrong]:
    if design.cap is None:
        return
    size = design.cap.size
    others = {
        "Products are capped before they are scaled.": Cap(size, raw=True),
        "Scores over the cap are cut off, where they should bend.": Cap(
            size, hard=True
        ),
        "The tangent of s/c is not multiplied by c.": Cap(size, 1.0),
        "The tangent of s/c is multiplied by s, not by c.": Cap(
            size, own=True
        ),
        "Scores are not divided by the cap before the tangent.": Cap(
            1.0, size
        ),
    }
    for meaning, cap in others.items():
        yield Wrong("soft cap", meaning, replace(design, cap=cap))


def behind_masks(design: Design) -> Iterator[Wrong]:
    """What shows behind a mask alone."""
    if design.linear is not None:
        law = PARTS["linear"]
        for meaning, linear in open_sums(design.linear):
            yield Wrong(law, meaning, replace(design, linear=linear))
    if design.cap is not None:
        yield Wrong(
            "soft cap",
            "Scores are capped after keys are hidden: minus infinity becomes"
            " minus the cap, and a hidden key keeps a share.",
            replace(design, cap=replace(design.cap, late=True)),
        )


def wrong_sinks(design: Design, heads: int, by: float) -> Iterator[Wrong]:
    """Sinks gone wrong, `by` what scores are multiplied by."""
    sink = design.sink
    if sink is None or sink.scores is None:
        return
    scores = sink.scores
    others = {
        "The one beside the powers is not shifted: others are divided by the"
        " power of the row's maximum, and it is not.": replace(
            sink, unshifted=True
        ),
        "The sink itself is added to the sum, and not its power.": replace(
            sink, bare=True
        ),
        "The sink has the other sign.": Sink(-scores),
        "The sink is multiplied by the scale, as products are.": Sink(
            scores * by
        ),
        "The sink is counted twice.": Sink(scores + math.log(2)),
        "The sink is one of zero: softmax-plus-one.": Sink(
            torch.zeros_like(scores)
        ),
    }
    if len(scores) == heads > 1:
        others |= {
            "All heads have the first head's sink.": Sink(scores[:1]),
            "All heads have the mean of the sinks.": Sink(
                scores.mean(0, keepdim=True)
            ),
            "Heads have one another's sinks, in reverse order.": Sink(
                scores.flip(0)
            ),
            "Heads have one another's sinks, one place away.": Sink(
                scores.roll(1, 0)
            ),
            "The sink belongs to the query's place, not to its head.": Sink(
                scores[:, None]
            ),
        }
    for meaning, wrong in others.items():
        yield Wrong("sink", meaning, replace(design, sink=wrong))
