"""Weights to figures: queries are rows, keys are columns, and blocked cells look blocked."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from surgeon.checks import positive_integer
from surgeon.masks import visible
from surgeon.patterns import check_blocked

# Colours that a colour-blind reader can tell apart (okabe2008), on an opaque light ground that dark mode leaves alone.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#b5578f", "#56b4e9"
INK, GREY, PALE, PAPER = "#1b1f24", "#6b7280", "#e3e5e8", "#ffffff"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)

# Equal steps of the number are equal steps of lightness (CIE L*): 97 to 16, and 97 to 30 on both sides of zero.
WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#f4f9fb", "#b0cee3", "#6ea3ce", "#1d78b8", "#004e8a", "#002756"]
)
BELOW = ["#79310f", "#a84b20", "#d36c3c", "#e89a77", "#f5c8b4"]
ABOVE = ["#b5d6ed", "#75b3e1", "#2090d5", "#006bae", "#004885"]
SCORES = LinearSegmentedColormap.from_list("scores", [*BELOW, "#f8f8f8", *ABOVE])
WIDTH = 6.4  # inches: the column of the page
FEW = 10  # tokens up to which values are printed
MANY = 40  # tokens beyond which labels are thinned


def house_style() -> dict[str, Any]:
    """The look of every figure, as parameters for `matplotlib.rc_context`.

    Returns
    -------
    dict
        A new one each time.

    Examples
    --------
    >>> with matplotlib.rc_context(house_style()):
    ...     fig, ax = new_figure()
    """
    return {
        "figure.figsize": (WIDTH, 3.8),
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        # the width travels with the cycle, so that it holds outside of the context too
        "axes.prop_cycle": cycler(color=PALETTE) + cycler(linewidth=[2.0] * len(PALETTE)),
        "axes.titlecolor": INK,
        "axes.titlesize": 12,
        "axes.labelsize": 11,
        "font.size": 11,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.markersize": 5.0,
        "svg.fonttype": "path",  # no font is asked of the reader
        "text.color": INK,
        "xtick.color": INK,
        "xtick.labelsize": 10,
        "ytick.color": INK,
        "ytick.labelsize": 10,
    }


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float] | None = None,
    sharex: bool | str = False,
    sharey: bool | str = False,
) -> tuple[Figure, Any]:
    """A figure in the house style that pyplot knows nothing of, so that none stays open.

    Parameters
    ----------
    rows, columns : int
        Panels.
    size : (float, float), optional
        Width and height in inches; the width of a page's column, and a height that goes with the rows, if not given.
    sharex, sharey : bool or str
        As `matplotlib.figure.Figure.subplots` takes them.

    Returns
    -------
    fig : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes, or an array of them where there are several
        As `Figure.subplots` returns them.

    Raises
    ------
    ValueError
        If a number of panels is not a positive integer.

    Examples
    --------
    >>> fig, (left, right) = new_figure(columns=2)
    >>> fig.get_size_inches().tolist()
    [6.4, 3.8]
    """
    rows, columns = positive_integer("rows", rows), positive_integer("columns", columns)
    style: Any = house_style()
    with matplotlib.rc_context(style):
        fig = Figure(figsize=size or (WIDTH, 3.8 if rows == 1 else 2.8 * rows), layout="constrained")
        axes = fig.subplots(rows, columns, sharex=sharex, sharey=sharey)  # type: ignore[arg-type]
    for ax in fig.axes:  # ticks are made later, outside of the context
        ax.tick_params(labelsize=style["xtick.labelsize"], color=GREY, labelcolor=INK)
    return fig, axes


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
        Names of the `T` queries, and of the keys too unless `key_tokens` names those.
    title : str
        What stands above.
    ax : matplotlib.axes.Axes, optional
        Where to draw; on a new figure if not given.
    key_tokens : sequence of str, optional
        Names of the `S` keys.
    mask : Tensor, optional
        The mask that the weights were made under; what it blocks is hatched grey.
    values : bool, optional
        Whether the weights are printed; up to ten tokens they are, if not given, and if there is room.
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
        If the weights are no floating tensor [T, S], if there are not as many tokens as queries and keys, if weights
        lie outside the scale, or if the mask cannot be read or blocks cells that hold weight.

    Examples
    --------
    >>> import torch
    >>> ax = plot_attention_heatmap(torch.tensor([[1.0, 0.0], [0.3, 0.7]]), ["cut", "once"])
    >>> [text.get_text() for text in ax.texts]
    ['1.00', '0.00', '0.30', '0.70']
    """
    weights, blocked = _read_weights(attention_weights, 2, "[queries, keys]", mask, vmin, vmax)
    queries, keys = _read_tokens(tokens, key_tokens, *weights.shape)
    ax = ax or new_figure(size=_size(*weights.shape))[1]
    image = _draw(ax, weights, queries, keys, blocked, WEIGHTS, Normalize(vmin, vmax), values)
    ax.set(title=title, xlabel="key", ylabel="query")
    if colorbar:
        _colorbar(ax.figure, image, ax, "weight")
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
        As `plot_attention_heatmap`, or if `num_heads` is not the number of matrices or of titles, or `columns` is not a
        positive integer.

    Examples
    --------
    >>> import torch
    >>> fig = plot_multihead_attention(torch.eye(3).expand(5, 3, 3), ["one", "two", "three"], 5)
    >>> [ax.get_title() for ax in fig.axes[:5]]
    ['Head 0', 'Head 1', 'Head 2', 'Head 3', 'Head 4']
    """
    weights, blocked = _read_weights(attention_weights, 3, "[num_heads, queries, keys]", mask, vmin, vmax)
    H, T, S = weights.shape
    if num_heads != H:
        raise ValueError(f"num_heads must be the first axis of attention_weights ({H}), got {num_heads!r}.")
    queries, keys = _read_tokens(tokens, key_tokens, T, S)
    names = _read_labels("titles", titles if titles is not None else [f"Head {h}" for h in range(H)], H, "heads")
    if columns is None:
        columns = {4: 2, 5: 3, 6: 3, 9: 3}.get(H, 4)
    columns = min(H, positive_integer("columns", columns))
    rows = math.ceil(H / columns)
    fig, axes = new_figure(rows, columns, size=_size(T, S, (rows, columns)))
    grid = np.atleast_1d(axes).ravel()
    for h, ax in enumerate(grid[:H]):
        image = _draw(ax, weights[h], queries, keys, blocked[h], WEIGHTS, Normalize(vmin, vmax), values)
        ax.set_title(names[h])
        if h % columns == 0:
            ax.set_ylabel("query")
        else:
            ax.tick_params(labelleft=False)
        if h + columns >= H:  # nothing below it
            ax.set_xlabel("key")
        else:
            ax.tick_params(labelbottom=False)
    for ax in grid[H:]:
        ax.remove()
    _colorbar(fig, image, list(grid[:H]), "weight")
    return fig


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
    r"""Draw a matrix of numbers round a meaningful zero, such as scores: blue above it, orange below.

    Parameters
    ----------
    matrix : Tensor
        [rows, columns]. Cells of :math:`-\infty` are hatched grey, as blocked; NaN and :math:`+\infty` are black.
    row_labels, column_labels : sequence of str, optional
        Their names; their numbers, from 0, if not given.
    title, xlabel, ylabel : str
        What stands above, below and to the left.
    ax, values, colorbar
        As `plot_attention_heatmap` takes them.
    limit : float, optional
        The number with the darkest colour; the largest that there is, either side of zero, if not given.
    digits : int
        Decimals that are printed.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the matrix is no tensor with two axes, if there are not as many labels as rows or columns, or if `limit` is
        not positive.

    Examples
    --------
    >>> import torch
    >>> ax = plot_matrix(torch.tensor([[1.5, -torch.inf], [-3.0, 0.5]]), digits=1)
    >>> [text.get_text() for text in ax.texts], ax.images[0].get_clim()
    (['1.5', '−3.0', '0.5'], (-3.0, 3.0))
    """
    if not isinstance(matrix, Tensor) or matrix.ndim != 2 or 0 in matrix.shape:
        got = f"shape {list(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"matrix must be a tensor of shape [rows, columns], none of them 0, got {got}.")
    if limit is not None and not 0 < limit < math.inf:
        raise ValueError(f"limit must be positive and finite, got {limit}.")
    numbers = matrix.detach().cpu().double().numpy()
    R, C = numbers.shape
    rows = _read_labels("row_labels", range(R) if row_labels is None else row_labels, R, "rows")
    columns = _read_labels("column_labels", range(C) if column_labels is None else column_labels, C, "columns")
    limit = limit or float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0)) or 1.0
    ax = ax or new_figure(size=_size(R, C))[1]
    image = _draw(ax, numbers, rows, columns, numbers == -np.inf, SCORES, Normalize(-limit, limit), values, digits)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if colorbar:
        _colorbar(ax.figure, image, ax, "")
    return ax


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
        [T, S], as `plot_attention_heatmap` draws it, or [H, T, S], as `plot_multihead_attention` does.
    tokens, key_tokens, mask
        As they take them.

    Returns
    -------
    str
        The size; the largest weight and where it is; the share of the weight that lies on the diagonal; how many cells
        are blocked; and, for one matrix of up to ten queries, each query's strongest key. A token that occurs twice is
        told apart by its position, from 0.

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
    several = isinstance(attention_weights, Tensor) and attention_weights.ndim == 3
    shape = "[queries, keys] or [num_heads, queries, keys]"
    weights, blocked = _read_weights(attention_weights, 3 if several else 2, shape, mask, 0.0, math.inf)
    T, S = weights.shape[-2:]
    counts = _count(blocked, "are blocked, and hatched") + _count(np.isnan(weights), "hold NaN, and are black")
    weights = np.nan_to_num(weights)
    queries, keys = (_tell_apart(names) for names in _read_tokens(tokens, key_tokens, T, S))

    def strongest(matrix: np.ndarray) -> str:
        i, j = np.unravel_index(np.argmax(matrix), matrix.shape)
        on_diagonal = np.diagonal(matrix).sum() / (matrix.sum() or 1.0)
        place = f"from {queries[i]} to {keys[j]}"
        return f"largest weight is {matrix[i, j]:.2f}, {place}; {on_diagonal:.0%} of the weight lies on the diagonal."

    size = f"{T} queries in rows by {S} keys in columns."
    if several:
        heads = " ".join(f"Head {h}: the {strongest(matrix)}" for h, matrix in enumerate(weights))
        return f"Grid of {len(weights)} heat maps of attention weights, one a head, {size}{counts} {heads}"
    text = f"Heat map of attention weights, {size}{counts} The {strongest(weights)}"
    if T > FEW:
        return text
    rows = [
        f"{queries[i]} to {keys[row.argmax()]} {row.max():.2f}" if row.any() else f"{queries[i]} to none"
        for i, row in enumerate(weights)
    ]
    return f"{text} Strongest key of each query: {', '.join(rows)}."


def _draw(
    ax: Axes,
    matrix: np.ndarray,
    rows: list[str],
    columns: list[str],
    blocked: np.ndarray,
    cmap: Colormap,
    norm: Normalize,
    values: bool | None,
    digits: int = 2,
) -> AxesImage:
    """Colours, names, hatching and values of one matrix."""
    image = ax.imshow(matrix, cmap=cmap, norm=norm, interpolation="none")  # one pixel a cell, in SVG too
    broken = ~np.isfinite(matrix) & ~blocked
    _cover(ax, blocked, facecolor=PALE, edgecolor="#a3a9b2", hatch="////")
    _cover(ax, broken, facecolor="black")
    ax.spines[:].set_visible(True)
    room = _cell_points(ax, *matrix.shape)
    _name(ax, "y", rows, room)
    _name(ax, "x", columns, room)
    cells = [tuple(cell) for cell in np.argwhere(~blocked).tolist()]
    texts = [
        f"{matrix[cell]:z.{digits}f}".replace("-", "−").replace("inf", "∞").replace("nan", "NaN") for cell in cells
    ]
    fontsize = min(11.0, room / (0.68 * max(map(len, texts), default=1)))
    if values is None:
        values = max(matrix.shape) <= FEW and fontsize >= 7
    if values:
        for (i, j), text in zip(cells, texts, strict=True):
            ink = "white" if broken[i, j] else _ink(cmap(norm(matrix[i, j])))
            ax.text(j, i, text, ha="center", va="center", fontsize=fontsize, color=ink)
    return image


def _cover(ax: Axes, cells: np.ndarray, **look: Any) -> None:
    """Lay rectangles over cells, one for each run in a row."""
    for i, row in enumerate(cells):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2):
            ax.add_patch(Rectangle((start - 0.5, i - 0.5), stop - start, 1, linewidth=0, **look))


def _name(ax: Axes, which: str, labels: list[str], room: float) -> None:
    """Put names to rows or columns: turned where they are long, fewer where they are many."""
    fontsize = min(10.0, 0.95 * room)
    step = 1
    if len(labels) > MANY or fontsize < 6:
        fontsize, step = 10.0, max(math.ceil(11 / room), math.ceil(len(labels) / 16))
    look: dict[str, Any] = {"fontsize": fontsize, "parse_math": False}  # a token may hold dollars
    if which == "x" and 0.62 * fontsize * max(map(len, labels)) > room * step:
        steep = room * step < 1.5 * fontsize
        look |= {"rotation": 90} if steep else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(range(0, len(labels), step), labels[::step], **look)
    axis.set_tick_params(length=0)


def _ink(rgba: Any) -> str:
    """Black or white, whichever contrasts more (WCAG 2: at least 4.5 to 1, on any colour)."""
    channels = np.asarray(rgba[:3], dtype=float)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _size(rows: int, columns: int, grid: tuple[int, int] = (1, 1)) -> tuple[float, float]:
    """Inches for matrices of square cells in a grid on the page's width, with room for names and the colours."""
    side = (WIDTH - 1.7) / grid[1]
    height = float(np.clip(side * rows / columns, 0.25 * side, 1.15 * side))
    return WIDTH, 0.6 + (height + 0.35) * grid[0]


