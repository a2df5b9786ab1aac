"""What a subject may be doing: attention in float64 as it should be, and the ways in which it goes wrong."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax

Inputs = tuple[
    Tensor, Tensor, Tensor
]  # Q [B, H, T, d_k], K [B, H_kv, S, d_k], V [B, H_kv, S, d_v]
Form = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # Q [B, H, T, d_k], K and V [B, H_kv, S, ...] to [B, H, T, d_v]


class Hypothesis(NamedTuple):
    """A form, the finding that it breaks, and what it means in words."""

    finding: str
    meaning: str
    form: Form


def weigh(
    Q: Tensor,
    K: Tensor,
    allowed: Tensor | None = None,
    *,
    factor: float | None = None,
    turns: bool = False,
    axis: int = -1,
    fill: float = -math.inf,
    after: bool = False,
) -> Tensor:
    """Weights [B, H, T, S] in float64; NaN in rows that see no key.

    Parameters
    ----------
    Q, K : Tensor
        [B, H, T, d_k], [B, H_kv, S, d_k].
    allowed : Tensor, optional
        Boolean, broadcastable to [B, H, T, S].
    factor : float, optional
        What scores are multiplied by, one over the square root of d_k if not
        given.
    turns : bool
        Whether query heads take key heads in turns, where neighbours should
        share one.
    axis : int
        The axis that sums to one.
    fill : float
        What a hidden score becomes.
    after : bool
        Whether weights are hidden after softmax instead.
    """
    Q, K = Q.double(), spread(K.double(), Q.shape[1], turns)
    scores = (
        Q @ K.mT * (1 / math.sqrt(Q.shape[-1]) if factor is None else factor)
    )
    if allowed is None:
        return stable_softmax(scores, axis)
    allowed = allowed.expand(scores.shape)
    if after:
        return stable_softmax(scores, axis) * allowed
    weights = stable_softmax(scores.masked_fill(~allowed, fill), axis)
    dead = ~allowed.any(-1, keepdim=True) & (fill == -math.inf)
    return weights.masked_fill(dead, math.nan)


def attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    allowed: Tensor | None = None,
    *,
    turns: bool = False,
    **how: Any,
) -> Tensor:
    """Output [B, H, T, d_v] in float64, as `weigh` has it; NaN in rows that see no key."""
    weights = weigh(Q, K, allowed, turns=turns, **how)
    return weights @ spread(V.double(), Q.shape[1], turns)


def spread(x: Tensor, heads: int, turns: bool = False) -> Tensor:
    """[B, H_kv, S, d] to [B, H, S, d]: each head of keys for its neighbours, or in turns."""
    group = heads // x.shape[1]
    return (
        x.repeat(1, group, 1, 1) if turns else x.repeat_interleave(group, 1)
    )


def factors(
    d_k: int, d_v: int, heads: int, keys: int
) -> Iterator[tuple[float, str]]:
    """What scores are multiplied by where they are not divided by the square root of d_k."""
    yield 1.0, "Scores are not scaled."
    yield 1 / math.sqrt(d_k), "Scores are divided by √d_k."
    yield (
        1 / math.sqrt(heads * d_k),
        "Scores are divided by √d_model, the width of all heads, not of one.",
    )
    yield 1 / d_k, "Scores are divided by d_k, not by its square root."
    yield math.sqrt(d_k), "Scores are multiplied by √d_k."
    yield (
        d_k**-0.25,
        (
            "Scores are divided by the fourth root of d_k: one of Q and K was"
            " scaled, not both."
        ),
    )
    yield (
        1 / math.sqrt(d_v),
        "Scores are divided by √d_v, the width of the values.",
    )
    yield (
        1 / math.sqrt(keys),
        "Scores are divided by the square root of the number of keys.",
    )


def wrong_cores(
    Q: Tensor, K: Tensor, V: Tensor, allowed: Tensor | None, packed: bool
) -> Iterator[Hypothesis]:
    """Ways to be wrong without a mask, or behind one that is right."""
    H, T, S = Q.shape[1], Q.shape[2], K.shape[2]
    for axis, name in (
        (-2, "the queries"),
        (1, "the heads"),
        (0, "the batch"),
    ):
        if Q.shape[axis] > 1 and allowed is None:
            meaning = f"Softmax runs over {name}: that axis sums to one."
            yield Hypothesis("softmax over keys", meaning, _along(axis))
    if allowed is None:
        causal = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        meaning = (
            "It is causal though no mask was given. If that is meant, examine"
            " it with causal=True."
        )
        yield Hypothesis(
            "known form", meaning, lambda q, k, v: attend(q, k, v, causal)
        )
    turned = lambda q, k, v: attend(q, k, v.flip(2), allowed)
    yield Hypothesis(
        "values in step with keys",
        "Values are taken in reverse order.",
        turned,
    )
    for by in (1, -1):
        rolled = lambda q, k, v, by=by: attend(q, k, v.roll(by, 2), allowed)
        yield Hypothesis(
            "values in step with keys",
            "Values are one place away from their keys.",
            rolled,
        )
    if 1 < K.shape[1] < H:
        in_turns = lambda q, k, v: attend(q, k, v, allowed, turns=True)
        meaning = (
            "Key heads are repeated in turns (repeat) instead of side by side"
            " (repeat_interleave)."
        )
        yield Hypothesis("grouped heads in order", meaning, in_turns)
    if T == S and allowed is None:
        turn = lambda x: x.transpose(0, 2)
        across = lambda q, k, v: turn(attend(turn(q), turn(k), turn(v)))
        meaning = (
            "Tokens attend to the same place in other sequences: batch and"
            " sequence axes are taken for each other. If tokens come first by"
            " design, say so (layout)."
        )
        yield Hypothesis("batch elements apart", meaning, across)
        yield from _other_layouts(Q, K, V)
    if packed and H > 1 and K.shape[1] == H:
        yield from _wrong_splits(allowed)


def _other_layouts(Q: Tensor, K: Tensor, V: Tensor) -> Iterator[Hypothesis]:
    """What is sound, but for a layout that was not declared."""
    H, d_k, d_v = Q.shape[1], Q.shape[-1], V.shape[-1]
    if H > 1 and K.shape[1] == H:
        meaning = (
            "Heads attend to each other within a token: the axes of heads and"
            " tokens are taken for each other. If heads come after tokens by"
            ' design, say so: layout="B T H d".'
        )
        turn = lambda x: x.transpose(1, 2)
        yield Hypothesis(
            "heads apart",
            meaning,
            lambda q, k, v: turn(attend(turn(q), turn(k), turn(v))),
        )
    for h in range(2, 33) if H == 1 else ():
        if d_k % h or d_v % h:
            continue
        split = lambda x, h=h: x[:, 0].unflatten(-1, (h, -1)).transpose(1, 2)
        form = lambda q, k, v, split=split: (
            attend(*map(split, (q, k, v))).transpose(1, 2).flatten(2)[:, None]
        )
        meaning = (
            f"The width is split into {h} heads. If that is meant, say so:"
            f' layout="B T (H d)", heads={h}.'
        )
        yield Hypothesis("known form", meaning, form)


def _along(axis: int) -> Form:
    return lambda q, k, v: attend(q, k, v, axis=axis)


def _wrong_splits(allowed: Tensor | None) -> Iterator[Hypothesis]:
    """Heads cut out of the width, or laid side by side again, by the wrong reshape."""
    pack = lambda x: x.transpose(1, 2).flatten(
        2
    )  # [B, H, T, d] -> [B, T, H * d]
    splits = {
        "right": lambda x, h: x.unflatten(-1, (h, -1)).transpose(1, 2),
        "viewed": lambda x, h: x.reshape(x.shape[0], h, x.shape[1], -1),
        "interleaved": (
            lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2)
        ),
    }
    merges = {
        "right": pack,
        "viewed": lambda x: x.reshape(x.shape[0], x.shape[2], -1),
        "interleaved": lambda x: x.permute(0, 2, 3, 1).flatten(2),
    }
    told = {
        "viewed": (
            "by `view` without `transpose`, which mixes tokens and heads"
        ),
        "interleaved": (
            "with the heads' axis last, so that each head takes every H-th"
            " column"
        ),
    }
    for split in splits:
        for merge in merges:
            if (split, merge) == ("right", "right"):
                continue

            def form(
                q: Tensor,
                k: Tensor,
                v: Tensor,
                split: str = split,
                merge: str = merge,
            ) -> Tensor:
                h = q.shape[1]
                q, k, v = (splits[split](pack(x), h) for x in (q, k, v))
                out = attend(q, k, v, allowed)
                return splits["right"](merges[merge](out), h)

            said = [
                f"{verb} {told[how]}"
                for verb, how in (("split", split), ("joined", merge))
                if how in told
            ]
            yield Hypothesis(
                "heads apart", f"Heads are {', and '.join(said)}.", form
            )


def wrong_masks(
    allowed: Tensor, *, causal: bool, **how: float
) -> Iterator[Hypothesis]:
    """Ways to misread a mask, [T, T] boolean: who may look at whom."""
    T = len(allowed)
    eye = torch.eye(T, dtype=torch.bool)

    def hypothesis(
        finding: str, meaning: str, seen: Tensor, **other: float | bool
    ) -> Hypothesis:
        return Hypothesis(
            finding,
            meaning,
            lambda q, k, v: attend(q, k, v, seen, **{**how, **other}),  # type: ignore[arg-type]
        )

    everything = torch.ones_like(allowed)
    yield hypothesis(
        "mask obeyed",
        "The mask has no effect: everyone sees everything.",
        everything,
    )
    added = (
        "The mask's zeros and ones are added to the scores, which hides"
        " nothing."
    )
    for bonus in (1.0, -1.0):
        form = lambda q, k, v, bonus=bonus: _biased(
            q, k, v, allowed * bonus, **how
        )
        yield Hypothesis("mask obeyed", added, form)
    yield hypothesis(
        "mask polarity",
        "What the mask hides is seen, and what it shows is hidden.",
        ~allowed,
    )
    if causal:
        meaning = "The mask hides the past and shows the future."
        yield hypothesis("mask polarity", meaning, allowed.T)
        meaning = (
            "The mask is one place too wide: each token sees the next one."
        )
        yield hypothesis("mask diagonal", meaning, everything.tril(1))
    else:
        meaning = (
            "The mask is read with queries and keys swapped: padding falls on"
            " the queries."
        )
        yield hypothesis("padding on keys", meaning, allowed.T)
    yield hypothesis(
        "mask diagonal",
        "The mask hides the diagonal too: no token sees itself.",
        allowed & ~eye,
    )
    meaning = (
        "Weights are hidden after softmax: rows sum to less than one, and"
        " hidden scores still take their share."
    )
    yield hypothesis("mask before softmax", meaning, allowed, after=True)
    meaning = (
        "Hidden scores are multiplied by zero, and a score of 0 is not out:"
        " e⁰ = 1."
    )
    yield hypothesis("minus infinity", meaning, allowed, fill=0.0)


def _biased(
    Q: Tensor, K: Tensor, V: Tensor, bias: Tensor, **how: float
) -> Tensor:
    """Attention with numbers added to the scores."""
    factor = how.get("factor") or 1 / math.sqrt(Q.shape[-1])
    scores = Q.double() @ spread(K.double(), Q.shape[1]).mT * factor
    return stable_softmax(scores + bias) @ spread(V.double(), Q.shape[1])
