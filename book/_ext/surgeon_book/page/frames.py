"""A table of numbers, as pandas draws one, on the site.

Its empty corner is a cell: pandas calls it a heading, and axe asks what it heads. And every cell has a name and classes
for the rules of a style that most tables have none of; those are left out of a table without rules.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.nodes import rewrite_outputs

EMPTY = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;)*</th>")
UNSTYLED = re.compile(r'<style type="text/css">\s*</style>\s*(<table id="T_\w+">.*?</table>)', re.DOTALL)
NAME = re.compile(r' (?:id="T_\w+"|class="(?:data|row_heading|col_heading|index_name|blank)\b[\w ]*")')
ROOM = re.compile(r"\s*\n\s*|\s+(?=>)")


def plain(table: re.Match[str]) -> str:
    return ROOM.sub("", NAME.sub("", table[1]))


def mend(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    rewrite_outputs(doctree, EMPTY, r"<td\1></td>")
    rewrite_outputs(doctree, UNSTYLED, plain)


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", mend)
