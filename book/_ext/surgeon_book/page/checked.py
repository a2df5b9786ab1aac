"""What a page checked is one line on the site, which opens: in a notebook, and on paper, it is open.

A browser opens it by itself for whoever follows a link to a claim inside it, as the ledger's links are, or finds one by
its words.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from surgeon_book.reference import ledger

HEADING = "What this page checked"


class Checked(nodes.General, nodes.Element):
    """Claims, folded to the line that counts them."""


def fold(app: Sphinx, doctree: nodes.document) -> None:
    for section in list(doctree.findall(nodes.section)):
        title, *content = section.children
        if title.astext() != HEADING:
            continue
        if count := sum(len(ledger.read(output.astext())) for output in section.findall(nodes.raw)):
            section[1:] = [Checked("", *content, summary=f"{count} {'claim' if count == 1 else 'claims'} checked")]


def visit(self: HTML5Translator, node: Checked) -> None:
    self.body.append(f'<details class="claims-checked"><summary>{node["summary"]}</summary>\n')


def depart(self: HTML5Translator, node: Checked) -> None:
    self.body.append("</details>\n")


def setup(app: Sphinx) -> None:
    app.add_node(Checked, html=(visit, depart))
    app.connect("doctree-read", fold)
