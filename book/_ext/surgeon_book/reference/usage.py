"""Which pages use which names of surgeon, as their cells import them, and where the reference says so."""

import ast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from surgeon_book.checkout import ROOT
from surgeon_book.execution.fingerprints import Package, cells
from surgeon_book.nodes import in_order, link


def kept(env: BuildEnvironment) -> dict[str, set[str]]:
    """Page -> the names that its cells import, each by the module that defines it."""
    return env.__dict__.setdefault("surgeon_usage", {})


def used(package: Package, code: ast.AST) -> set[str]:
    origins = (package.origin(module, name) for module, name, _ in package.imports(code) if name)
    return {f"{module}.{name}" for module, name in origins if name}


class Usage:
    def begin(self, app: Sphinx) -> None:
        self.package = Package(ROOT, "surgeon")

    def remember(self, app: Sphinx, docname: str, content: list[str]) -> None:
        code = cells(app.env, docname, content[0])
        kept(app.env)[docname] = used(self.package, code) if code else set()


class UsedIn(nodes.General, nodes.Element):
    """Stands where the pages that use a name will be, until every page has been read."""


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for placeholder in list(doctree.findall(UsedIn)):
        pages = [page for page in in_order(app.env) if placeholder["name"] in kept(app.env).get(page, ())]
        line = nodes.paragraph("", "Used in: ", classes=["used-in"])
        for number, page in enumerate(pages):
            line += [nodes.Text(", ")] if number else []
            line += link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
        placeholder.replace_self([line] if pages else [])


def setup(app: Sphinx) -> None:
    usage = Usage()
    app.add_node(UsedIn)
    app.connect("builder-inited", usage.begin)
    app.connect("source-read", usage.remember)
    app.connect("doctree-resolved", fill)
