"""The ledger: every claim of the book, with its value, its bound and the place where it is made."""

from typing import NamedTuple

from bs4 import BeautifulSoup, PageElement, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from surgeon_book.execution.failures import place
from surgeon_book.nodes import in_order, link, table

LOGGER = logging.getLogger(__name__)


class Claim(NamedTuple):
    anchor: str
    statement: tuple[tuple[str, str], ...]  # ("text" or "code", what it says), ...
    value: str
    bound: str


def kept(env: BuildEnvironment) -> dict[str, list[Claim]]:
    """Page -> its claims, in the page's order."""
    return env.__dict__.setdefault("surgeon_claims", {})


def read(html: str) -> list[Claim]:
    """The claims in what `surgeon.book.page.claim` displays."""
    claims = []
    for mark in BeautifulSoup(html, "html.parser").select("p.claim[id]"):
        parts = {part: mark.find(class_=f"claim-{part}") for part in ("statement", "value", "bound")}
        text = {part: tag.get_text() if tag else "" for part, tag in parts.items()}
        statement = tuple(_piece(child) for child in parts["statement"].children) if parts["statement"] else ()
        claims.append(Claim(str(mark["id"]), statement, text["value"] or "true", text["bound"] or "true"))
    return claims


def _piece(child: PageElement) -> tuple[str, str]:
    return "code" if isinstance(child, Tag) and child.name == "code" else "text", child.get_text()


def collect(app: Sphinx, doctree: nodes.document) -> None:
    seen: set[str] = set()
    claims = kept(app.env)[app.env.docname] = []
    for output in doctree.findall(nodes.raw):
        if output["format"] != "html" or 'class="claim"' not in output.astext():
            continue
        for claim in read(output.astext()):
            if claim.anchor in seen:
                said = "".join(text for _, text in claim.statement)
                LOGGER.warning(
                    f"This page claims the same thing twice: {said!r}",
                    location=place(app, output),
                    type="surgeon",
                    subtype="claim",
                )
            seen.add(claim.anchor)
            claims.append(claim)


class Ledger(nodes.General, nodes.Element):
    """Stands where the ledger will be, until every page has been read."""


class LedgerDirective(SphinxDirective):
    """`{claims-ledger}`: how many claims the book makes, and a table of them for every page that makes any."""

    def run(self) -> list[nodes.Node]:
        return [Ledger()]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for placeholder in list(doctree.findall(Ledger)):
        pages = [page for page in in_order(app.env) if kept(app.env).get(page)]
        total = sum(len(kept(app.env)[page]) for page in pages)
        count = f"Claims in the book: {total}. Each of them held when it was built."
        content: list[nodes.Node] = [nodes.paragraph("", count, classes=["ledger-count"])]
        for page in pages:
            title = link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
            rows = [[_statement(app, docname, page, claim), claim.value, claim.bound] for claim in kept(app.env)[page]]
            content.append(nodes.rubric("", "", title))
            content.append(table(("Claim", "Measured", "Bound"), rows, (60, 18, 22), "ledger"))
        placeholder.replace_self(content)


def _statement(app: Sphinx, docname: str, page: str, claim: Claim) -> nodes.Node:
    pieces = [nodes.literal("", text) if kind == "code" else nodes.Text(text) for kind, text in claim.statement]
    return link(app, docname, page, *pieces, anchor=claim.anchor)


def setup(app: Sphinx) -> None:
    app.add_node(Ledger)
    app.add_directive("claims-ledger", LedgerDirective)
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", fill)
