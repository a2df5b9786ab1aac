"""The look of every figure: colours, maps from numbers to colours, sizes."""

from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from surgeon.arguments import positive_integer

# Colours that a colour-blind reader can tell apart (okabe2008), on an opaque
# light ground that dark mode leaves alone.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
ORANGE, PURPLE, SKY = "#e69f00", "#b5578f", "#56b4e9"
INK, GREY, PALE, PAPER = "#1b1f24", "#6b7280", "#e3e5e8", "#ffffff"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)

# Equal steps of the number are equal steps of lightness (CIE L*): 97 to 16,
# and 97 to 30 on both sides of zero.
RAMP = ["#f4f9fb", "#b0cee3", "#6ea3ce", "#1d78b8", "#004e8a", "#002756"]
WEIGHTS = LinearSegmentedColormap.from_list("weights", RAMP)
BELOW = ["#79310f", "#a84b20", "#d36c3c", "#e89a77", "#f5c8b4"]
ABOVE = ["#b5d6ed", "#75b3e1", "#2090d5", "#006bae", "#004885"]
AT_ZERO = "#f8f8f8"
SCORES = LinearSegmentedColormap.from_list(
    "scores", [*BELOW, AT_ZERO, *ABOVE]
)
WIDTH = 6.4  # inches: the column of the page


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
        # The width travels with the cycle: it holds outside of the context.
        "axes.prop_cycle": (
            cycler(color=PALETTE) + cycler(linewidth=[2.0] * len(PALETTE))
        ),
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
    """A figure in the house style.

    Pyplot knows nothing of it, so none stays open.

    Parameters
    ----------
    rows, columns : int
        Panels.
    size : (float, float), optional
        Width and height in inches; the width of a page's column, and a height
        that goes with the rows, if not given.
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
    rows = positive_integer("rows", rows)
    columns = positive_integer("columns", columns)
    size = size or (WIDTH, 3.8 if rows == 1 else 2.8 * rows)
    shared: Any = {"sharex": sharex, "sharey": sharey}
    style: Any = house_style()
    with matplotlib.rc_context(style):
        fig = Figure(figsize=size, layout="constrained")
        axes = fig.subplots(rows, columns, **shared)
    look = {"labelsize": style["xtick.labelsize"], "labelcolor": INK}
    for ax in fig.axes:  # ticks are made later, outside of the context
        ax.tick_params(color=GREY, **look)
    return fig, axes


def ink(rgba: Any) -> str:
    """Black or white, whichever contrasts more with the colour.

    On any colour that is at least 4.5 to 1, as WCAG 2 asks.
    """
    channels = np.asarray(rgba[:3], dtype=float)
    bright = ((channels + 0.055) / 1.055) ** 2.4
    linear = np.where(channels <= 0.04045, channels / 12.92, bright)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"
