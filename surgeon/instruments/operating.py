"""Attention on numbers that a browser can draw as well.

Inputs by counting, every stage, and the vital signs. The same is written in
JavaScript, in surgeon/instruments/static/operating-table/attention.mjs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.masks import (
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
)
from surgeon.anatomy.softmax import (
    at_least_float32,
    finite_maximum,
    naive_softmax,
    stable_softmax,
)
from surgeon.arguments import check_seed, positive_integer, whole_number

MOST_WORDS = 32
WIDEST = 1024
D_V = 4
PRECISIONS = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}
MASKS = ("none", "causal", "reverse", "padding", "front")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the knobs of an operating table are set to.

    Parameters
    ----------
    d_k, seed
        As `draw_inputs` takes them.
    mask, padded, flipped
        As `permissions` takes them.
    scale, stable, temperature, precision
        As `operate` takes them.
    """

    d_k: int = 64
    seed: int = 0
    mask: str = "none"
    padded: int = 2
    flipped: Sequence[tuple[int, int]] = ()
    scale: bool = True
    stable: bool = True
    temperature: float = 1.0
    precision: str = "float32"


class Operation(NamedTuple):
    """Every stage of one attention."""

    scores: Tensor  #: :math:`QK^T`, [T, S]
    scaled: Tensor  #: over the root of d_k, and the temperature, [T, S]
    masked: Tensor  #: minus infinity where a query may not look, [T, S]
    powers: Tensor  #: what softmax divides by their sum, [T, S]
    weights: Tensor  #: shares of one in each row, [T, S]
    output: Tensor  #: weighted sums of the rows of V, [T, d_v]


