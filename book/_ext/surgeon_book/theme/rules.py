"""Rules of a style: read by tinycss2, less those that a page has no use for, and written as short as they can be."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import tinycss2
from tinycss2.ast import Node

# Font Awesome's own rules, and what the theme draws with its fonts; theme.css and icons.py draw what is needed.
AWESOME = re.compile(r"\.fa[bsr]?\b|\.fa-|keyframes fa-|Font Awesome")
DRAWN_WITH_A_FONT = re.compile(r"Font Awesome|--fa-|--pst-icon-|^content:\"[\uf000-\uf8ff]\"")
VARIABLE = re.compile(r"--[\w-]+")
READ = re.compile(r"--[\w-]+(?=\s*[,)])")
GROUPS = {"media", "supports", "layer", "container", "keyframes", "-webkit-keyframes"}  # rules stand in these
STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^)]*\))""", re.DOTALL)


class Selector(NamedTuple):
    text: str
    asked: frozenset[str]  # classes without which it finds nothing


class Rule(NamedTuple):
    selectors: tuple[Selector, ...]
    block: "Tree"


class Group(NamedTuple):
    head: str  # "@media print", "@font-face"
    block: "Tree"


Tree = tuple[str | Rule | Group, ...]  # text is a declaration, or a statement such as @charset


def parse(text: str) -> Tree:
    """What a browser would not understand is no rule of ours either, and is left out."""
    return tuple(_read(tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)))


def _read(found: Iterable[Node]) -> Iterator[str | Rule | Group]:
    for node in found:
        if node.type == "declaration":
            important = "!important" if node.important else ""
            yield f"{node.name}:{_text(node.value) or ' '}{important}"
        elif node.type == "qualified-rule":
            yield Rule(tuple(_selectors(node.prelude)), _block(node.content))
        elif node.type == "at-rule":
            head = f"@{node.at_keyword} {_text(node.prelude)}".strip()
            yield head if node.content is None else Group(head, _inside(node))


def _inside(group: Node) -> Tree:
    if group.lower_at_keyword in GROUPS:
        return tuple(_read(tinycss2.parse_rule_list(group.content, skip_comments=True, skip_whitespace=True)))
    return _block(group.content)


def _block(content: list[Node]) -> Tree:
    return tuple(_read(tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True)))


def _text(tokens: Iterable[Node]) -> str:
    return _plain(tinycss2.serialize(list(tokens)))


def _plain(text: str) -> str:
    """Without comments, and with one blank where there are more; strings stay as they are."""
    pieces = STRING.split(text)
    pieces[::2] = [re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", piece, flags=re.DOTALL)) for piece in pieces[::2]]
    return "".join(pieces).strip()


def _selectors(prelude: list[Node]) -> Iterator[Selector]:
    """One for each part between commas, of which those within brackets are not."""
    part: list[Node] = []
    for token in [*prelude, None]:
        if token is None or token == ",":
            yield Selector(_text(part), frozenset(_asked(part)))
            part = []
        else:
            part.append(token)


def _asked(selector: list[Node]) -> Iterator[str]:
    """Classes that a selector asks for outright; what stands within `:not()`, `:is()` and the like is no reason."""
    for dot, name in pairwise(selector):
        if dot == "." and name.type == "ident":
            yield name.value


def write(tree: Tree) -> str:
    return "".join(f"{item};" if isinstance(item, str) else f"{_head(item)}{{{write(item.block)}}}" for item in tree)


def _head(item: Rule | Group) -> str:
    return item.head if isinstance(item, Group) else ",".join(selector.text for selector in item.selectors)


def prune(tree: Tree, classes: set[str]) -> Tree:
    return tuple(_kept(tree, classes))


def _kept(tree: Tree, classes: set[str]) -> Iterator[str | Rule | Group]:
    for item in tree:
        if isinstance(item, str):
            if not DRAWN_WITH_A_FONT.search(item):
                yield item
        elif isinstance(item, Group) and item.head.startswith(("@font-face", "@keyframes")):
            if not AWESOME.search(write((item,)).replace("\\", "")):
                yield item
        elif isinstance(item, Group):
            if block := prune(item.block, classes):
                yield Group(item.head, block)
        else:
            used = tuple(one for one in item.selectors if one.asked <= classes and not AWESOME.search(one.text))
            block = prune(item.block, classes) if used else ()
            if block:
                yield Rule(used, block)


def variables_read(*texts: str) -> set[str]:
    return {name for text in texts for name in READ.findall(text)}


def without_idle_variables(tree: Tree, elsewhere: set[str]) -> Tree:
    """Without variables that nothing reads, and then without those that only they read."""
    shorter = _without_variables_but(elsewhere | variables_read(write(tree)), tree)
    return tree if shorter == tree else without_idle_variables(shorter, elsewhere)


def _without_variables_but(read: set[str], tree: Tree) -> Tree:
    kept: list[str | Rule | Group] = []
    for item in tree:
        if isinstance(item, str):
            name = VARIABLE.match(item)
            kept += [item] if name is None or name[0] in read else []
        elif block := _without_variables_but(read, item.block):
            kept.append(item._replace(block=block))
    return tuple(kept)
