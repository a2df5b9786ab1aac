"""Pictures cut into windows, their places row after row."""

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
