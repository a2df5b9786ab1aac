"""Attention on numbers that a browser can draw as well: inputs by counting, every stage, and the vital signs."""

import math
from collections.abc import Sequence
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
from surgeon.arguments import check_seed, positive_integer
from surgeon.imaging.patterns import row_entropy

MOST_WORDS = 32
WIDEST = 1024
D_V = 4
PRECISIONS = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}
MASKS = ("none", "causal", "reverse", "padding", "front")


class Operation(NamedTuple):
    """Every stage of one attention; `powers` are what softmax divides by their sum."""

    scores: Tensor
    scaled: Tensor
    masked: Tensor
    powers: Tensor
    weights: Tensor
    output: Tensor


def draw_inputs(
    words: Sequence[str], d_k: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Standard-normal queries, keys and values that depend on seed, place and coordinate alone, not on any order.

    The `n`-th uniform number of a seed is the `n`-th of the generator
    mulberry32, whose state after `n` steps is
    :math:`\text{seed} + n \cdot \text{6d2b79f5}_{16} \bmod 2^{32}`; two uniform ones give two normal ones (Box and
    Muller). The same is written in JavaScript in
    book/_static/operating-table/attention.mjs.

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
    >>> Q.shape, bool((Q[0] == Q[2]).all()), bool((Q == draw_inputs(["the", "wire", "the"], 7)[0][:, :5]).all())
    (torch.Size([3, 5]), True, True)
    """
    words = list(words)
    if not 1 <= len(words) <= MOST_WORDS:
        raise ValueError(
            f"words must be 1 to {MOST_WORDS} words, got {len(words)}."
        )
    if positive_integer("d_k", d_k) > WIDEST:
        raise ValueError(f"d_k must be at most {WIDEST}, got {d_k}.")
    check_seed(seed)
    places = np.array([words.index(word) for word in words])
    matrices = []
    for which, width in enumerate((d_k, d_k, D_V)):
        numbers = which + 3 * (
            places[:, None] + MOST_WORDS * np.arange(width)
        )
        matrices.append(torch.from_numpy(_normal(seed, numbers)))
    return matrices[0], matrices[1], matrices[2]


def _uniform(seed: int, n: np.ndarray) -> np.ndarray:
    """The n-th numbers of a seed's stream, in (0, 1)."""
    a = np.uint32(seed) + (n.astype(np.uint32) + np.uint32(1)) * np.uint32(
        0x6D2B79F5
    )  # modulo 2**32, as all of this
    t = (a ^ (a >> np.uint32(15))) * (a | np.uint32(1))
    t ^= t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))
    return ((t ^ (t >> np.uint32(14))).astype(np.float64) + 0.5) / 2**32


def _normal(seed: int, n: np.ndarray) -> np.ndarray:
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
    padding = min(max(padded, 0), T)
    if mask in ("padding", "front") and padding != padded:
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
    r"""Attention with a temperature, and with a softmax of any precision, overflow included.

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
    >>> operate(100 * Q, K, V, everyone, stable=False).weights.isnan().any()
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
    low = masked.to(PRECISIONS[precision])
    wide = low.to(at_least_float32(low.dtype)) if stable else low
    powers = torch.exp(wide - finite_maximum(wide, -1) if stable else wide)
    weights = (stable_softmax if stable else naive_softmax)(low).double()
    return Operation(
        stages.scores, scaled, masked, powers.double(), weights, weights @ V
    )


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

    Examples
    --------
    >>> even = torch.full((2, 2), 0.5, dtype=torch.float64)
    >>> {name: round(sign, 2) for name, sign in vital_signs(even, permissions("none", 2)).items()}
    {'largest': 0.5, 'entropy': 0.69, 'evenness': 1.0, 'gradient': 0.5, 'future': 0.25, 'empty': 0, 'broken': 0}
    """
    seen = may_look.sum(-1)
    sums = weights.sum(-1)
    empty = seen == 0
    broken = sums.isnan() | (~empty & ((sums - 1).abs() > 0.01))
    live = ~(empty | broken)
    chooses = live & (seen > 1)
    shares = (
        weights / sums[:, None]
        # what half precision rounded off is no part of an entropy or a Jacobian
    )
    a, free = shares[chooses], shares[live]
    jacobian = a.diag_embed() - a[:, :, None] * a[:, None, :]
    entropies = row_entropy(free) if len(free) else free.sum(-1)
    most = float(seen[live].double().log().sum())
    return {
        "largest": _median(weights[chooses].amax(-1)) if len(a) else math.nan,
        "entropy": float(entropies.mean()) if len(free) else math.nan,
        "evenness": float(entropies.sum()) / most if most > 0 else math.nan,
        "gradient": (
            _median(jacobian.flatten(1).norm(dim=-1)) if len(a) else math.nan
        ),
        "future": _future(weights, live) if len(free) else math.nan,
        "empty": int(empty.sum()),
        "broken": int(broken.sum()),
    }


def _future(weights: Tensor, live: Tensor) -> float:
    kept = weights.masked_fill(~live[:, None], 0.0)
    return float(kept.triu(1).sum() / kept.sum())


def _median(numbers: Tensor) -> float:
    return float(numbers.quantile(0.5))
