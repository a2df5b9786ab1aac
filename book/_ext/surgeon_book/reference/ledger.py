"""The ledger: every claim of the book, with its value, its bound, where it is made and what stands behind it."""

import html
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bs4 import BeautifulSoup, PageElement, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from surgeon_book import evidence
from surgeon_book.execution.failures import place
from surgeon_book.memory import Memory
from surgeon_book.nodes import Later, fill_later, in_order, link

LOGGER = logging.getLogger(__name__)
HEADS = ("Claim", "Page", "Kind", "Measured", "Bound", "Other draws")


class Claim(NamedTuple):
    anchor: str
    statement: tuple[tuple[str, str], ...]  # ("text" or "code", what it says), ...
    value: str
    bound: str

    @property
    def words(self) -> str:
        return "".join(f"`{text}`" if kind == "code" else text for kind, text in self.statement)


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
                LOGGER.warning(
                    f"This page claims the same thing twice: {claim.words!r}",
                    location=place(app, output),
                    type="surgeon",
                    subtype="claim",
                )
            claims.append(claim)
    return claims


def fill(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """`{claims-ledger}`: how many claims the book makes, of which kinds, and a table of them."""
    made = Claims.of(app.env)
    pages = [page for page in in_order(app.env) if made.get(page)]
    found = [(page, claim, evidence.behind(page, claim.words)) for page in pages for claim in made[page]]
    kinds = Counter(behind.kind for _, _, behind in found)
    counted = ", ".join(
        f"{kinds[kind]} {kind if kinds[kind] == 1 else plural}"
        for kind, plural in evidence.KINDS.items()
        if kinds[kind]
    )
    count = f"Claims in the book: {len(found)}. Each of them held when it was built."
    count += f" They are {counted}." if counted else ""
    said = [nodes.paragraph("", count, classes=["ledger-count"])]
    drawn = evidence.told(pages)
    if drawn:
        said.append(nodes.paragraph("", drawn, classes=["ledger-draws"]))
    stale = [page for page in pages if evidence.older(page)]
    if stale:
        links: list[nodes.Node] = []
        for page in stale:
            title = nodes.Text(app.env.titles[page].astext())
            links += [nodes.Text(", " if links else ""), link(app, docname, page, title)]
        text = "Their code is older than these pages' own, which have changed since: "
        said.append(nodes.paragraph("", "", nodes.Text(text), *links, nodes.Text("."), classes=["ledger-draws"]))
    return [*said, nodes.raw("", "".join(_table(app, docname, found)), format="html")]


def _table(app: Sphinx, docname: str, found: list[tuple[str, Claim, evidence.Behind]]) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    yield '<search-table noun="claims" filters="Page|Kind"><table class="table ledger searched">'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    for page, claim, behind in found:
        uri = f"{app.builder.get_relative_uri(docname, page)}#{claim.anchor}"
        words = "".join(
            f"<code>{html.escape(text)}</code>" if kind == "code" else html.escape(text)
            for kind, text in claim.statement
        )
        texts = [app.env.titles[page].astext(), behind.kind, claim.value, claim.bound, behind.draws]
        cells = [html.escape(text) for text in texts]
        cells[3] += _note(behind.bound)
        rest = "".join(f"<td>{cell}</td>" for cell in cells)
        broken = _note(f"Broken by {behind.breaks}." if behind.breaks else "")
        yield f'<tr><th scope="row"><a href="{uri}">{words}</a>{broken}</th>{rest}</tr>\n'
    yield "</tbody></table></search-table>"


def _note(text: str) -> str:
    words = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return f" <small>{words}</small>" if text else ""


def setup(app: Sphinx) -> None:
    app.add_env_collector(Claims)
    fill_later(app, "claims-ledger", fill)
