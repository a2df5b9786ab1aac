"""Weights and tokens in words: the names of rows and columns, and what a heat map shows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from surgeon.imaging.cells import FEW, read_weights


def describe_attention(
    attention_weights: Tensor,
    tokens: Sequence[str],
    *,
    key_tokens: Sequence[str] | None = None,
    mask: Tensor | None = None,
) -> str:
    """Say in words what a heat map of these weights shows: its alternative text.

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
        matrix of up to ten queries, each query's strongest key. A token that
        occurs twice is told apart by its position, from 0.

    Raises
    ------
    ValueError
        As the functions that draw.

    Examples
    --------
    >>> import torch
    >>> print(describe_attention(torch.tensor([[1.0, 0.0], [0.3, 0.7]]), ["cut", "once"]))
    Heat map of attention weights, 2 queries in rows by 2 keys in columns. The largest weight is 1.00, from "cut" to
    "cut"; 85% of the weight lies on the diagonal. Strongest key of each query: "cut" to "cut" 1.00, "once" to
    "once" 0.70.
    """
    several = (
        isinstance(attention_weights, Tensor) and attention_weights.ndim == 3
    )
    shape = "[queries, keys] or [num_heads, queries, keys]"
    weights, blocked = read_weights(
        attention_weights, 3 if several else 2, shape, mask, 0.0, math.inf
    )
    T, S = weights.shape[-2:]
    counts = count_cells(blocked, "are blocked, and hatched") + count_cells(
        np.isnan(weights), "hold NaN, and are black"
    )
    weights = np.nan_to_num(weights)
    queries, keys = (
        tell_apart(names) for names in read_tokens(tokens, key_tokens, T, S)
    )

    def strongest(matrix: np.ndarray) -> str:
        i, j = np.unravel_index(np.argmax(matrix), matrix.shape)
        on_diagonal = np.diagonal(matrix).sum() / (matrix.sum() or 1.0)
        place = f"from {queries[i]} to {keys[j]}"
        return (
            f"largest weight is {matrix[i, j]:.2f}, {place};"
            f" {on_diagonal:.0%} of the weight lies on the diagonal."
        )

    size = f"{T} queries in rows by {S} keys in columns."
    if several:
        heads = " ".join(
            f"Head {h}: the {strongest(matrix)}"
            for h, matrix in enumerate(weights)
        )
        return (
            f"Grid of {len(weights)} heat maps of attention weights, one a"
            f" head, {size}{counts} {heads}"
        )
    text = (
        f"Heat map of attention weights, {size}{counts} The"
        f" {strongest(weights)}"
    )
    if T > FEW:
        return text
    rows = [
        (
            f"{queries[i]} to {keys[row.argmax()]} {row.max():.2f}"
            if row.any()
            else f"{queries[i]} to none"
        )
        for i, row in enumerate(weights)
    ]
    return f"{text} Strongest key of each query: {', '.join(rows)}."


def read_tokens(
    tokens: Sequence[str], key_tokens: Sequence[str] | None, T: int, S: int
) -> tuple[list[str], list[str]]:
    queries = read_labels("tokens", tokens, T, "queries")
    if key_tokens is None and T != S:
        raise ValueError(
            f"key_tokens must name the {S} keys where there are {T} queries,"
            " got none."
        )
    return queries, (
        queries
        if key_tokens is None
        else read_labels("key_tokens", key_tokens, S, "keys")
    )


def read_labels(
    name: str, labels: Sequence[Any], count: int, of: str
) -> list[str]:
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
    return [
        f'"{name}"' if names.count(name) == 1 else f'"{name}" at {i}'
        for i, name in enumerate(names)
    ]


def count_cells(cells: np.ndarray, what: str) -> str:
    return (
        f" {cells.sum()} of {cells.size} cells {what}." if cells.any() else ""
    )
