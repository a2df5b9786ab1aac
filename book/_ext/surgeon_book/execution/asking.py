"""What the prose says of numbers is asked with the cell above it.

MyST-NB asks for each `{eval}` by itself when it comes to it: as many messages as for a cell, a thousand times in this
book. The kernel answers them all when the cell has run, and whatever has no plain answer is asked as before.
"""

import re
from collections.abc import Iterable
from functools import partial
from itertools import takewhile
from typing import Any

import nbformat
from myst_nb.core.execute import inline
from nbformat import NotebookNode
from sphinx.application import Sphinx

EVAL = re.compile(r"\{eval\}(`+)(.+?)\1", re.DOTALL)
NOTHING = {"text/plain": "None"}  # of which a kernel that is asked for it shows nothing


class Client(inline.ModifiedNotebookClient):
    """Runs a page's cells, and has been told the numbers between two of them when the first has run."""

    def __init__(self, nb: NotebookNode, **options: Any) -> None:
        super().__init__(nb, **options)
        self.on_cell_execute, self.on_cell_complete, self.on_cell_executed = self._ask, self._asked, self._hear
        self.told: dict[str, dict[str, Any]] = {}

    def eval_expression(self, name: str) -> list[NotebookNode]:
        return [nbformat.from_dict(self.told[name])] if name in self.told else super().eval_expression(name)

    def _ask(self, cell: NotebookNode, cell_index: int) -> None:
        self.told = {}
        asked = {name: name for name in following(self.nb.cells[cell_index + 1 :])}
        self.kc.execute = partial(type(self.kc).execute, self.kc, user_expressions=asked)

    def _asked(self, cell: NotebookNode, cell_index: int) -> None:
        """The request is sent; whether an answer comes, nobody knows."""
        del self.kc.execute

    def _hear(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        for name, answer in execute_reply["content"].get("user_expressions", {}).items():
            if answer["status"] == "ok" and answer["data"] not in ({}, NOTHING):
                shown = {"output_type": "execute_result", "execution_count": None}
                self.told[name] = shown | {"data": answer["data"], "metadata": answer["metadata"]}


def following(cells: Iterable[NotebookNode]) -> list[str]:
    """The expressions in the prose up to the next cell of code; what stands there twice is worth the same."""
    prose = takewhile(lambda cell: cell.cell_type != "code", cells)
    # a line's end is a blank, as Markdown has it
    return [re.sub(r"\n[ \t]*", " ", match[2]) for cell in prose for match in EVAL.finditer(cell.source)]


def setup(app: Sphinx) -> None:
    inline.ModifiedNotebookClient = Client  # where MyST-NB looks for it
