"""Matrices as figures: queries are rows, keys are columns."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from surgeon.arguments import positive_integer
from surgeon.imaging.cells import (
    Scale,
    add_colorbar,
    draw_cells,
    figure_size,
)
from surgeon.imaging.reading import read_weights
from surgeon.imaging.style import SCORES, WEIGHTS, new_figure
from surgeon.imaging.words import read_labels, read_tokens


def plot_attention_heatmap(
    attention_weights: Tensor,
    tokens: Sequence[str],
    title: str = "Attention Weights",
    *,
    ax: Axes | None = None,
    key_tokens: Sequence[str] | None = None,
    mask: Tensor | None = None,
    values: bool | None = None,
    colorbar: bool = True,
    vmin: float = 0.0,
    vmax: float = 1.0,
) -> Axes:
    """Draw one attention matrix: each row a query, each column a key.

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
    mask : Tensor, optional
        The mask that the weights were made under; what it blocks is hatched
        grey.
    values : bool, optional
        Whether the weights are printed; up to ten tokens they are, if not
        given, and if there is room.
    colorbar : bool
        Whether the scale of colours is shown.
    vmin, vmax : float
        Ends of that scale. Weights after dropout can exceed 1 and need more.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `ax.figure`. Cells that hold NaN are black.

    Raises
    ------
    ValueError
        If the weights are no floating tensor [T, S], if there are not as many
        tokens as queries and keys, if weights lie outside the scale, or if
        the mask cannot be read or blocks cells that hold weight.

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    >>> ax = plot_attention_heatmap(weights, ["cut", "once"])
    >>> [text.get_text() for text in ax.texts]
    ['1.00', '0.00', '0.30', '0.70']
    """
    weights, blocked = read_weights(
        attention_weights, 2, "[queries, keys]", mask, vmin, vmax
    )
    queries, keys = read_tokens(tokens, key_tokens, *weights.shape)
    ax = ax or new_figure(size=figure_size(*weights.shape))[1]
    scale = Scale(WEIGHTS, Normalize(vmin, vmax))
    image = draw_cells(ax, weights, queries, keys, blocked, scale, values)
    ax.set(title=title, xlabel="key", ylabel="query")
    if colorbar:
        add_colorbar(ax.figure, image, ax, "weight")
    return ax


def plot_multihead_attention(
    attention_weights: Tensor,
    tokens: Sequence[str],
    num_heads: int,
    *,
    key_tokens: Sequence[str] | None = None,
    mask: Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    values: bool | None = None,
    vmin: float = 0.0,
    vmax: float = 1.0,
) -> Figure:
    """Draw every head's matrix in a grid, all on one scale of colours.

    Parameters
    ----------
    attention_weights : Tensor
        [H, T, S].
    tokens, key_tokens, values, vmin, vmax
        As `plot_attention_heatmap` takes them.
    num_heads : int
        Number of heads `H`.
    mask : Tensor, optional
        [T, S] for all heads, or [H, T, S].
    titles : sequence of str, optional
        What stands above each head: "Head 0", "Head 1", ... if not given.
    columns : int, optional
        Heads side by side, at most four if not given.

    Returns
    -------
    matplotlib.figure.Figure
        Its first `H` axes are the heads.

    Raises
    ------
    ValueError
        As `plot_attention_heatmap`, or if `num_heads` is not the number of
        matrices or of titles, or `columns` is not a positive integer.

    Examples
    --------
    >>> import torch
    >>> weights = torch.eye(3).expand(5, 3, 3)
    >>> fig = plot_multihead_attention(weights, ["one", "two", "three"], 5)
    >>> [ax.get_title() for ax in fig.axes[:5]]
    ['Head 0', 'Head 1', 'Head 2', 'Head 3', 'Head 4']
    """
    weights, blocked = read_weights(
        attention_weights, 3, "[num_heads, queries, keys]", mask, vmin, vmax
    )
    H, T, S = weights.shape
    if num_heads != H:
        raise ValueError(
            f"num_heads must be the first axis of attention_weights ({H}),"
            f" got {num_heads!r}."
        )
    queries, keys = read_tokens(tokens, key_tokens, T, S)
    heads = [f"Head {h}" for h in range(H)] if titles is None else titles
    heads = read_labels("titles", heads, H, "heads")
    scale = Scale(WEIGHTS, Normalize(vmin, vmax))
    fig, panels = _grid(H, columns, (T, S))
    for ax, head, w, hidden in zip(
        panels, heads, weights, blocked, strict=True
    ):
        image = draw_cells(ax, w, queries, keys, hidden, scale, values)
        ax.set_title(head)
    add_colorbar(fig, image, panels, "weight")
    return fig


def _grid(
    H: int, columns: int | None, shape: tuple[int, int]
) -> tuple[Figure, list[Axes]]:
    """One panel a head; words stand at the left, and below the lowest."""
    if columns is None:
        columns = {4: 2, 5: 3, 6: 3, 9: 3}.get(H, 4)
    columns = min(H, positive_integer("columns", columns))
    rows = math.ceil(H / columns)
    size = figure_size(*shape, (rows, columns))
    fig, axes = new_figure(rows, columns, size=size)
    panels = list(np.atleast_1d(axes).ravel())
    for ax in panels[H:]:
        ax.remove()
    for h, ax in enumerate(panels[:H]):
        leftmost, lowest = h % columns == 0, h + columns >= H
        ax.set_ylabel("query" if leftmost else "")
        ax.set_xlabel("key" if lowest else "")
        ax.tick_params(labelleft=leftmost, labelbottom=lowest)
    return fig, panels[:H]


def plot_matrix(
    matrix: Tensor,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str = "",
    *,
    ax: Axes | None = None,
    limit: float | None = None,
    values: bool | None = None,
    digits: int = 2,
    xlabel: str = "",
    ylabel: str = "",
    colorbar: bool = True,
) -> Axes:
    r"""Draw a matrix of numbers round a meaningful zero, such as scores.

    Numbers above zero are blue, below it orange, the larger the darker.

    Parameters
    ----------
    matrix : Tensor
        [rows, columns]. Cells of :math:`-\infty` are hatched grey, as
        blocked; NaN and :math:`+\infty` are black.
    row_labels, column_labels : sequence of str, optional
        Their names; their numbers, from 0, if not given.
    title, xlabel, ylabel : str
        What stands above, below and to the left.
    ax, values, colorbar
        As `plot_attention_heatmap` takes them.
    limit : float, optional
        The number with the darkest colour; the largest that there is, either
        side of zero, if not given.
    digits : int
        Decimals that are printed.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the matrix is no tensor with two axes, if there are not as many
        labels as rows or columns, or if `limit` is not positive.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[1.5, -torch.inf], [-3.0, 0.5]])
    >>> ax = plot_matrix(scores, digits=1)
    >>> [text.get_text() for text in ax.texts], ax.images[0].get_clim()
    (['1.5', '−3.0', '0.5'], (-3.0, 3.0))
    """
    numbers = _check_matrix(matrix)
    if limit is not None and not 0 < limit < math.inf:
        raise ValueError(f"limit must be positive and finite, got {limit}.")
    R, C = numbers.shape
    rows = range(R) if row_labels is None else row_labels
    columns = range(C) if column_labels is None else column_labels
    rows = read_labels("row_labels", rows, R, "rows")
    columns = read_labels("column_labels", columns, C, "columns")
    if limit is None:
        finite = numbers[np.isfinite(numbers)]
        limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    scale = Scale(SCORES, Normalize(-limit, limit))
    ax = ax or new_figure(size=figure_size(R, C))[1]
    blocked = numbers == -np.inf
    image = draw_cells(
        ax, numbers, rows, columns, blocked, scale, values, digits
    )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if colorbar:
        add_colorbar(ax.figure, image, ax, "")
    return ax


def _check_matrix(matrix: Tensor) -> np.ndarray:
    """The matrix's numbers, if it is one."""
    tensor = isinstance(matrix, Tensor)
    if not tensor or matrix.ndim != 2 or 0 in matrix.shape:
        shape = f"shape {list(matrix.shape)}" if tensor else ""
        raise ValueError(
            "matrix must be a tensor of shape [rows, columns], none of them"
            f" 0, got {shape or type(matrix).__name__}."
        )
    return matrix.detach().cpu().double().numpy()
