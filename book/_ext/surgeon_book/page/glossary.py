"""The glossary's terms become links where a page first uses them.

Terms that share a definition in `{glossary}` are forms of the first: a plural, an abbreviation, another name. A form
with the classifier "everyday" (`scale : everyday`) means other things as well, and is linked by `{term}` alone.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from surgeon_book.memory import Memory
from surgeon_book.nodes import in_order

# Text is looked through where it is read from top to bottom. What is folded away, said elsewhere or a name is not.
PROSE = (
    nodes.document,
    nodes.section,
    nodes.block_quote,
    nodes.bullet_list,
    nodes.enumerated_list,
    nodes.list_item,
    nodes.definition_list,
    nodes.definition_list_item,
    nodes.definition,
    nodes.table,
    nodes.tgroup,
    nodes.tbody,
    nodes.row,
    nodes.entry,
    nodes.Admonition,
)
INLINE = (nodes.emphasis, nodes.strong)
FOLDED = {"dropdown", "solution", "sd-dropdown", "exercise"}


class Term(NamedTuple):
    anchor: str
    forms: tuple[str, ...]
    definition: str


class Terms(Memory[list[Term]]):
    """The terms that a page defines."""

    store = "surgeon_terms"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        found = [read(item) for glossary in doctree.findall(addnodes.glossary) for item in glossary.children[0]]
        if found:
            self.of(app.env)[app.env.docname] = found


def read(item: nodes.Element) -> Term:
    names = [child for child in item if isinstance(child, nodes.term)]
    telling = [name for name in names if not name.rawsource.endswith(" : everyday")]
    paragraph = next(item.children[-1].findall(nodes.paragraph), nodes.paragraph())
    simple = not list(paragraph.findall(nodes.math))  # a tooltip cannot show an equation
    forms = tuple(name.astext().split("\n")[0] for name in telling)
    return Term(names[0]["ids"][0], forms, " ".join(paragraph.astext().split()) if simple else "")


class Glossary:
    """Every form of every term, and one pattern that finds them: whole words, whatever their case, longest first."""

    def __init__(self, env: BuildEnvironment) -> None:
        known = Terms.of(env)
        every = [(page, term) for page in in_order(env) for term in known.get(page, ())]
        self.terms = {_plain(form): (page, term) for page, term in every for form in term.forms}
        longest = sorted(self.terms, key=len, reverse=True)
        forms = "|".join(r"[\s-]+".join(map(re.escape, re.split(r"[\s-]", form))) for form in longest)
        self.pattern = re.compile(rf"(?<![\w$-])(?:{forms})(?![\w-])", re.IGNORECASE) if forms else None

    def find(self, text: str) -> Iterator[tuple[int, int, str, Term]]:
        """(start, end, page, term) of every form in a text, none within another."""
        for match in self.pattern.finditer(text) if self.pattern else ():
            page, term = self.terms[_plain(match[0])]
            yield match.start(), match.end(), page, term


def _plain(form: str) -> str:
    return re.sub(r"[\s-]+", " ", form).lower()


def paragraphs(doctree: nodes.document) -> Iterator[nodes.paragraph]:
    """Those that are read from top to bottom, less the first one, which is the page's question."""
    title = next((title for title in doctree.findall(nodes.title) if isinstance(title.parent, nodes.section)), None)
    question = title.next_node(nodes.paragraph, descend=False, siblings=True) if title else None
    return (found for found in doctree.findall(nodes.paragraph) if found is not question and _is_prose(found))


def _is_prose(paragraph: nodes.Node) -> bool:
    node = paragraph.parent
    while node is not None:
        if not isinstance(node, PROSE) or FOLDED & set(node["classes"]):
            return False
        node = node.parent
    return True


def rewrite(element: nodes.Element, write: Callable[[str], list[nodes.Node]]) -> None:
    """Let `write` have each text of a paragraph in turn, whole lines and breaks together, and take what it makes."""
    content: list[nodes.Node] = []
    for is_text, children in groupby(element.children, lambda child: isinstance(child, nodes.Text)):
        group = list(children)
        if is_text:
            content += write("".join(child.astext() for child in group))
        else:
            for child in group:
                if isinstance(child, INLINE):
                    rewrite(child, write)
            content += group
    element.children = []
    element.extend(content)


def link_first_uses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if docname in Terms.of(app.env):
        return
    glossary = Glossary(app.env)
    explicit = {link.get("refuri", "").rpartition("#")[2] for link in doctree.findall(nodes.reference)}
    seen = {term.anchor for _, term in glossary.terms.values() if term.anchor in explicit}

    def write(text: str) -> list[nodes.Node]:
        pieces: list[nodes.Node] = []
        end = 0
        for start, stop, page, term in glossary.find(text):
            if term.anchor not in seen:
                seen.add(term.anchor)
                uri = f"{app.builder.get_relative_uri(docname, page)}#{term.anchor}"
                said = nodes.Text(text[start:stop])
                link = nodes.reference("", "", said, internal=True, refuri=uri, classes=["glossary-term"])
                if term.definition:
                    link["reftitle"] = term.definition
                pieces += [nodes.Text(text[end:start]), link]
                end = stop
        return [*pieces, nodes.Text(text[end:])]

    for paragraph in list(paragraphs(doctree)):
        rewrite(paragraph, write)


def setup(app: Sphinx) -> None:
    app.add_env_collector(Terms)
    app.connect("doctree-resolved", link_first_uses)
