"""Windows on a picture whose places lie row after row."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.zoo.designs.design import scored, sound, weighed, wrong

ROWS, COLUMNS, WINDOW = 3, 4, 1


def apart(rows, columns):
    """How many rows and columns lie between places, [T, T] each."""
    places = torch.arange(rows * columns)
    row, column = places // columns, places % columns
    return (
        (row[:, None] - row).abs(),
        (column[:, None] - column).abs(),
    )


@sound(picture=(ROWS, COLUMNS, WINDOW), mask="none")
def picture_window(Q, K, V):
    """A window on a picture: the places around each, as far as there are."""
    down, along = apart(ROWS, COLUMNS)
    return weighed(scored(Q, K), (down <= 1) & (along <= 1)) @ V


@wrong(picture_window, "window", repair="Rows and columns, each its own.")
def round_the_edge(Q, K, V):
    """The end of a row is taken for the neighbour of the next one's start."""
    places = torch.arange(ROWS * COLUMNS)
    distance = (places[:, None] - places).abs()
    near = torch.zeros_like(distance, dtype=torch.bool)
    for rows in range(WINDOW + 1):
        near |= (distance - rows * COLUMNS).abs() <= WINDOW
    return weighed(scored(Q, K), near) @ V


@wrong(picture_window, "window", repair="place // columns, place % columns.")
def rows_for_columns(Q, K, V):
    """Places are read as if a column came after the other."""
    down, along = apart(COLUMNS, ROWS)
    return weighed(scored(Q, K), (down <= 1) & (along <= 1)) @ V


@wrong(picture_window, "window", repair="max(rows, columns), not their sum.")
def corners_lost(Q, K, V):
    """The window is a diamond, and its corners are lost."""
    down, along = apart(ROWS, COLUMNS)
    return weighed(scored(Q, K), down + along <= 1) @ V