def _cell_points(ax: Axes, rows: int, columns: int) -> float:
    """Points that one cell has, nearly: layout moves the axes a little later on."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    inches = np.asarray(ax.get_position().size) * figure.get_size_inches()
    return float(min(72 * inches / (columns, rows)))


def _colorbar(figure: Any, image: AxesImage, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=30, pad=0.02)
    bar.set_label(label, size=11, color=INK)
    bar.ax.tick_params(labelsize=10, color=GREY, labelcolor=INK)
    bar.outline.set_edgecolor(GREY)


def _read_weights(
    weights: Tensor, axes: int, shape: str, mask: Tensor | None, vmin: float, vmax: float
) -> tuple[np.ndarray, np.ndarray]:
    """The weights as numbers, and which cells are blocked; NaN may stand, to be drawn."""
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = getattr(weights, "dtype", type(weights).__name__)
        raise ValueError(f"attention_weights must be a floating-point tensor, got {got}.")
    if weights.ndim != axes or 0 in weights.shape:
        raise ValueError(f"attention_weights must have shape {shape}, none of them 0, got {list(weights.shape)}.")
    if not vmin < vmax:
        raise ValueError(f"vmin must be below vmax, got {vmin} and {vmax}.")
    outside = weights[(weights < vmin - 1e-3) | (weights > vmax + 1e-3)]
    if len(outside):
        raise ValueError(
            f"attention_weights must lie between vmin and vmax ({vmin:g} and {vmax:g}), got {float(outside[0]):.4g}."
        )
    may_look = visible(mask, weights.shape, weights.device)
    check_blocked(weights.detach().nan_to_num(nan=0.0), may_look)
    blocked = ~may_look & ~weights.isnan()
    return weights.detach().cpu().double().numpy(), blocked.cpu().numpy()


def _read_tokens(
    tokens: Sequence[str], key_tokens: Sequence[str] | None, T: int, S: int
) -> tuple[list[str], list[str]]:
    queries = _read_labels("tokens", tokens, T, "queries")
    if key_tokens is None and T != S:
        raise ValueError(f"key_tokens must name the {S} keys where there are {T} queries, got none.")
    return queries, queries if key_tokens is None else _read_labels("key_tokens", key_tokens, S, "keys")


def _read_labels(name: str, labels: Sequence[Any], count: int, of: str) -> list[str]:
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise ValueError(f"{name} must be a sequence of {count} strings, got {type(labels).__name__}.")
    if len(labels) != count:
        raise ValueError(f"{name} must name each of the {count} {of}, got {len(labels)}.")
    return [str(label).replace("\n", "\\n") for label in labels]


def _tell_apart(names: list[str]) -> list[str]:
    return [f'"{name}"' if names.count(name) == 1 else f'"{name}" at {i}' for i, name in enumerate(names)]


def _count(cells: np.ndarray, what: str) -> str:
    return f" {cells.sum()} of {cells.size} cells {what}." if cells.any() else ""
