"""The cells of a matrix as a figure shows them.

Each has its colour, its value where there is room, and the names of its row
and its column; what is blocked looks blocked.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from surgeon.imaging.reading import FEW
from surgeon.imaging.style import GREY, INK, PALE, WIDTH, ink

MANY = 40  # tokens beyond which labels are thinned


class Scale(NamedTuple):
    """Which number has which colour."""

    cmap: Colormap
    norm: Normalize


def draw_cells(
    ax: Axes,
    matrix: np.ndarray,
    rows: list[str],
    columns: list[str],
    blocked: np.ndarray,
    scale: Scale,
    values: bool | None,
    digits: int = 2,
) -> AxesImage:
    """Colours, names, hatching and values of one matrix."""
    # One pixel a cell, in SVG too.
    image = ax.imshow(matrix, **scale._asdict(), interpolation="none")
    broken = ~np.isfinite(matrix) & ~blocked
    _cover(ax, blocked, facecolor=PALE, edgecolor="#a3a9b2", hatch="////")
    _cover(ax, broken, facecolor="black")
    ax.spines[:].set_visible(True)
    room = _cell_points(ax, *matrix.shape)
    _name(ax, "y", rows, room)
    _name(ax, "x", columns, room)
    cells = [tuple(cell) for cell in np.argwhere(~blocked).tolist()]
    texts = [_number(matrix[cell], digits) for cell in cells]
    fontsize = min(11.0, room / (0.68 * max(map(len, texts), default=1)))
    if values is None:
        values = max(matrix.shape) <= FEW and fontsize >= 7
    if not values:
        return image
    look: Any = {"ha": "center", "va": "center", "fontsize": fontsize}
    for cell, text in zip(cells, texts, strict=True):
        ground = scale.cmap(scale.norm(matrix[cell]))
        colour = "white" if broken[cell] else ink(ground)
        ax.text(cell[1], cell[0], text, color=colour, **look)
    return image


def _number(value: float, digits: int) -> str:
    text = f"{value:z.{digits}f}".replace("-", "−")
    return text.replace("inf", "∞").replace("nan", "NaN")


def _cover(ax: Axes, cells: np.ndarray, **look: Any) -> None:
    """Lay rectangles over cells, one for each run in a row."""
    for i, row in enumerate(cells):
        beside = np.concatenate([[0], row.astype(int), [0]])
        edges = np.flatnonzero(np.diff(beside))
        for start, stop in edges.reshape(-1, 2):
            corner, width = (start - 0.5, i - 0.5), stop - start
            ax.add_patch(Rectangle(corner, width, 1, linewidth=0, **look))


def _name(ax: Axes, which: str, labels: list[str], room: float) -> None:
    """Name rows or columns: turned where long, fewer where they are many."""
    fontsize, step = min(10.0, 0.95 * room), 1
    if len(labels) > MANY or fontsize < 6:
        fontsize = 10.0
        step = max(math.ceil(11 / room), math.ceil(len(labels) / 16))
    # A token may hold dollars.
    look: dict[str, Any] = {"fontsize": fontsize, "parse_math": False}
    longest = 0.62 * fontsize * max(map(len, labels))
    if which == "x" and longest > room * step:
        if room * step < 1.5 * fontsize:
            look |= {"rotation": 90}
        else:
            look |= {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(range(0, len(labels), step), labels[::step], **look)
    axis.set_tick_params(length=0)


def figure_size(
    rows: int, columns: int, grid: tuple[int, int] = (1, 1)
) -> tuple[float, float]:
    """Inches for matrices of square cells in a grid on the page's width.

    There is room for names and for the scale of colours.
    """
    side = (WIDTH - 1.7) / grid[1]
    height = float(np.clip(side * rows / columns, 0.25 * side, 1.15 * side))
    return WIDTH, 0.6 + (height + 0.35) * grid[0]


def _cell_points(ax: Axes, rows: int, columns: int) -> float:
    """Points that one cell has, nearly: layout moves the axes later on."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    inches = np.asarray(ax.get_position().size) * figure.get_size_inches()
    return float(min(72 * inches / (columns, rows)))


def add_colorbar(
    figure: Any, image: AxesImage, axes: Any, label: str
) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=30, pad=0.02)
    bar.set_label(label, size=11, color=INK)
    bar.ax.tick_params(labelsize=10, color=GREY, labelcolor=INK)
    bar.outline.set_edgecolor(GREY)
