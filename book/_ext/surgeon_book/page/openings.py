"""How a page begins: the question that it answers, and what it says before anything is shown.

Where a page is mentioned elsewhere, it is described by its question and as many of its first sentences as fit.
"""

import re
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.memory import Memory

LENGTH = 160  # what search engines show
SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z\0])")
UNSAID = "\0"  # stands for what a line of plain text cannot hold: an equation, a computed number
SAID = {r"\\sqrt\{(\w+)\}": r"√\1", r"\^\\top": "ᵀ", r"\\infty": "∞", "_k": "ₖ", "_v": "ᵥ"}  # but these it can


class Opening(NamedTuple):
    question: str
    text: str


class Openings(Memory[Opening]):
    """A page's question, and what follows it up to the first cell or section."""

    store = "surgeon_openings"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        self.of(app.env)[app.env.docname] = read(doctree)


def read(doctree: nodes.document) -> Opening:
    section = next(iter(doctree.findall(nodes.section)), None)
    children = list(section.children) if section is not None else []
    paragraphs = [node for node in children if isinstance(node, nodes.paragraph)]
    question = ""
    if paragraphs and [type(child) for child in paragraphs[0] if child.astext().strip()] == [nodes.strong]:
        question = plain(paragraphs.pop(0)).replace(UNSAID, "…")
    return Opening(_line(question), _line(" ".join(map(plain, paragraphs[:3]))))


def _line(text: str) -> str:
    return " ".join(text.split())


def plain(node: nodes.Node) -> str:
    if isinstance(node, nodes.math):
        text = node.astext()
        for mathematics, said in SAID.items():
            text = re.sub(mathematics, said, text)
        return UNSAID if re.search(r"[\\^_{}]", text) else text
    if isinstance(node, nodes.container | nodes.raw):
        return UNSAID
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(plain(child) for child in node.children)


def describe(opening: Opening, title: str, book: str) -> str:
    """At most `LENGTH` characters: the question, then whole sentences; a word's end, if not even one of them fits."""
    said = opening.question
    for sentence in SENTENCE.split(opening.text) if opening.text else []:
        longer = f"{said} {sentence}".strip()
        if UNSAID in sentence:
            break
        if len(longer) > LENGTH:
            if len(said) < LENGTH / 2:
                said = longer[: LENGTH - 1].rpartition(" ")[0].rstrip(",;:.") + "…"
            break
        said = longer
    return said or f"{title}, a page of {book}."


def setup(app: Sphinx) -> None:
    app.add_env_collector(Openings)
