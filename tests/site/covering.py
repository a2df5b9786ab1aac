"""Which pages are opened in JupyterLab: a few, which together have one of everything that pages have.

LAB=all opens every page, which takes minutes more, as the weekly workflow does. All pages run in the build, and once
more with their counter-examples, in a process of their own.
"""

import ast
import os
import re
import sys
from collections.abc import Mapping

from built import ROOT
from survey import PAGES

DIRECTIVE = re.compile(r"^\s*[`:]{3,}\{([\w-]+)\}", re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n((?::[^\n]*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)
TAGS = re.compile(r"^:tags: \[(.*)\]", re.MULTILINE)
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")
# What a line is, by how it begins: prose in a table or in a list is laid out otherwise than in a paragraph.
BEGINNINGS = {"|": "a table", "- ": "a list", "* ": "a list", "1. ": "a list", ">": "a quotation", "#": "a heading"}

TRAINED = ("language_model", "specimen")  # models that others trained, read from files
STARTING = ("concurrent", "multiprocessing", "subprocess")


def kinds(source: str) -> set[str]:
    """Everything that a page has: directives, roles, expressions in prose and where they stand, tags of cells, what
    the book's own furniture and other packages are called for, and which trained models are read."""
    prose = CELL.sub("", source)
    found = {f"directive: {name}" for name in DIRECTIVE.findall(prose)}
    for line in prose.splitlines():
        place = next((place for start, place in BEGINNINGS.items() if line.lstrip().startswith(start)), "a paragraph")
        for role, text in ROLE.findall(line):
            found.add(f"role: {role}")
            if role == "eval":
                found |= {f"expression in {place}"} | {f"expression with {c}" for c in "\"'[{(=<|\\" if c in text}
    for options, code in CELL.findall(source):
        found |= {f"tag: {tag}" for tags in TAGS.findall(options) for tag in tags.split(", ")}
        for node in ast.walk(ast.parse(code)):
            found |= used(node)
    return found


def used(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {f"import: {top}" for alias in node.names if brings(top := alias.name.partition(".")[0])}
    if isinstance(node, ast.ImportFrom) and node.module:
        top, *rest = node.module.split(".")
        if rest[:1] == ["book"]:
            return {f"furniture: {alias.name}" for alias in node.names if not alias.name.isupper()}
        if rest[:1] == ["models"]:
            return {f"model: {name}" for name in rest if name in TRAINED}
        return {f"import: {top}"} if brings(top) else set()
    if isinstance(node, ast.Attribute) and node.attr == "style":
        return {"a styled table"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "display", "check"):
        return {f"call: {node.func.id}"}
    return set()


def brings(package: str) -> bool:
    """Whether importing it is something to a notebook: other packages, and what starts processes."""
    return package in STARTING or package not in sys.stdlib_module_names


def cover(has: Mapping[str, set[str]], costs: Mapping[str, float]) -> list[str]:
    """Names that together have all that any of them has: time and again the one with the most that is missing for what
    it costs; and none without which the others have all. In the order of `has`."""
    missing, chosen = set().union(*has.values()), []
    while missing:
        best = max(has, key=lambda name: len(has[name] & missing) / costs[name])
        chosen.append(best)
        missing -= has[best]
    for name in sorted(chosen, key=costs.__getitem__, reverse=True):
        others = [has[other] for other in chosen if other != name]
        if has[name] <= set().union(*others):
            chosen.remove(name)
    return [name for name in has if name in chosen]


def launched() -> dict[str, str]:
    """Pages that a launch button opens, and their sources."""
    sources = {page: ROOT / f"{page}.md" for page in PAGES}
    texts = {page: file.read_text(encoding="utf8") for page, file in sources.items() if file.exists()}
    return {page: text for page, text in texts.items() if "kernelspec:" in text}


def few(sources: Mapping[str, str]) -> list[str]:
    return cover(
        {page: kinds(text) for page, text in sources.items()}, {page: cells(sources[page]) for page in sources}
    )


def cells(source: str) -> int:
    return source.count("```{code-cell}")


LAUNCHED = launched()
VISITED = list(LAUNCHED) if os.environ.get("LAB") == "all" else few(LAUNCHED)
