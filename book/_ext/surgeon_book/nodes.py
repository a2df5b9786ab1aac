"""Tables and links made of docutils' nodes, the order of the pages, and what is filled in when all are read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str | nodes.Node]], widths: Sequence[int], name: str
) -> nodes.table:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(widths))
    group += nodes.thead("", _row(heads))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=[name])


def _row(cells: Sequence[str | nodes.Node]) -> nodes.row:
    content = (nodes.Text(cell) if isinstance(cell, str) else cell for cell in cells)
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in content))


def link(app: Sphinx, docname: str, page: str, *content: nodes.Node, anchor: str = "") -> nodes.reference:
    uri = app.builder.get_relative_uri(docname, page) + (f"#{anchor}" if anchor else "")
    return nodes.reference("", "", *content, internal=True, refuri=uri)


def rewrite_outputs(doctree: nodes.document, pattern: re.Pattern, replace: str | Callable[[re.Match], str]) -> None:
    """What a pattern finds in the HTML that cells have put out is replaced."""
    for output in list(doctree.findall(nodes.raw)):
        if output["format"] == "html" and pattern.search(output.astext()):
            output.replace_self(nodes.raw("", pattern.sub(replace, output.astext()), **output.attributes))


def in_order(env: BuildEnvironment) -> Iterator[str]:
    """The pages, as the table of contents has them."""
    waiting, seen = [env.config.root_doc], set()
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            yield page
            waiting += reversed(env.toctree_includes.get(page, []))


class Later(nodes.General, nodes.Element):
    """Stands where something will be that can be said when every page has been read: `what` names it, and `of` which
    part of it, if not all."""


Fill = Callable[[Sphinx, str, Later], list[nodes.Node]]  # from a page and the place on it
FILLS: dict[str, Fill] = {}


def fill_later(app: Sphinx, what: str, fill: Fill) -> None:
    """Make a directive of that name, whose place is filled in each time that its page is written."""
    FILLS[what] = fill
    app.add_directive(what, LaterDirective)


class LaterDirective(SphinxDirective):
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [Later(what=self.name, of="".join(self.arguments))]


class FillPlaces(SphinxPostTransform):
    default_priority = 5  # before references are resolved

    def run(self, **options: Any) -> None:
        for place in list(self.document.findall(Later)):
            place.replace_self(FILLS[place["what"]](self.app, self.env.docname, place))


def setup(app: Sphinx) -> None:
    app.add_node(Later)
    app.add_post_transform(FillPlaces)
