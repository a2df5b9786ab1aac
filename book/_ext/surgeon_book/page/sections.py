"""What each section of a page says, for the search: its title, where it stands, its words, the names in its code.

A term of the glossary and a name of the package are sections of their own.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from surgeon_book.memory import Memory

# What an output says in words: captions of figures, statements of claims.
SAID = re.compile(r'<figcaption[^>]*>(.*?)</figcaption>|class="claim-statement">(.*?)</span>', re.DOTALL)
TAG = re.compile(r"<[^>]+>")
NAME = re.compile(r"[A-Za-z_]{4,}")  # in code
SET = "\u2063"  # on both sides of an equation: what is typeset there reads otherwise
COMMAND = re.compile(r"\\[a-zA-Z]+|[{}\\]")
WORDS = re.compile(r"\\(?:mathrm|operatorname|text)\s*\{([^}]*)\}")
SILENT = (nodes.literal_block, nodes.comment, nodes.target, nodes.substitution_definition, addnodes.toctree)
APART = (nodes.paragraph, nodes.title, nodes.list_item, nodes.entry, nodes.term)  # a line each


class Section(NamedTuple):
    anchors: list[str]  # the first is its own, others are labels
    title: str
    trail: list[str]  # titles of the sections around it, the page's first
    kind: str  # "section", "term" of the glossary, "name" of the package
    forms: list[str]  # other forms of a term, the full name of a name
    text: str
    code: str


class Sections(Memory[list[Section]]):
    """A page's sections, in its order."""

    store = "surgeon_sections"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        top = [child for child in doctree if isinstance(child, nodes.section)]
        self.of(app.env)[app.env.docname] = [found for section in top for found in read(section, [])]


def read(section: nodes.section, trail: list[str]) -> Iterator[Section]:
    title = next((child for child in section if isinstance(child, nodes.title)), None)
    own = [child for child in section if child is not title and not isinstance(child, nodes.section)]
    within = trail
    if title is not None:
        name = said([title])
        within = [*trail, name]
        listed = (addnodes.glossary, addnodes.desc)
        content = [child for child in own if not isinstance(child, listed)]
        yield Section(list(section["ids"]), name, trail, "section", [], said(content), names(content))
    for child in own:
        if isinstance(child, addnodes.glossary):
            yield from (term(item, within) for item in child.children[0])
        elif isinstance(child, addnodes.desc):
            yield from (
                entry for described in child.findall(addnodes.desc) for entry in described_as(described, within)
            )
    for child in section:
        if isinstance(child, nodes.section):
            yield from read(child, within)


def term(item: nodes.Element, trail: list[str]) -> Section:
    found = [child for child in item if isinstance(child, nodes.term)]
    first, *others = [name.astext().split("\n")[0] for name in found]
    return Section([found[0]["ids"][0]], first, trail, "term", others, said(item.children[-1:]), "")


def described_as(described: nodes.Element, trail: list[str]) -> Iterator[Section]:
    signature, *content = described.children
    if isinstance(signature, nodes.Element) and signature.get("ids"):
        full = signature["ids"][0]
        yield Section([full], full.rpartition(".")[2], trail, "name", [full], said(content), "")


def said(content: list[nodes.Node]) -> str:
    """The words, a line for each paragraph."""
    text = "".join(piece for node in content for piece in _words(node))
    return re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", text)).strip()


def _words(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Text):
        yield node.astext()
    elif isinstance(node, (nodes.math, nodes.math_block)):
        yield f" {SET}{spoken(node.astext())}{SET} "
    elif isinstance(node, nodes.raw):
        if node.get("format") == "html":
            for caption, statement in SAID.findall(node.astext()):
                yield f"\n{unescape(TAG.sub('', caption or statement))}\n"
    elif isinstance(node, nodes.Element) and not isinstance(node, SILENT) and node.get("refdomain") != "cite":
        for child in node.children:
            yield from _words(child)
        if isinstance(node, APART):
            yield "\n"


def spoken(tex: str) -> str:
    """An equation as somebody would type it."""
    plain = WORDS.sub(r"\1 ", tex).replace(r"\sqrt", "√").replace(r"\top", "T").replace(r"\infty", "inf")
    return " ".join(COMMAND.sub(" ", plain).split())


def names(content: list[nodes.Node]) -> str:
    """Each name in the code once."""
    return " ".join(dict.fromkeys(NAME.findall("\n".join(code for node in content for code in _code(node)))))


def _code(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.literal_block):
        yield node.astext()
    elif isinstance(node, nodes.Element) and "cell_output" not in node.get("classes", []):
        for child in node.children:
            yield from _code(child)


def setup(app: Sphinx) -> None:
    app.add_env_collector(Sections)
