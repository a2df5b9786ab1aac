"""The way into the package's reference: its pages, their modules, and what each module is for."""

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.nodes import Later, fill_later, in_order, link
from surgeon_book.reference.api import Reference


def fill(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """`{api-overview}`: each page of the reference, and each of its modules with what it is for."""
    shown = Reference.of(app.env)
    pages = nodes.definition_list(classes=["api-overview"])
    for page in [page for page in in_order(app.env) if page in shown]:
        modules = nodes.bullet_list()
        for name, anchor, sentence in shown[page].modules:
            to = link(app, docname, page, nodes.literal("", name), anchor=anchor)
            said = [node.deepcopy() for node in sentence]
            modules += nodes.list_item("", nodes.paragraph("", "", to, nodes.Text(" "), *said))
        title = link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
        pages += nodes.definition_list_item("", nodes.term("", "", title), nodes.definition("", modules))
    return [pages]


def setup(app: Sphinx) -> None:
    fill_later(app, "api-overview", fill)
