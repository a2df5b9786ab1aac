"""Many heads at a glance, and one head as lines between tokens."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from surgeon.arguments import place
from surgeon.imaging.cells import (
    FEW,
    add_colorbar,
    read_heads,
    read_weights,
)
from surgeon.imaging.style import (
    BLUE,
    GREY,
    INK,
    WEIGHTS,
    WIDTH,
    new_figure,
)
from surgeon.imaging.words import (
    count_cells,
    read_labels,
    read_tokens,
    tell_apart,
)

SIDE = 0.92  # of a thumbnail, where the distance to the next is 1
BLOCKED = "#c3c7cd"  # too small to be hatched
FAINTEST = 0.02  # a line of less weight cannot be seen


def plot_all_heads(
    attention_weights: Tensor,
    tokens: Sequence[str] | None = None,
    title: str = "",
    *,
    mask: Tensor | None = None,
) -> Figure:
    """Draw every head of every layer as a thumbnail, all on one scale.

    Parameters
    ----------
    attention_weights : Tensor
        [layers, heads, T, T]: in each thumbnail queries run from top to
        bottom, keys from left to right.
    tokens : sequence of str, optional
        Names of the `T` tokens, written below the grid; a thumbnail has no
        room for them.
    title : str
        What stands above.
    mask : Tensor, optional
        The mask that the weights were made under; what it blocks is grey.

    Returns
    -------
    matplotlib.figure.Figure
        Its first axes hold one image a head, layer by layer. Cells that hold
        NaN are black.

    Raises
    ------
    ValueError
        If the weights are no floating tensor [layers, heads, T, T], if they
        lie outside 0 to 1, if there are not `T` tokens, or if the mask cannot
        be read or blocks cells that hold weight.

    Examples
    --------
    >>> import torch
    >>> fig = plot_all_heads(torch.eye(3).expand(2, 5, 3, 3))
    >>> ax = fig.axes[0]
    >>> len(ax.images), ax.get_xlabel(), ax.get_ylabel()
    (10, 'head', 'layer')
    """
    weights, blocked = read_heads(attention_weights, mask)
    L, H, T, _ = weights.shape
    names = tokens if tokens is not None else [""] * T
    spelt = " ".join(read_labels("tokens", names, T, "tokens"))
    below = textwrap.wrap(spelt, 84)
    width = WIDTH - 1.25  # the rest is for layers' numbers and the colours
    height = width * L / H + 0.4 + 0.3 * bool(title) + 0.17 * len(below)
    fig, ax = new_figure(size=(WIDTH, min(9.0, height)))
    _lay_out(ax, L, H)
    ax.set_title(title, parse_math=False)
    colours, norm = WEIGHTS.with_extremes(bad="black"), Normalize(0.0, 1.0)
    for layer, head in np.ndindex(L, H):
        cells = colours(norm(np.ma.masked_invalid(weights[layer, head])))
        cells[blocked[layer, head]] = to_rgba(BLOCKED)
        left, top = head - SIDE / 2, layer - SIDE / 2
        extent = (left, left + SIDE, top + SIDE, top)
        ax.imshow(cells, extent=extent, interpolation="none")
    ax.set(xlim=(-0.5, H - 0.5), ylim=(L - 0.5, -0.5), aspect="equal")
    scale: Any = ScalarMappable(norm, WEIGHTS)
    add_colorbar(fig, scale, ax, "weight")
    if below:
        look: Any = {"fontsize": 9, "color": INK, "parse_math": False}
        fig.supxlabel("\n".join(below), **look)
    return fig


def _lay_out(ax: Axes, L: int, H: int) -> None:
    """The names and numbers of layers and heads, and no frame."""
    ax.set_facecolor("#d4d8dd")  # what lies between thumbnails
    ax.spines[:].set_visible(False)
    ax.set(xlabel="head", ylabel="layer")
    ax.set_xticks(range(0, H, math.ceil(H / 16)))
    ax.set_yticks(range(0, L, math.ceil(L / 16)))
    ax.tick_params(length=0)


def describe_heads(
    attention_weights: Tensor,
    tokens: Sequence[str] | None = None,
    *,
    mask: Tensor | None = None,
) -> str:
    """Say in words what `plot_all_heads` shows: its alternative text.

    Parameters
    ----------
    attention_weights, tokens, mask
        As `plot_all_heads` takes them.

    Returns
    -------
    str
        The size of the grid; the largest weight; and in how many heads more
        than half of the weight lies on the diagonal, one place before it, one
        place after it, or in one column, for each of which the clearest is
        named.

    Raises
    ------
    ValueError
        As `plot_all_heads`.

    Examples
    --------
    >>> import torch
    >>> weights = torch.eye(3).expand(2, 5, 3, 3)
    >>> text = describe_heads(weights, ["cut", "the", "wire"])
    >>> "on the diagonal in 10 heads (most in layer 0, head 0: 100%)" in text
    True
    """
    weights, blocked = read_heads(attention_weights, mask)
    L, H, T, _ = weights.shape
    names = tokens if tokens is not None else range(T)
    label = tell_apart(read_labels("tokens", names, T, "tokens"))
    counts = count_cells(blocked, "are blocked, and grey")
    counts += count_cells(np.isnan(weights), "hold NaN, and are black")
    weights = np.nan_to_num(weights)
    layer, head, i, j = np.unravel_index(np.argmax(weights), weights.shape)
    text = (
        f"Grid of {L * H} thumbnails of attention weights, {L} layers in rows"
        f" by {H} heads in columns, each {T} queries by {T} keys. The largest"
        f" weight is {weights[layer, head, i, j]:.2f}, in layer {layer}, head"
        f" {head}, from {label[i]} to {label[j]}.{counts}"
    )
    total = np.maximum(weights.sum((-2, -1)), 1e-300)
    shares = {
        "on the diagonal": np.trace(weights, 0, -2, -1) / total,
        "one place before it": np.trace(weights, -1, -2, -1) / total,
        "one place after it": np.trace(weights, 1, -2, -1) / total,
        "in one column": weights.sum(-2).max(-1) / total,
    }
    found = []
    for where, share in shares.items():
        layer, head = np.unravel_index(np.argmax(share), share.shape)
        most = f"most in layer {layer}, head {head}: {share.max():.0%}"
        found.append(f"{where} in {_heads((share > 0.5).sum())} ({most})")
    return (
        f"{text} More than half of a head's weight lies {', '.join(found)}."
    )


def plot_token_lines(
    attention_weights: Tensor,
    tokens: Sequence[str],
    title: str = "",
    *,
    ax: Axes | None = None,
    key_tokens: Sequence[str] | None = None,
    query: int | None = None,
) -> Axes:
    """Draw one attention matrix as lines between tokens.

    Queries stand on the left, keys on the right; a line's opacity is its
    weight.

    Parameters
    ----------
    attention_weights : Tensor
        [T, S].
    tokens : sequence of str
        Names of the `T` queries, and of the keys too unless `key_tokens`
        names those.
    title : str
        What stands above.
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure if not given.
    key_tokens : sequence of str, optional
        Names of the `S` keys.
    query : int, optional
        The only query, counted from 0, whose lines are drawn; all if not
        given.

    Returns
    -------
    matplotlib.axes.Axes
        With one collection of lines. A weight below 0.02 could not be seen
        and has none.

    Raises
    ------
    ValueError
        If the weights are no floating tensor [T, S], if they lie outside 0 to
        1, if there are not as many tokens as queries and keys, or if `query`
        is none of the queries.

    Notes
    -----
    The head view of BertViz, standing still. Source: vig2019
    (book/references.bib).

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    >>> ax = plot_token_lines(weights, ["cut", "once"])
    >>> ax.collections[0].get_alpha().tolist()
    [1.0, 0.3, 0.7]
    """
    weights, queries, keys = _read_lines(
        attention_weights, tokens, key_tokens, query
    )
    T, S = weights.shape
    most = max(T, S)
    ax = ax or new_figure(size=(4.4, 0.9 + 0.24 * most))[1]
    # The shorter side stands at the middle of the longer.
    left, right = (np.arange(n) + (most - n) / 2 for n in (T, S))
    drawn = weights >= FAINTEST
    if query is not None:
        drawn &= (np.arange(T) == query)[:, None]
    ends = [((0.0, left[i]), (1.0, right[j])) for i, j in np.argwhere(drawn)]
    alpha = weights[drawn].clip(max=1.0).round(6) if ends else None
    look: Any = {"colors": BLUE, "linewidths": 2.2, "alpha": alpha}
    ax.add_collection(LineCollection(ends, **look))
    grey = [query not in (None, i) for i in range(T)]
    _write(ax, -0.03, "right", "query", queries, left, grey)
    _write(ax, 1.03, "left", "key", keys, right, [False] * S)
    ax.set(xlim=(-0.45, 1.45), ylim=(most - 0.4, -1.5))
    ax.set_title(title, parse_math=False)
    ax.set_axis_off()
    return ax


def _write(
    ax: Axes,
    x: float,
    side: str,
    what: str,
    names: list[str],
    places: np.ndarray,
    grey: list[bool],
) -> None:
    """One side's names at their places, and above them what they are."""
    look: Any = {"ha": side, "va": "center", "fontsize": 10}
    for name, y, faint in zip(names, places, grey, strict=True):
        colour = GREY if faint else INK
        ax.text(x, y, name, color=colour, parse_math=False, **look)
    ax.text(x, -1.0, what, color=GREY, **look)


