"""Which pages use which names of surgeon, as their cells import them, and where the reference says so.

(sphinx-codeautolink finds uses too; it imports the package to resolve them, and lists pages by the alphabet.)
"""

import ast

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.checkout import ROOT
from surgeon_book.memory import Memory
from surgeon_book.nodes import FILLS, Later, in_order, link
from surgeon_book.reference.imports import Package, cells

USED_IN = "used-in"


class Usage(Memory[set[str]]):
    """The names that a page's cells import, each by the module that defines it."""

    store = "surgeon_usage"

    def enable(self, app: Sphinx) -> None:
        super().enable(app)
        app.connect("builder-inited", self.begin)
        app.connect("source-read", self.remember)

    def begin(self, app: Sphinx) -> None:
        self.package = Package(ROOT, "surgeon")

    def remember(self, app: Sphinx, docname: str, content: list[str]) -> None:
        code = cells(app.env, docname, content[0])
        self.of(app.env)[docname] = used(self.package, code) if code else set()


def used(package: Package, code: ast.AST) -> set[str]:
    origins = (package.origin(module, name) for module, name, _ in package.imports(code) if name)
    return {f"{module}.{name}" for module, name in origins if name}


def fill(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """The pages that use the name of the place."""
    pages = [page for page in in_order(app.env) if place["name"] in Usage.of(app.env).get(page, ())]
    line = nodes.paragraph("", "Used in: ", classes=["used-in"])
    for number, page in enumerate(pages):
        line += [nodes.Text(", ")] if number else []
        line += link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
    return [line] if pages else []


def setup(app: Sphinx) -> None:
    app.add_env_collector(Usage)
    FILLS[USED_IN] = fill
