"""A table that a reader can search, filter and sort.

It is plain where no script runs.
"""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from surgeon.book.page import inline, show


class Cell(NamedTuple):
    """What a table has in one place.

    Attributes
    ----------
    text : str
        Plain text; words between backticks are set as code.
    link : str
        Where it leads: a page from this page's folder, such as
        ``"zoo/masks.md#bug-lost-mask"``.
    note : str
        What stands small below it.
    order : float, optional
        What the column is sorted by in place of its text; NaN comes last.
    """

    text: str
    link: str = ""
    note: str = ""
    order: float | None = None


def search_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    noun: str = "rows",
    filters: Sequence[str] = (),
    words: Sequence[str] = (),
) -> None:
    """Show a table; on the site, one that can be searched and sorted.

    Parameters
    ----------
    heads : sequence of str
        The names of its columns.
    rows : sequence of sequence of str or Cell
        A cell for each column; the first names its row.
    noun : str
        What the rows are, in the plural.
    filters : sequence of str
        The heads of columns whose values can be chosen from.
    words : sequence of str
        What each row is found by besides its text; nothing if not given.

    Raises
    ------
    ValueError
        If a row has not as many cells as there are heads, if a filter is no
        head, or if words are given and not for every row.

    Examples
    --------
    >>> search_table(["bug", "nats"], [["lost mask", Cell("−1", order=-1)]])
    [2 columns, 1 rows: bug, nats]
    """
    for row in rows:
        if len(row) != len(heads):
            raise ValueError(
                f"a row must have {len(heads)} cells, got {len(row)}."
            )
    for name in filters:
        if name not in heads:
            raise ValueError(f"filters must be heads, got {name!r}.")
    if words and len(words) != len(rows):
        raise ValueError(
            f"words must be given for {len(rows)} rows, got {len(words)}."
        )
    first = "".join(f'<th scope="col">{inline(head)}</th>' for head in heads)
    body = "".join(
        f"<tr{_attribute('data-words', more)}>{_row(row)}</tr>"
        for row, more in zip(rows, words or [""] * len(rows), strict=True)
    )
    chosen = html.escape("|".join(filters))
    show(
        f"[{len(heads)} columns, {len(rows)} {noun}: {', '.join(heads)}]",
        html=f'<search-table noun="{html.escape(noun)}" filters="{chosen}">'
        f'<table class="searched"><thead><tr>{first}</tr></thead>'
        f"<tbody>{body}</tbody></table></search-table>",
    )


def _row(row: Sequence[str | Cell]) -> str:
    cells = [Cell(cell) if isinstance(cell, str) else cell for cell in row]
    kinds = ['th scope="row"', *["td"] * (len(cells) - 1)]
    return "".join(map(_cell, kinds, cells))


def _cell(kind: str, cell: Cell) -> str:
    text = inline(cell.text)
    if cell.link:
        text = f'<a href="{html.escape(cell.link)}">{text}</a>'
    if cell.note:
        text += f" <small>{inline(cell.note)}</small>"
    order = ""
    if cell.order is not None:
        number = "" if math.isnan(cell.order) else f"{cell.order:.6g}"
        order = f' data-order="{number}"'
    return f"<{kind}{order}>{text}</{kind.split()[0]}>"


def _attribute(name: str, value: str) -> str:
    return f' {name}="{html.escape(value)}"' if value else ""