def describe_token_lines(
    attention_weights: Tensor,
    tokens: Sequence[str],
    *,
    key_tokens: Sequence[str] | None = None,
    query: int | None = None,
) -> str:
    """Say in words what `plot_token_lines` shows: its alternative text.

    Parameters
    ----------
    attention_weights, tokens, key_tokens, query
        As `plot_token_lines` takes them.

    Returns
    -------
    str
        How many lines run between how many tokens; the darkest; the key that
        takes the largest share; and, of up to ten queries, each one's
        strongest key.

    Raises
    ------
    ValueError
        As `plot_token_lines`.

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    >>> print(describe_token_lines(weights, ["cut", "once"]))
    3 lines from 2 queries on the left to 2 keys on the right, the darker
    the larger the weight. The darkest, 1.00, runs from "cut" to "cut"; the
    key "cut" takes 65% of the weight. Strongest key of each query: "cut" to
    "cut" 1.00, "once" to "once" 0.70.
    """
    weights, queries, keys = _read_lines(
        attention_weights, tokens, key_tokens, query
    )
    queries, keys = tell_apart(queries), tell_apart(keys)
    chosen = range(len(queries)) if query is None else [query]
    drawn = weights[list(chosen)]
    row, j = np.unravel_index(np.argmax(drawn), drawn.shape)
    given = drawn.sum(0)
    asked = f"{len(queries)} queries"
    if query is not None:
        asked = f"the query {queries[query]}"
    text = (
        f"{(drawn >= FAINTEST).sum()} lines from {asked} on the left to"
        f" {len(keys)} keys on the right, the darker the larger the weight."
        f" The darkest, {drawn[row, j]:.2f}, runs from {queries[chosen[row]]}"
        f" to {keys[j]}; the key {keys[given.argmax()]} takes"
        f" {given.max() / (given.sum() or 1.0):.0%} of the weight."
    )
    if len(chosen) > FEW:
        return text
    best = [
        f"{queries[i]} to {keys[w.argmax()]} {w.max():.2f}"
        for i, w in zip(chosen, drawn, strict=True)
        if w.any()
    ]
    return f"{text} Strongest key of each query: {', '.join(best) or 'none'}."


def _read_lines(
    weights: Tensor,
    tokens: Sequence[str],
    key_tokens: Sequence[str] | None,
    query: int | None,
) -> tuple[np.ndarray, list[str], list[str]]:
    numbers, _ = read_weights(weights, 2, "[queries, keys]", None, 0.0, 1.0)
    queries, keys = read_tokens(tokens, key_tokens, *numbers.shape)
    if query is not None:
        query = place("query", query, len(queries))
    return np.nan_to_num(numbers), queries, keys


def _heads(count: int) -> str:
    return "1 head" if count == 1 else f"{count or 'no'} heads"
