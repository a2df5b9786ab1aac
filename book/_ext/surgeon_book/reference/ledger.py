"""The ledger: every claim of the book, with its value, its bound and the place where it is made."""

from typing import NamedTuple

from bs4 import BeautifulSoup, PageElement, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from surgeon_book.execution.failures import place
from surgeon_book.memory import Memory
from surgeon_book.nodes import Later, fill_later, in_order, link, table

LOGGER = logging.getLogger(__name__)


class Claim(NamedTuple):
    anchor: str
    statement: tuple[tuple[str, str], ...]  # ("text" or "code", what it says), ...
    value: str
    bound: str


class Claims(Memory[list[Claim]]):
    """A page's claims, in its order."""

    store = "surgeon_claims"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        self.of(app.env)[app.env.docname] = collect(app, doctree)


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


def collect(app: Sphinx, doctree: nodes.document) -> list[Claim]:
    claims: list[Claim] = []
    for output in doctree.findall(nodes.raw):
        if output["format"] != "html" or 'class="claim"' not in output.astext():
            continue
        for claim in read(output.astext()):
            if any(claim.anchor == other.anchor for other in claims):
                said = "".join(text for _, text in claim.statement)
                LOGGER.warning(
                    f"This page claims the same thing twice: {said!r}",
                    location=place(app, output),
                    type="surgeon",
                    subtype="claim",
                )
            claims.append(claim)
    return claims


def fill(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """`{claims-ledger}`: how many claims the book makes, and a table of them for every page that makes any."""
    made = Claims.of(app.env)
    pages = [page for page in in_order(app.env) if made.get(page)]
    count = f"Claims in the book: {sum(len(made[page]) for page in pages)}. Each of them held when it was built."
    content: list[nodes.Node] = [nodes.paragraph("", count, classes=["ledger-count"])]
    for page in pages:
        title = link(app, docname, page, nodes.Text(app.env.titles[page].astext()))
        rows = [[_statement(app, docname, page, claim), claim.value, claim.bound] for claim in made[page]]
        content.append(nodes.rubric("", "", title))
        content.append(table(("Claim", "Measured", "Bound"), rows, (60, 18, 22), "ledger"))
    return content


def _statement(app: Sphinx, docname: str, page: str, claim: Claim) -> nodes.Node:
    pieces = [nodes.literal("", text) if kind == "code" else nodes.Text(text) for kind, text in claim.statement]
    return link(app, docname, page, *pieces, anchor=claim.anchor)


def setup(app: Sphinx) -> None:
    app.add_env_collector(Claims)
    fill_later(app, "claims-ledger", fill)
