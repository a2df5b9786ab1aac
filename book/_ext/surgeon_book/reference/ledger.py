"""The ledger: every claim of the book, with its value, its bound, where it is made and what stands behind it.

`{claims-ledger} anatomy` lists those that the folder's pages make; `{claims-ledger}` counts all, links the lists of
folders, lists those of no folder, and lets a script bring the others when a reader comes to its table. So no page holds
more than a folder's claims, and each is a plain table where no script runs.
"""

import html
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bs4 import BeautifulSoup, PageElement, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from surgeon_book import evidence
from surgeon_book.execution.failures import place
from surgeon_book.memory import Memory
from surgeon_book.nodes import Later, fill_later, in_order, link, table

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


class Ledgers(Memory[str]):
    """The folder whose claims a page lists."""

    store = "surgeon_ledgers"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        folders = [place["of"] for place in doctree.findall(Later) if place["what"] == "claims-ledger" and place["of"]]
        if folders:
            self.of(app.env)[app.env.docname] = folders[0]


class Found(NamedTuple):
    page: str
    claim: Claim
    behind: evidence.Behind


def read(html: str) -> list[Claim]:
    """The claims in what `surgeon.book.page.claim` displays."""
    claims = []
    for mark in BeautifulSoup(html, "html.parser").find_all("p", class_="claim", id=True):
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
    made = Claims.of(app.env)
    pages = [page for page in in_order(app.env) if made.get(page)]
    found = [Found(page, claim, evidence.behind(page, claim.words)) for page in pages for claim in made[page]]
    folders = Ledgers.of(app.env)
    lists = [page for page in in_order(app.env) if page in folders]
    parts = {page: [one for one in found if within(app, one.page, folders[page])] for page in lists}
    if place["of"]:
        count = f"Claims here: {len(parts[docname])}.{kinds(parts[docname])}"
        said = nodes.paragraph("", count, classes=["ledger-count"])
        return [said, shown(app, docname, parts[docname])]
    listed = {one.page for part in parts.values() for one in part}
    count = f"Claims in the book: {len(found)}. Each of them held when it was built.{kinds(found)}"
    drawn = [told for told in (evidence.told(pages),) if told]
    stale = [page for page in pages if evidence.older(page)]
    return [
        nodes.paragraph("", count, classes=["ledger-count"]),
        *(nodes.paragraph("", told, classes=["ledger-draws"]) for told in drawn),
        *older(app, docname, stale),
        *overview(app, docname, parts),
        shown(app, docname, [one for one in found if one.page not in listed], lists),
    ]


def within(app: Sphinx, page: str, folder: str) -> bool:
    return page.startswith(f"{posixpath.dirname(app.config.root_doc)}/{folder}/")


def kinds(found: list[Found]) -> str:
    counts = Counter(one.behind.kind for one in found)
    told = ", ".join(
        f"{counts[kind]} {kind if counts[kind] == 1 else plural}"
        for kind, plural in evidence.KINDS.items()
        if counts[kind]
    )
    return f" They are {told}." if told else ""


def older(app: Sphinx, docname: str, stale: list[str]) -> list[nodes.Node]:
    if not stale:
        return []
    links: list[nodes.Node] = []
    for page in stale:
        links += [nodes.Text(", " if links else ""), link(app, docname, page, nodes.Text(title(app, page)))]
    text = "Their code is older than these pages' own, which have changed since: "
    return [nodes.paragraph("", "", nodes.Text(text), *links, nodes.Text("."), classes=["ledger-draws"])]


def overview(app: Sphinx, docname: str, parts: dict[str, list[Found]]) -> list[nodes.Node]:
    """The lists of folders, each with its claims of each kind."""
    if not parts:
        return []
    rows = []
    for page, part in parts.items():
        counts = Counter(one.behind.kind for one in part)
        numbers = [str(number) for number in (len(part), *(counts[kind] for kind in evidence.KINDS))]
        rows.append([link(app, docname, page, nodes.Text(title(app, page))), *numbers])
    return [
        table(("Part", "Claims", *map(str.capitalize, evidence.KINDS.values())), rows, (8, 2, 2, 2, 2), "ledger-parts")
    ]


def title(app: Sphinx, page: str) -> str:
    return app.env.titles[page].astext()


def shown(app: Sphinx, docname: str, found: list[Found], more: Iterable[str] = ()) -> nodes.Node:
    others = " ".join(app.builder.get_relative_uri(docname, page) for page in more)
    return nodes.raw("", "".join(_table(app, docname, found, others)), format="html")


def _table(app: Sphinx, docname: str, found: list[Found], others: str) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    more = f' more="{html.escape(others)}"' if others else ""
    yield f'<search-table noun="claims" filters="Page|Kind"{more}><table class="table ledger searched">'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    for page, claim, behind in found:
        uri = f"{app.builder.get_relative_uri(docname, page)}#{claim.anchor}"
        words = "".join(
            f"<code>{html.escape(text)}</code>" if kind == "code" else html.escape(text)
            for kind, text in claim.statement
        )
        texts = [title(app, page), behind.kind, claim.value, claim.bound, behind.draws]
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
    app.add_env_collector(Ledgers)
    fill_later(app, "claims-ledger", fill)
