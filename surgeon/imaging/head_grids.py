"""Every head of a model at a glance: a thumbnail each."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from surgeon.arguments import positive_integer
from surgeon.imaging.cells import add_colorbar
from surgeon.imaging.reading import read_heads
from surgeon.imaging.style import INK, PAPER, WEIGHTS, WIDTH, new_figure
from surgeon.imaging.words import count_cells, read_labels, tell_apart

GAP = 2  # thumbnails' room between blocks, for the layers' numbers
SIDE = 0.92  # of a thumbnail, where the distance to the next is 1
BLOCKED = "#c3c7cd"  # too small to be hatched


def plot_all_heads(
    attention_weights: Tensor,
    tokens: Sequence[str] | None = None,
    title: str = "",
    *,
    mask: Tensor | None = None,
    blocks: int = 1,
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
    blocks : int
        Into how many blocks, side by side, the layers are laid; more than
        one where a model has many layers of few heads.

    Returns
    -------
    matplotlib.figure.Figure
        Its first axes hold one image a head, layer by layer. Cells that hold
        NaN are black.

    Raises
    ------
    ValueError
        If the weights are no floating tensor [layers, heads, T, T], if they
        lie outside 0 to 1, if there are not `T` tokens, if the mask cannot be
        read or blocks cells that hold weight, or if `blocks` is no positive
        integer.

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
    rows = math.ceil(L / positive_integer("blocks", blocks))
    columns = math.ceil(L / rows) * (H + GAP) - GAP
    width = WIDTH - 1.25  # the rest is for layers' numbers and the colours
    height = width * rows / columns + 0.4
    height += 0.3 * bool(title) + 0.17 * len(below)
    fig, ax = new_figure(size=(WIDTH, min(9.0, height)))
    _lay_out(ax, L, H, rows)
    ax.set_title(title, parse_math=False)
    colours, norm = WEIGHTS.with_extremes(bad="black"), Normalize(0.0, 1.0)
    for layer, head in np.ndindex(L, H):
        cells = colours(norm(np.ma.masked_invalid(weights[layer, head])))
        cells[blocked[layer, head]] = to_rgba(BLOCKED)
        block, row = divmod(layer, rows)
        left, top = head + block * (H + GAP) - SIDE / 2, row - SIDE / 2
        extent = (left, left + SIDE, top + SIDE, top)
        ax.imshow(cells, extent=extent, interpolation="none")
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.set_aspect("equal")
    scale: Any = ScalarMappable(norm, WEIGHTS)
    add_colorbar(fig, scale, ax, "weight")
    if below:
        look: Any = {"fontsize": 9, "color": INK, "parse_math": False}
        fig.supxlabel("\n".join(below), **look)
    return fig


def _lay_out(ax: Axes, L: int, H: int, rows: int) -> None:
    """The names and numbers of layers and heads, and no frame."""
    ax.set_facecolor("#d4d8dd")  # what lies between thumbnails
    ax.spines[:].set_visible(False)
    ax.set(xlabel="head", ylabel="layer")
    starts = range(0, math.ceil(L / rows) * (H + GAP), H + GAP)
    for start in starts[1:]:  # between blocks there is nothing
        ax.axvspan(start - GAP - 0.5, start - 0.5, color=PAPER, zorder=0)
    heads = range(0, H, math.ceil(H / 16))
    places = [start + head for start in starts for head in heads]
    ax.set_xticks(places, [str(n) for _ in starts for n in heads])
    step = math.ceil(rows / 16)
    ax.set_yticks(range(0, rows, step))
    ax.tick_params(length=0)
    look: Any = {"ha": "right", "va": "center", "color": INK, "fontsize": 10}
    for layer in range(rows, L, step):
        block, row = divmod(layer, rows)
        ax.text(block * (H + GAP) - 0.7, row, str(layer), **look)


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


def _heads(count: int) -> str:
    return "1 head" if count == 1 else f"{count or 'no'} heads"
