"""In words: the names of rows and columns, and what a heat map shows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from surgeon.imaging.reading import FEW, read_weights

SHAPES = "[queries, keys] or [num_heads, queries, keys]"


def describe_attention(
    attention_weights: Tensor,
    tokens: Sequence[str],
    *,
    key_tokens: Sequence[str] | None = None,
    mask: Tensor | None = None,
) -> str:
    """Say in words what a heat map shows: its alternative text.

    Parameters
    ----------
    attention_weights : Tensor
        [T, S], as `plot_attention_heatmap` draws it, or [H, T, S], as
        `plot_multihead_attention` does.
    tokens, key_tokens, mask
        As they take them.

    Returns
    -------
    str
        The size; the largest weight and where it is; the share of the weight
        that lies on the diagonal; how many cells are blocked; and, for one
        matrix of up to ten queries, each query's strongest key, or how many
        keys share that weight. A token that occurs twice is told apart by its
        position, from 0.

    Raises
    ------
    ValueError
        As the functions that draw.

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    >>> print(describe_attention(weights, ["cut", "once"]))
    Heat map of attention weights, 2 queries in rows by 2 keys in columns.
    The largest weight is 1.00, from "cut" to "cut"; 85% of the weight lies
    on the diagonal. Strongest key of each query: "cut" to "cut" 1.00,
    "once" to "once" 0.70.
    """
    axes = getattr(attention_weights, "ndim", 2)
    weights, blocked = read_weights(
        attention_weights, 3 if axes == 3 else 2, SHAPES, mask, 0.0, math.inf
    )
    T, S = weights.shape[-2:]
    read = read_tokens(tokens, key_tokens, T, S)
    queries, keys = (tell_apart(names) for names in read)
    size = f"{T} queries in rows by {S} keys in columns."
    size += count_cells(blocked, "are blocked, and hatched")
    size += count_cells(np.isnan(weights), "hold NaN, and are black")
    weights = np.nan_to_num(weights)

    def largest(matrix: np.ndarray) -> str:
        i, j = np.unravel_index(np.argmax(matrix), matrix.shape)
        on_diagonal = np.diagonal(matrix).sum() / (matrix.sum() or 1.0)
        return (
            f"largest weight is {matrix[i, j]:.2f}, from {queries[i]} to"
            f" {keys[j]}; {on_diagonal:.0%} of the weight lies on the"
            " diagonal."
        )

    if axes == 3:
        text = f"Grid of {len(weights)} heat maps of attention weights, one"
        heads = [f"Head {h}: the {largest(w)}" for h, w in enumerate(weights)]
        return f"{text} a head, {size} {' '.join(heads)}"
    text = f"Heat map of attention weights, {size} The {largest(weights)}"
    if T > FEW:
        return text
    rows = strongest_keys(weights, queries, keys)
    return f"{text} Strongest key of each query: {', '.join(rows)}."


def read_tokens(
    tokens: Sequence[str], key_tokens: Sequence[str] | None, T: int, S: int
) -> tuple[list[str], list[str]]:
    """The names of the queries and of the keys."""
    queries = read_labels("tokens", tokens, T, "queries")
    if key_tokens is None and T != S:
        raise ValueError(
            f"key_tokens must name the {S} keys where there are {T} queries,"
            " got none."
        )
    if key_tokens is None:
        return queries, queries
    return queries, read_labels("key_tokens", key_tokens, S, "keys")


def read_labels(
    name: str, labels: Sequence[Any], count: int, of: str
) -> list[str]:
    """The labels as strings of one line, if there is one for each of them."""
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise ValueError(
            f"{name} must be a sequence of {count} strings, got"
            f" {type(labels).__name__}."
        )
    if len(labels) != count:
        raise ValueError(
            f"{name} must name each of the {count} {of}, got {len(labels)}."
        )
    return [str(label).replace("\n", "\\n") for label in labels]


def tell_apart(names: list[str]) -> list[str]:
    """The names in quotes, with its place behind one that occurs again."""
    return [
        f'"{name}"' if names.count(name) == 1 else f'"{name}" at {i}'
        for i, name in enumerate(names)
    ]


def count_cells(cells: np.ndarray, what: str) -> str:
    """A sentence on how many cells there are, if there is any."""
    if not cells.any():
        return ""
    return f" {cells.sum()} of {cells.size} cells {what}."


def strongest_keys(
    weights: np.ndarray, queries: list[str], keys: list[str]
) -> list[str]:
    """For each query the key with its largest weight, and that weight."""
    return [
        f"{query} to {strongest_key(row, keys)}"
        for query, row in zip(queries, weights, strict=True)
    ]


def strongest_key(row: np.ndarray, keys: list[str]) -> str:
    """The key with a row's largest weight, or how many keys share it."""
    if not row.any():
        return "none"
    most = row.max()
    alike = int(np.isclose(row, most, rtol=1e-5, atol=0.0).sum())
    who = keys[row.argmax()] if alike == 1 else f"{alike} keys alike"
    return f"{who} {most:.2f}"
