"""Windows on pictures, whose tokens are read row by row."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from surgeon.arguments import positive_integer


@dataclass(frozen=True)
class Picture:
    """A picture cut into windows, the last ones of what is left.

    Parameters
    ----------
    rows, columns : int
        Of the picture.
    height, width : int
        Of a window.
    by_columns : bool
        Whether tokens are read column by column.
    filled : bool
        Whether last windows are filled up by keys of zero, that are seen.
    """

    rows: int
    columns: int
    height: int
    width: int
    by_columns: bool = False
    filled: bool = False

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    def sees(self) -> Tensor:
        """[T, T]: which keys are in the window of a query."""
        number = self.windows()
        return number[:, None] == number

    def windows(self) -> Tensor:
        """[T]: the number of each token's window."""
        row, column = self.places()
        across = -(-self.columns // self.width)
        return row // self.height * across + column // self.width

    def places(self) -> tuple[Tensor, Tensor]:
        tokens = torch.arange(self.tokens)
        if self.by_columns:
            return tokens % self.rows, tokens // self.rows
        return tokens // self.columns, tokens % self.columns

    def lacking(self) -> Tensor:
        """[T]: how many keys each query's window lacks."""
        return self.height * self.width - self.sees().sum(-1)


def read_picture(said: Any) -> Picture | None:
    """(rows, columns, window), the window a number or (height, width)."""
    if said is None:
        return None
    try:
        rows, columns, window = said
        height, width = (
            window if isinstance(window, (tuple, list)) else (window, window)
        )
    except (TypeError, ValueError):
        raise ValueError(
            "picture must be (rows, columns, window), the window a number or"
            f" (height, width), got {said!r}."
        ) from None
    rows, columns, height, width = (
        positive_integer("picture", size)
        for size in (rows, columns, height, width)
    )
    return Picture(rows, columns, height, width)


def wrong_pictures(right: Picture) -> Iterator[tuple[str, Picture]]:
    """What is meant, and what is there instead."""
    height, width = right.height, right.width
    if (right.lacking() > 0).any():
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
    for by, said in ((1, "larger"), (-1, "smaller")):
        if min(height, width) + by > 0:
            yield (
                f"The window is one {said} to each side.",
                replace(right, height=height + by, width=width + by),
            )
    yield (
        "The window is as wide as the picture.",
        replace(right, width=right.columns),
    )
    yield (
        "The window is as high as the picture.",
        replace(right, height=right.rows),
    )
