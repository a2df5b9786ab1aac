"""Tables and links made of docutils' nodes, and the order of the pages."""

from collections.abc import Iterable, Iterator, Sequence

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


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


def in_order(env: BuildEnvironment) -> Iterator[str]:
    """The pages, as the table of contents has them."""
    waiting, seen = [env.config.root_doc], set()
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            yield page
            waiting += reversed(env.toctree_includes.get(page, []))
