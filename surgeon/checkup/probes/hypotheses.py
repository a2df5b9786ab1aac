"""Ways to get attention wrong: what explains an answer names its fault."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgeon.checkup.designs.design import PLAIN
from surgeon.checkup.designs.wrong import behind_masks
from surgeon.checkup.forms import Form, Inputs, attend, causal, spread


class Hypothesis(NamedTuple):
    """A form, the finding that it breaks, and what it means in words."""

    finding: str
    meaning: str
    form: Form


def factors(
    d_k: int, d_v: int, heads: int, keys: int
) -> Iterator[tuple[float, str]]:
    """What scores are multiplied by, if not by one over the root of d_k."""
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
        "Scores are divided by the fourth root of d_k: one of Q and K was"
        " scaled, not both.",
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
    inputs: Inputs, allowed: Tensor | None, packed: bool, **how: Any
) -> Iterator[Hypothesis]:
    """Ways to be wrong without a mask, or behind one that is right.

    `packed` whether heads lie side by side in the width, `how` what is known
    of the form.
    """
    Q, K, _ = inputs
    H, T, S, groups = Q.shape[1], Q.shape[2], K.shape[2], K.shape[1]
    if allowed is None:
        yield from _other_axes(Q, **how)
        yield Hypothesis(
            "known form",
            "It is causal though no mask was given. If that is meant, examine"
            " it with causal=True.",
            partial(attend, allowed=causal(T, S), **how),
        )
    yield from _other_values(allowed, **how)
    if 1 < groups < H:
        yield Hypothesis(
            "grouped heads in order",
            "Key heads are in the order of repeat, 0 1 0 1, instead of that"
            " of repeat_interleave, 0 0 1 1.",
            partial(attend, allowed=allowed, **how | {"turns": True}),
        )
    if T == S and allowed is None:
        yield Hypothesis(
            "batch elements apart",
            "Tokens attend to the same place in other sequences: batch and"
            " sequence axes are taken for each other. If tokens come first by"
            " design, say so (layout).",
            partial(_turned, 0, 2, **how),
        )
        yield from _other_layouts(inputs, **how)
    if packed and H > 1 and groups == H:
        yield from _wrong_splits(allowed, **how)


def _other_axes(Q: Tensor, **how: Any) -> Iterator[Hypothesis]:
    axes = {-2: "the queries", 1: "the heads", 0: "the batch"}
    for axis, name in axes.items():
        if Q.shape[axis] > 1:
            yield Hypothesis(
                "softmax over keys",
                f"Softmax runs over {name}: that axis sums to one.",
                partial(attend, axis=axis, **how),
            )


def _other_values(allowed: Tensor | None, **how: Any) -> Iterator[Hypothesis]:
    name = "values in step with keys"
    yield Hypothesis(
        name,
        "Values are taken in reverse order.",
        lambda Q, K, V: attend(Q, K, V.flip(2), allowed, **how),
    )
    for by in (1, -1):
        yield Hypothesis(
            name,
            "Values are one place away from their keys.",
            partial(_rolled, by, allowed, **how),
        )


def _rolled(
    by: int,
    allowed: Tensor | None,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    **how: Any,
) -> Tensor:
    """Attention whose values are some places away."""
    return attend(Q, K, V.roll(by, 2), allowed, **how)


def _turned(axis: int, other: int, *inputs: Tensor, **how: Any) -> Tensor:
    """Attention where two axes are taken for each other."""
    Q, K, V = (x.transpose(axis, other) for x in inputs)
    output = attend(Q, K, V, **how)
    return output.transpose(axis, other)


def _other_layouts(inputs: Inputs, **how: Any) -> Iterator[Hypothesis]:
    """What is sound, but for a layout that was not declared."""
    Q, K, V = inputs
    H, d_k, d_v = Q.shape[1], Q.shape[-1], V.shape[-1]
    if H > 1 and K.shape[1] == H:
        yield Hypothesis(
            "heads apart",
            "Heads attend to each other within a token: the axes of heads and"
            " tokens are taken for each other. If heads come after tokens by"
            ' design, say so: layout="B T H d".',
            partial(_turned, 1, 2, **how),
        )
    for h in range(2, 33) if H == 1 else ():
        if d_k % h == d_v % h == 0:
            yield Hypothesis(
                "known form",
                f"The width is split into {h} heads. If that is meant, say"
                f' so: layout="B T (H d)", heads={h}.',
                partial(_by_heads, h),
            )


def _by_heads(h: int, *inputs: Tensor) -> Tensor:
    """One head taken for `h` that lie side by side."""
    cut = (x[:, 0].unflatten(-1, (h, -1)).transpose(1, 2) for x in inputs)
    return attend(*cut).transpose(1, 2).flatten(2)[:, None]


def _pack(x: Tensor) -> Tensor:
    """[B, H, T, d] -> [B, T, H * d]"""
    return x.transpose(1, 2).flatten(2)


# How heads are cut out of the width, [B, T, H * d] -> [B, H, T, d], ...
SPLITS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "right": lambda x, h: x.unflatten(-1, (h, -1)).transpose(1, 2),
    "viewed": lambda x, h: x.reshape(len(x), h, x.shape[1], -1),
    "interleaved": lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2),
}
# ... and laid side by side again.
MERGES: dict[str, Callable[[Tensor], Tensor]] = {
    "right": _pack,
    "viewed": lambda x: x.reshape(len(x), x.shape[2], -1),
    "interleaved": lambda x: x.permute(0, 2, 3, 1).flatten(2),
}
RESHAPED = {
    "viewed": "by `view` without `transpose`, which mixes tokens and heads",
    "interleaved": (
        "with the heads' axis last, so that each head takes every H-th column"
    ),
}


def _wrong_splits(allowed: Tensor | None, **how: Any) -> Iterator[Hypothesis]:
    """Heads cut, or laid side by side again, by the wrong reshape."""
    for split in SPLITS:
        for merge in MERGES:
            said = [
                f"{verb} {RESHAPED[how]}"
                for verb, how in (("split", split), ("joined", merge))
                if how in RESHAPED
            ]
            if said:
                yield Hypothesis(
                    "heads apart",
                    f"Heads are {', and '.join(said)}.",
                    partial(_reshaped, allowed, split, merge, **how),
                )


def _reshaped(
    allowed: Tensor | None,
    split: str,
    merge: str,
    *inputs: Tensor,
    **how: Any,
) -> Tensor:
    """Attention with a split and a merge of those that are known."""
    h = inputs[0].shape[1]
    Q, K, V = (SPLITS[split](_pack(x), h) for x in inputs)
    output = attend(Q, K, V, allowed, **how)
    return SPLITS["right"](MERGES[merge](output), h)


def wrong_masks(
    allowed: Tensor, *, causal: bool, **how: Any
) -> Iterator[Hypothesis]:
    """Ways to misread a mask, [T, T] boolean: who may look at whom."""
    everything = torch.ones_like(allowed)
    eye = torch.eye(len(allowed), dtype=torch.bool)

    def seeing(seen: Tensor, **other: Any) -> Form:
        return partial(attend, allowed=seen, **{**how, **other})

    for law, meaning, design in behind_masks(how.get("design", PLAIN)):
        yield Hypothesis(law, meaning, seeing(allowed, design=design))
    yield Hypothesis(
        "mask obeyed",
        "The mask has no effect: everyone sees everything.",
        seeing(everything),
    )
    for bonus in (1.0, -1.0):
        yield Hypothesis(
            "mask obeyed",
            "The mask's zeros and ones are added to the scores, which hides"
            " nothing.",
            partial(_biased, allowed * bonus, **how),
        )
    yield Hypothesis(
        "mask polarity",
        "What the mask hides is seen, and what it shows is hidden.",
        seeing(~allowed),
    )
    if causal:
        yield Hypothesis(
            "mask polarity",
            "The mask hides the past and shows the future.",
            seeing(allowed.T),
        )
        yield Hypothesis(
            "mask diagonal",
            "The mask is one place too wide: each token sees the next one.",
            seeing(everything.tril(1)),
        )
    else:
        yield Hypothesis(
            "padding on keys",
            "The mask is read with queries and keys swapped: padding falls on"
            " the queries.",
            seeing(allowed.T),
        )
    yield Hypothesis(
        "mask diagonal",
        "The mask hides the diagonal too: no token sees itself.",
        seeing(allowed & ~eye),
    )
    yield Hypothesis(
        "mask before softmax",
        "Weights are hidden after softmax: rows sum to less than one, and"
        " hidden scores still take their share.",
        seeing(allowed, after=True),
    )
    yield Hypothesis(
        "minus infinity",
        "Hidden scores are multiplied by zero, and a score of 0 is not out:"
        " e⁰ = 1.",
        seeing(allowed, fill=0.0),
    )


def _biased(
    bias: Tensor, Q: Tensor, K: Tensor, V: Tensor, **how: Any
) -> Tensor:
    """Attention with numbers added to the scores."""
    design = how.get("design", PLAIN)
    scores = design.scores(Q.double(), K.double(), how.get("factor"))
    weights = design.share(scores + bias)
    return weights @ spread(V.double(), Q.shape[1])
