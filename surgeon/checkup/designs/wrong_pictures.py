"""Ways in which windows on a picture are not those that were meant."""

from collections.abc import Iterator
from dataclasses import replace

from surgeon.checkup.designs.pictures import Picture

Wrong = Iterator[tuple[str, Picture]]


def wrong_pictures(right: Picture) -> Wrong:
    """What is meant, and what is there instead."""
    height, width = right.height, right.width
    if right.kind != "shifted" and (right.lacking() > 0).any():
        yield (
            "Windows at the edge are filled up, and what fills them is seen.",
            replace(right, filled=True),
        )
    if right.rows != right.columns:
        yield (
            "Rows and columns of the picture are taken for each other.",
            replace(right, by_columns=True),
        )
        yield (
            "Rows are counted by the height of the picture, not by its"
            " width.",
            replace(right, rows=right.columns, columns=right.rows),
        )
    if height != width:
        yield (
            "The height and the width of the window are taken for each"
            " other.",
            replace(right, height=width, width=height),
        )
    step = 1 if right.kind == "blocks" else 2
    for by, said in ((step, "larger"), (-step, "smaller")):
        if min(height, width) + by > 0:
            yield (
                f"The window is one {said} to each side.",
                replace(right, height=height + by, width=width + by),
            )
    yield from _blocks(right) if right.kind == "blocks" else _around(right)
    yield (
        "The window is as wide as the picture.",
        replace(right, width=_whole(right, right.columns)),
    )
    yield (
        "The window is as high as the picture.",
        replace(right, height=_whole(right, right.rows)),
    )


def _whole(right: Picture, size: int) -> int:
    """A window from whose every pixel all of an axis is seen."""
    return size if right.kind in ("blocks", "shifted") else 2 * size - 1


def _blocks(right: Picture) -> Wrong:
    """Rows and columns that are left over, and no blocks at all."""
    left_over = -right.rows % right.height, -right.columns % right.width
    if left_over[1]:
        yield (
            "The last windows in a row are counted with the first in the"
            " next: the width of the picture is divided by theirs, and"
            " rounded down.",
            replace(right, rounded_down=True),
        )
    if any(left_over):
        yield (
            "The picture is filled up in front of its first pixel, not behind"
            " its last: other pixels share a window.",
            replace(right, first=left_over),
        )
    for kind in ("cut", "shifted"):
        yield (
            "Each pixel sees a window round itself, and not its block.",
            replace(right, kind=kind),
        )


def _around(right: Picture) -> Wrong:
    """The border, and each side of a window round its pixel."""
    yield (
        "The picture is closed to a ring: a window goes on at the opposite"
        " border.",
        replace(right, kind="closed"),
    )
    yield (
        "Where a row of the picture ends, a window goes on in the next.",
        replace(right, kind="flat"),
    )
    if right.kind == "shifted":
        yield (
            "Windows are cut at the border of the picture, not shifted to"
            " stay whole.",
            replace(right, kind="cut"),
        )
    else:
        yield (
            "Windows are shifted at the border of the picture to stay whole,"
            " not cut.",
            replace(right, kind="shifted"),
        )
    yield (
        "The picture is cut into blocks: no window is round its pixel.",
        replace(right, kind="blocks"),
    )
    sides = {
        (1, 0, 0, 0): "row too {} is seen above the pixel",
        (0, 1, 0, 0): "row too {} is seen below the pixel",
        (0, 0, 1, 0): "column too {} is seen on the left of the pixel",
        (0, 0, 0, 1): "column too {} is seen on the right of the pixel",
        (1, 1, 0, 0): "row too {} is seen above and below the pixel",
        (0, 0, 1, 1): "column too {} is seen on both sides of the pixel",
    }
    for by, how in ((1, "many"), (-1, "few")):
        for side, said in sides.items():
            above, below, left, to_the_right = (by * n for n in side)
            wrong = replace(right, further=(above, below, left, to_the_right))
            if min(wrong.reach()) >= 0:
                yield f"One {said.format(how)}.", wrong