def draw_inputs(
    words: Sequence[str], d_k: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Standard-normal queries, keys and values, in any order.

    Each number depends on seed, place and coordinate alone. The `n`-th
    uniform number of a seed is the `n`-th of the generator mulberry32, whose
    state after `n` steps is

    .. math:: \text{seed} + n \cdot \text{6d2b79f5}_{16} \bmod 2^{32}

    Two uniform numbers give two normal ones (Box and Muller).

    Parameters
    ----------
    words : sequence of str
        At most 32. Equal words have equal vectors.
    d_k : int
        Width of queries and keys, from 1 to 1024. A wider vector begins like
        a narrower one.
    seed : int
        From 0 to 2**32 - 1.

    Returns
    -------
    Q, K, V : Tensor
        [T, d_k], [T, d_k] and [T, 4], float64.

    Raises
    ------
    ValueError
        If there are no words or more than 32, or if `d_k` or `seed` lies
        outside its range.

    Notes
    -----
    Source: box1958 (book/references.bib).

    Examples
    --------
    >>> Q, K, V = draw_inputs(["the", "wire", "the"], 5)
    >>> Q.shape, torch.equal(Q[0], Q[2])
    (torch.Size([3, 5]), True)
    >>> wider, _, _ = draw_inputs(["the", "wire", "the"], 7)
    >>> torch.equal(wider[:, :5], Q)
    True
    """
    words = list(words)
    if not 1 <= len(words) <= MOST_WORDS:
        raise ValueError(
            f"words must be 1 to {MOST_WORDS} words, got {len(words)}."
        )
    if positive_integer("d_k", d_k) > WIDEST:
        raise ValueError(f"d_k must be at most {WIDEST}, got {d_k}.")
    seed = check_seed(seed)
    # Equal words have equal places, and so equal vectors: [T, 1].
    place = np.array([[words.index(word)] for word in words])

    def draw(which: int, width: int) -> Tensor:
        # Every number of the three matrices has its own place in the stream.
        n = which + 3 * (place + MOST_WORDS * np.arange(width))
        return torch.from_numpy(_normal(seed, n))

    return draw(0, d_k), draw(1, d_k), draw(2, D_V)


def _uniform(seed: int, n: np.ndarray) -> np.ndarray:
    """The n-th numbers of a seed's stream, in (0, 1)."""
    u = np.uint32  # arithmetic modulo 2**32
    a = u(seed) + (n.astype(u) + u(1)) * u(0x6D2B79F5)
    t = (a ^ (a >> u(15))) * (a | u(1))
    t ^= t + (t ^ (t >> u(7))) * (t | u(61))
    return ((t ^ (t >> u(14))).astype(np.float64) + 0.5) / 2**32


def _normal(seed: int, n: np.ndarray) -> np.ndarray:
    """The n-th normal numbers, each even one and the next from one draw."""
    even = n & ~1
    radius = np.sqrt(-2 * np.log(_uniform(seed, even)))
    angle = 2 * np.pi * _uniform(seed, even + 1)
    return radius * np.where(n & 1, np.sin(angle), np.cos(angle))


def permissions(
    mask: str,
    seq_len: int,
    padded: int = 0,
    flipped: Sequence[tuple[int, int]] = (),
) -> Tensor:
    """Who may look at whom, by the name of a mask.

    Parameters
    ----------
    mask : str
        "none", "causal", "reverse", "padding" (the last words are none, and
        hidden as keys) or "front" (the first words are none, under a causal
        mask).
    seq_len : int
        Words `T`.
    padded : int
        Words that are padding, from 0 to `T`; only "padding" and "front" ask.
    flipped : sequence of (int, int)
        Cells (query, key) that are the other way round.

    Returns
    -------
    Tensor
        Boolean [T, T]: True may attend.

    Raises
    ------
    ValueError
        If there is no mask of that name, or if a number lies outside its
        range.

    Examples
    --------
    >>> permissions("front", 3, padded=1)
    tensor([[False, False, False],
            [False,  True, False],
            [False,  True,  True]])
    """
    T = positive_integer("seq_len", seq_len)
    if mask not in MASKS:
        raise ValueError(
            f"mask must be one of {', '.join(MASKS)}, got {mask!r}."
        )
    padding = whole_number(padded)
    if mask not in ("padding", "front"):
        padding = 0
    if padding is None or not 0 <= padding <= T:
        raise ValueError(
            f"padded must lie between 0 and seq_len ({T}), got {padded}."
        )
    at_end = create_padding_mask([T - padding], T)[0]
    named = {
        "none": None,
        "causal": create_causal_mask(T),
        "reverse": create_reverse_mask(T),
        "padding": at_end,
        "front": combine_masks(create_causal_mask(T), at_end.flip(-1)),
    }
    open_cells = visible(named[mask], (T, T)).clone()
    for i, j in flipped:
        if not (0 <= i < T and 0 <= j < T):
            raise ValueError(
                f"flipped must name cells of a {T} by {T} matrix, got"
                f" {(i, j)}."
            )
        open_cells[i, j] = ~open_cells[i, j]
    return open_cells


def operate(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    may_look: Tensor,
    *,
    scale: bool = True,
    stable: bool = True,
    temperature: float = 1.0,
    precision: str = "float32",
) -> Operation:
    r"""Attention with a temperature, and a softmax of any precision.

    What overflows there, overflows here.

    .. math:: \mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}\,\tau}\right) V

    Parameters
    ----------
    Q, K, V : Tensor
        [T, d_k], [S, d_k] and [S, d_v], float64.
    may_look : Tensor
        Boolean [T, S]: True may attend.
    scale : bool
        Whether scores are divided by the root of d_k.
    stable : bool
        Whether the maximum is subtracted: `stable_softmax` or
        `naive_softmax`.
    temperature : float
        What the scores are divided by besides, above 0.
    precision : str
        "float16", "float32" or "float64": what softmax reads and writes. All
        else is float64.

    Returns
    -------
    Operation
        scores, scaled, masked, powers, weights, output.

    Raises
    ------
    ValueError
        If `temperature` is not positive and finite, if there is no such
        precision, or as `dissect`.

    Examples
    --------
    >>> Q, K, V = draw_inputs(["cut", "once"], 1024)
    >>> everyone = permissions("none", 2)
    >>> done = operate(100 * Q, K, V, everyone, stable=False)
    >>> done.weights.isnan().any()
    tensor(True)
    """
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature must be positive and finite, got {temperature}."
        )
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {', '.join(PRECISIONS)}, got"
            f" {precision!r}."
        )
    stages = dissect(Q, K, V, may_look, scale)
    scaled, masked = stages.scaled / temperature, stages.masked / temperature
    # From here to the weights, in the precision that was asked for.
    low = masked.to(PRECISIONS[precision])
    if stable:
        wide = low.to(at_least_float32(low.dtype))
        powers = torch.exp(wide - finite_maximum(wide, -1)).double()
        weights = stable_softmax(low).double()
    else:
        powers = torch.exp(low).double()
        weights = naive_softmax(low).double()
    output = weights @ V
    return Operation(stages.scores, scaled, masked, powers, weights, output)


