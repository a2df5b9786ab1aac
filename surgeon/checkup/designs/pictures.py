"""Windows on pictures, whose tokens are read row by row."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgeon.arguments import positive_integer

# A picture is cut into blocks; or each pixel sees a window round itself,
# which at the border is cut, or shifted to stay whole.
KINDS = ("blocks", "cut", "shifted")


@dataclass(frozen=True)
class Picture:
    """Which pixels see each other: those of a block, or those around.

    Parameters
    ----------
    rows, columns : int
        Of the picture.
    height, width : int
        Of a window.
    kind : str
        One of `KINDS`, the last blocks of what is left; or, wrong, "closed",
        where a window goes on at the opposite border, or "flat", where it
        goes on in the next row.
    by_columns : bool
        Whether tokens are read column by column.
    filled : bool
        Whether windows at the edge are filled up by keys of zero, that are
        seen.
    rounded_down : bool
        Whether blocks are numbered as if the last, narrow ones were none.
    first : (int, int)
        Rows and columns that fill up the first blocks, and not the last.
    further : (int, int, int, int)
        How much further a window round a pixel reaches than it should: above,
        below, to the left, and to the right.
    """

    rows: int
    columns: int
    height: int
    width: int
    kind: str = "blocks"
    by_columns: bool = False
    filled: bool = False
    rounded_down: bool = False
    first: tuple[int, int] = (0, 0)
    further: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    def sees(self) -> Tensor:
        """[T, T]: which keys are in the window of a query."""
        if self.kind == "blocks":
            number = self.windows()
            return number[:, None] == number
        if self.kind == "flat":
            return self._along_the_text()
        row, column = self.places()
        above, below, left, right = self.reach()
        near = self._near(row, self.rows, above, below)
        return near & self._near(column, self.columns, left, right)

    def windows(self) -> Tensor:
        """[T]: the number of each token's block."""
        row, column = self.places()
        row, column = row + self.first[0], column + self.first[1]
        across = -(-(self.columns + self.first[1]) // self.width)
        if self.rounded_down:
            across = max(1, self.columns // self.width)
        return row // self.height * across + column // self.width

    def places(self) -> tuple[Tensor, Tensor]:
        tokens = torch.arange(self.tokens)
        if self.by_columns:
            return tokens % self.rows, tokens // self.rows
        return tokens // self.columns, tokens % self.columns

    def reach(self) -> tuple[int, ...]:
        """Pixels above, below, left and right of the window's own."""
        sides = (
            (self.height - 1) // 2,
            self.height // 2,
            (self.width - 1) // 2,
            self.width // 2,
        )
        return tuple(a + b for a, b in zip(sides, self.further, strict=True))

    def lacking(self) -> Tensor:
        """[T]: how many keys each query's window lacks."""
        return self.height * self.width - self.sees().sum(-1)

    def _near(
        self, place: Tensor, size: int, before: int, after: int
    ) -> Tensor:
        """[T, T], along one axis of the picture."""
        whole = before + after + 1
        if self.kind == "shifted":
            start = (place - before).clamp(0, max(0, size - whole))
            off = place - start[:, None]
        else:
            off = place - place[:, None] + before
        if self.kind == "closed":
            off = off % size
        return (off >= 0) & (off < whole)

    def _along_the_text(self) -> Tensor:
        """[T, T], by the tokens' numbers alone."""
        above, below, left, right = self.reach()
        rows = torch.arange(-above, below + 1)[:, None]
        steps = rows * self.columns + torch.arange(-left, right + 1)
        tokens = torch.arange(self.tokens)
        return torch.isin(tokens - tokens[:, None], steps)


def read_picture(said: Any) -> Picture | None:
    """(rows, columns, window, kind): the window a number, or two."""
    if said is None:
        return None
    try:
        rows, columns, window, *kind = said
        height, width = (
            window if isinstance(window, (tuple, list)) else (window, window)
        )
    except (TypeError, ValueError):
        kind, height = ["blocks"], None
    if height is None or len(kind) > 1:
        raise ValueError(
            "picture must be (rows, columns, window), the window a number or"
            " (height, width), and may say whether it is cut or shifted, got"
            f" {said!r}."
        )
    rows, columns, height, width = (
        positive_integer("picture", size)
        for size in (rows, columns, height, width)
    )
    if kind and kind[0] not in KINDS:
        raise ValueError(
            f"picture must be of one of {', '.join(KINDS)}, got {kind[0]!r}."
        )
    found = Picture(rows, columns, height, width, *kind)
    if found.kind != "blocks" and not (height % 2 and width % 2):
        raise ValueError(
            "picture must have an odd window where it is round each pixel,"
            f" got {height} x {width}."
        )
    if found.kind == "shifted" and (height > rows or width > columns):
        raise ValueError(
            "picture must be as large as a window that stays whole, got"
            f" {rows} x {columns} and a window of {height} x {width}."
        )
    return found
