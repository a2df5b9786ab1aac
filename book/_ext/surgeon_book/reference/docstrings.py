"""Docstrings on the site: their sources become citations, and each name leads to the lines that define it."""

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from surgeon_book.checkout import ROOT
from surgeon_book.order import Docstring

SOURCES = re.compile(r"\bSources?:\s.*?(?=\n\s*\n|\Z)", re.DOTALL)
FILE = re.compile(r"\s+\(book/references\.bib\)")
KEY = re.compile(r"\b[a-z]+\d{4,}\b")


def name_sources(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """'Source: vaswani2017 (book/references.bib)' becomes a citation that leads to the list of sources."""
    text = "\n".join(lines).replace("[*", r"[\*")  # [*lead, T, S] opens no emphasis
    cited = SOURCES.sub(lambda match: KEY.sub(r":cite:t:`\g<0>`", FILE.sub("", match[0])), text)
    lines[:] = cited.split("\n")


def keep_whole(app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """A field's one line of documentation stays a sentence: Napoleon takes what stands before a colon for its type."""
    kinds = [line for line in lines if line.startswith(":type: ")]
    if what in ("attribute", "property") and kinds:
        lines[:] = [f"{kinds[0].removeprefix(':type: ')}: {lines[0]}", *lines[1 : lines.index(kinds[0])]]


def link_source(domain: str, info: dict[str, str]) -> str | None:
    """Where a name is defined, as `surgeon.book.page.source` says it."""
    thing: Any = sys.modules.get(info["module"])
    try:
        for part in info["fullname"].split("."):
            thing = getattr(thing, part)
        thing = inspect.unwrap(thing)
        path = Path(inspect.getsourcefile(thing) or "").resolve().relative_to(ROOT).as_posix()
        lines, first = inspect.getsourcelines(thing)
    except (AttributeError, TypeError, ValueError, OSError):
        return None  # a field of a tuple has no lines of its own
    repository, branch = importlib.import_module("surgeon.book.page").REPOSITORY, os.environ["SURGEON_BRANCH"]
    return f"https://github.com/{repository}/blob/{branch}/{path}#L{first}-L{first + len(lines) - 1}"


def setup(app: Sphinx) -> None:
    for extension in ("autodoc", "napoleon", "linkcode"):
        app.setup_extension(f"sphinx.ext.{extension}")
    app.config.linkcode_resolve = link_source
    app.connect("autodoc-process-docstring", name_sources, priority=Docstring.AS_WRITTEN)
    app.connect("autodoc-process-docstring", keep_whole, priority=Docstring.REWRITTEN)
