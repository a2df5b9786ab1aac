"""One head as lines between tokens: queries left, keys right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from surgeon.arguments import place
from surgeon.imaging.reading import FEW, read_weights
from surgeon.imaging.style import BLUE, GREY, INK, new_figure
from surgeon.imaging.words import read_tokens, strongest_key, tell_apart

FAINTEST = 0.02  # a line of less weight cannot be seen


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
        f"{queries[i]} to {strongest_key(w, keys)}"
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
