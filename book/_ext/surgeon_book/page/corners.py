"""The empty corner of a table of numbers is a cell. Pandas calls it a heading, and axe asks what it heads."""

import re

from docutils import nodes
from sphinx.application import Sphinx

EMPTY = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;)*</th>")


def mend(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for output in list(doctree.findall(nodes.raw)):
        if output["format"] == "html" and EMPTY.search(output.astext()):
            mended = EMPTY.sub(r"<td\1></td>", output.astext())
            output.replace_self(nodes.raw("", mended, **output.attributes))


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", mend)
