"""Windows on pictures: blocks, and those round each pixel."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import math

import torch
from torch.nn.functional import pad

from surgeon.anatomy.softmax import stable_softmax
from surgeon.zoo.designs.design import scored, sound, weighed, wrong

ROWS, COLUMNS, SIDE = 3, 5, 2


def same_window(places, columns):
    """Whether two places are of one window of two by two, [T, T]."""
    row, column = places // columns // SIDE, places % columns // SIDE
    return (row[:, None] == row) & (column[:, None] == column)


def in_windows(Q, K, V, near):
    """Attention to what is near; nobody else is asked."""
    return weighed(scored(Q, K), near) @ V


@sound(picture=(ROWS, COLUMNS, SIDE), mask="none")
def picture_windows(Q, K, V):
    """A picture of three rows and five columns, in windows of two by two."""
    near = same_window(torch.arange(ROWS * COLUMNS), COLUMNS)
    return in_windows(Q, K, V, near)


@wrong(
    picture_windows,
    "window",
    thread="roboflow/rf-detr#148",
    repair="place // columns, place % columns.",
)
def height_for_width(Q, K, V):
    """Rows are counted by the height of the picture, not by its width."""
    near = same_window(torch.arange(ROWS * COLUMNS), ROWS)
    return in_windows(Q, K, V, near)


@wrong(picture_windows, "window", repair="Hide what fills up the edge.")
def edge_filled_and_seen(Q, K, V):
    """Zeros fill up the windows at the edge, and each takes a share."""
    near = same_window(torch.arange(ROWS * COLUMNS), COLUMNS)
    empty = SIDE**2 - near.sum(-1)
    scores = scored(Q, K).masked_fill(~near, -math.inf)
    shown = torch.arange(SIDE**2) < empty[:, None]
    filled = torch.zeros(shown.shape, dtype=Q.dtype)
    filled = filled.masked_fill(~shown, -math.inf)
    filled = filled.expand(*scores.shape[:-2], -1, -1)
    weights = stable_softmax(torch.cat([scores, filled], -1), -1)
    return weights @ pad(V, (0, 0, 0, SIDE**2))


@wrong(picture_windows, "window", repair="Cut columns, as rows are cut.")
def stripes_for_windows(Q, K, V):
    """Rows are cut into windows, and columns are not."""
    row = torch.arange(ROWS * COLUMNS) // COLUMNS // SIDE
    return in_windows(Q, K, V, row[:, None] == row)


@wrong(picture_windows, "window", repair="Round the columns up.")
def narrow_windows_in_the_next_row(Q, K, V):
    """Windows in a row are counted rounded down, and the last ones wrap."""
    place = torch.arange(ROWS * COLUMNS)
    row, column = place // COLUMNS // SIDE, place % COLUMNS // SIDE
    number = row * (COLUMNS // SIDE) + column
    return in_windows(Q, K, V, number[:, None] == number)


@sound(picture=(ROWS, COLUMNS, (1, 3)), mask="none")
def oblong_windows(Q, K, V):
    """The same picture, in windows of one row and three columns."""
    place = torch.arange(ROWS * COLUMNS)
    number = place // COLUMNS * 2 + place % COLUMNS // 3
    return in_windows(Q, K, V, number[:, None] == number)


@wrong(oblong_windows, "window", repair="(height, width).")
def tall_for_wide(Q, K, V):
    """Windows are of three rows and one column."""
    place = torch.arange(ROWS * COLUMNS)
    number = place // COLUMNS // 3 * COLUMNS + place % COLUMNS
    return in_windows(Q, K, V, number[:, None] == number)


def apart():
    """How far keys lie below each query, and how far to the right."""
    place = torch.arange(ROWS * COLUMNS)
    row, column = place // COLUMNS, place % COLUMNS
    return row - row[:, None], column - column[:, None]


def whole_windows(place, size, side=3):
    """Which places are in the window of each, shifted to stay whole."""
    start = (place - side // 2).clamp(0, size - side)[:, None]
    return (place >= start) & (place < start + side)


@sound(picture=(ROWS, COLUMNS, 3, "cut"), mask="none")
def neighbourhoods(Q, K, V):
    """Each pixel sees three by three round itself, cut at the border."""
    down, right = apart()
    return in_windows(Q, K, V, (down.abs() <= 1) & (right.abs() <= 1))


@wrong(neighbourhoods, "window", repair="column + 1 < columns.")
def neighbours_in_the_next_row(Q, K, V):
    """Neighbours are found by their numbers, and rows are not ended."""
    place = torch.arange(ROWS * COLUMNS)
    aside = torch.tensor([-1, 0, 1])
    steps = aside[:, None] * COLUMNS + aside
    near = torch.isin(place - place[:, None], steps)
    return in_windows(Q, K, V, near)


@wrong(neighbourhoods, "window", repair="Hide what lies outside.")
def neighbours_across_the_border(Q, K, V):
    """Rolled pictures: at the border, the opposite one is near."""
    down, right = apart()
    near = ((down + 1) % ROWS < 3) & ((right + 1) % COLUMNS < 3)
    return in_windows(Q, K, V, near)


@wrong(neighbourhoods, "window", repair="<= side // 2.")
def neighbours_before_alone(Q, K, V):
    """A range that ends before its end: the last column is not seen."""
    down, right = apart()
    near = (down.abs() <= 1) & (right >= -1) & (right < 1)
    return in_windows(Q, K, V, near)


@sound(picture=(ROWS, COLUMNS, 3, "shifted"), mask="none")
def whole_neighbourhoods(Q, K, V):
    """Each pixel sees three by three, shifted at the border to be whole."""
    place = torch.arange(ROWS * COLUMNS)
    rows = whole_windows(place // COLUMNS, ROWS)
    return in_windows(Q, K, V, rows & whole_windows(place % COLUMNS, COLUMNS))


@wrong(
    whole_neighbourhoods,
    "window",
    repair="(column - 1).clamp(0, columns - 3).",
)
def neighbourhoods_unshifted(Q, K, V):
    """At the border, windows are cut, and fewer keys are seen."""
    return neighbourhoods(Q, K, V)
