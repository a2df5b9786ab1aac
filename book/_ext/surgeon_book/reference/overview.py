"""The way into the package's reference: its pages, their modules, and what each module is for."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from surgeon_book.nodes import in_order, link
from surgeon_book.reference.api import kept


class Overview(nodes.General, nodes.Element):
    """Stands where the pages of the reference and their modules will be, until every page has been read."""


class OverviewDirective(SphinxDirective):
    """`{api-overview}`: each page of the reference, and each of its modules with what it is for."""

    def run(self) -> list[nodes.Node]:
        return [Overview()]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for placeholder in list(doctree.findall(Overview)):
        pages = nodes.definition_list(classes=["api-overview"])
        for page in [page for page in in_order(app.env) if page in kept(app.env)]:
            modules = nodes.bullet_list()
            for name, anchor, sentence in kept(app.env)[page].modules:
                to = link(app, docname, page, nodes.literal("", name), anchor=anchor)
                said = [node.deepcopy() for node in sentence]
                modules += nodes.list_item("", nodes.paragraph("", "", to, nodes.Text(" "), *said))
            title = link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
            pages += nodes.definition_list_item("", nodes.term("", "", title), nodes.definition("", modules))
        placeholder.replace_self(pages)


def setup(app: Sphinx) -> None:
    app.add_node(Overview)
    app.add_directive("api-overview", OverviewDirective)
    app.connect("doctree-resolved", fill)
