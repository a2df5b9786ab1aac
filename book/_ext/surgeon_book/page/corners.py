"""The empty corner of a table of numbers is a cell. Pandas calls it a heading, and axe asks what it heads."""

import re

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.nodes import rewrite_outputs

EMPTY = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;)*</th>")


def mend(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    rewrite_outputs(doctree, EMPTY, r"<td\1></td>")


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", mend)