def vital_signs(weights: Tensor, may_look: Tensor) -> dict[str, float]:
    r"""What shows whether an attention is alive.

    A row that may look at nothing is *empty*. A row that holds NaN, or does
    not add up to one although it may look at something, is *broken*. The
    other signs leave both kinds out.

    Parameters
    ----------
    weights : Tensor
        [T, S], float64; NaN may stand in it.
    may_look : Tensor
        Boolean [T, S].

    Returns
    -------
    dict
        `largest` (weight; median over rows with at least two keys to look
        at), `entropy` (mean over rows, nats), `evenness` (its share of what
        the mask allows, as `normalized_entropy`), `gradient` (the size of the
        softmax's Jacobian, :math:`\lVert \mathrm{diag}(a) - aa^T \rVert_F`,
        median as for `largest`), `future` (share of all weight on keys after
        the query); `empty` and `broken` (rows). NaN where no row is left to
        be measured.

    Raises
    ------
    ValueError
        If the weights are no matrix, or `may_look` is not boolean of their
        shape.

    Examples
    --------
    >>> even = torch.full((2, 2), 0.5, dtype=torch.float64)
    >>> signs = vital_signs(even, permissions("none", 2))
    >>> {name: round(sign, 2) for name, sign in signs.items()}
    {'largest': 0.5, 'entropy': 0.69, 'evenness': 1.0, 'gradient': 0.5,
     'future': 0.25, 'empty': 0, 'broken': 0}
    """
    _check_rows(weights, may_look)
    # Sort the rows, [T]: of those that live, some have a choice.
    sums, seen = weights.sum(-1), may_look.sum(-1)
    empty = seen == 0
    broken = sums.isnan() | (~empty & ((sums - 1).abs() > 0.01))
    live = ~(empty | broken)
    chooses = live & (seen > 1)
    # What half precision rounded off is no part of an entropy.
    shares = weights / sums[:, None]
    entropies = torch.special.entr(shares[live]).sum(-1)
    # The softmax's Jacobian in each row that has a choice: [rows, S, S].
    a = shares[chooses]
    jacobians = a.diag_embed() - a[:, :, None] * a[:, None, :]
    alive = weights.masked_fill(~live[:, None], 0.0)
    return {
        "largest": _median(weights[chooses].amax(-1)),
        "entropy": float(entropies.mean()),
        "evenness": _share(entropies.sum(), seen[live].double().log().sum()),
        "gradient": _median(jacobians.flatten(1).norm(dim=-1)),
        "future": _share(alive.triu(1).sum(), alive.sum()),
        "empty": int(empty.sum()),
        "broken": int(broken.sum()),
    }


def _check_rows(weights: Tensor, may_look: Tensor) -> None:
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(
            "weights must have shape [queries, keys], none of them 0, got"
            f" {list(weights.shape)}."
        )
    if may_look.dtype != torch.bool or may_look.shape != weights.shape:
        raise ValueError(
            f"may_look must be boolean of shape {list(weights.shape)}, got"
            f" {may_look.dtype} of shape {list(may_look.shape)}."
        )


def _median(numbers: Tensor) -> float:
    """The middle one, NaN of none."""
    return float(numbers.quantile(0.5)) if len(numbers) else math.nan


def _share(part: Tensor, whole: Tensor) -> float:
    """How much of the whole a part is, NaN of nothing."""
    return float(part / whole) if whole > 0 else math.nan
