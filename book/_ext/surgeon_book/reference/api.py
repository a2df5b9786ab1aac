"""The package's reference: every public name, from its docstring, with its source and the pages that use it.

It is spread over several pages, each of which says which modules it shows; see `package` for what is public, and
`overview` for the page that leads to them all. (`automodule` shows a name where it is defined, not where one imports it
from, and whatever has a docstring.)
"""

import ast
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from docutils import nodes
from myst_parser.mdit_to_docutils.base import make_document
from myst_parser.mocking import MockRSTParser
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from surgeon_book.checkout import ROOT
from surgeon_book.memory import Memory
from surgeon_book.nodes import Later
from surgeon_book.reference.package import PACKAGE, Entry, in_full, load, public
from surgeon_book.reference.usage import USED_IN

BLOCK = re.compile(r"^(`{3,}|:{3,})\{api-reference\}\n(.*?)^\1", re.MULTILINE | re.DOTALL)
THE_REST = "..."
IN_CONTENTS = re.compile(rf'(?<=<span class="pre">){PACKAGE}\.([\w.]+)(?=</span>)')

logger = logging.getLogger(__name__)


class Module(NamedTuple):
    name: str  # "surgeon.anatomy.dot_product"
    anchor: str  # of its section
    purpose: list[nodes.Node]  # the first sentence of its docstring


class Shown(NamedTuple):
    modules: list[Module]
    public: list[str]  # every module with public names, then
    whole: str  # the whole package, and every page's list of modules, when the page was read
    outline: str  # the same without what functions and classes do
    files: dict[str, str]  # what was in those that define what it shows


class Reference(Memory[Shown]):
    """What a page shows of the package."""

    store = "surgeon_api"

    def get_outdated_docs(self, app: Sphinx, env: BuildEnvironment, *differences: set[str]) -> list[str]:
        shown = {page: left for page, left in self.of(env).items() if page in env.found_docs}
        whole = state(env, digest) if shown else ""
        changed = {page: left for page, left in shown.items() if left.whole != whole}
        outlined = state(env, outline) if changed else ""
        return [page for page, left in changed.items() if left.outline != outlined or left.files != now(left.files)]


def state(env: BuildEnvironment, part: Callable[[Path], str]) -> str:
    """The package, by a part of each file, and what all pages ask for."""
    told = [os.environ.get("GITHUB_REPOSITORY", ""), os.environ.get("SURGEON_BRANCH", ""), *asked_for(env)]
    files = sorted(file for pattern in ("*.py", "*.pyi") for file in (ROOT / PACKAGE).rglob(pattern))
    parts = [text for file in files for text in (str(file.relative_to(ROOT)), part(file))]
    return hashlib.sha256("\0".join([*told, *parts]).encode()).hexdigest()


def now(files: Iterable[str]) -> dict[str, str]:
    return {file: digest(ROOT / file) for file in files}


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def outline(file: Path) -> str:
    """What any page may show of a module: which names it has, and the values that signatures name."""
    return outline_of(file.read_bytes())


@cache  # every page of the reference asks
def outline_of(content: bytes) -> str:
    try:
        body = ast.parse(content).body
    except (SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest()
    if body and isinstance(body[0], ast.Expr):
        body = body[1:]  # what the module says of itself
    return "\n".join(
        f"{node.name} {in_full(ast.get_docstring(node))} {[ast.unparse(expression) for expression in made_by(node)]}"
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        else ast.unparse(node)
        for node in body
    )


def made_by(node: ast.FunctionDef | ast.ClassDef) -> list[ast.expr]:
    return [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else [])]


def defined_in(module: ModuleType, names: list[Entry]) -> set[str]:
    """The files from which a module's names are, and what their classes inherit."""
    things = [getattr(module, entry.name.rpartition(".")[2]) for entry in names]
    bases = {base.__module__ for thing in things if inspect.isclass(thing) for base in thing.__mro__}
    files = (getattr(sys.modules.get(name), "__file__", None) for name in {module.__name__, *bases})
    return {str(Path(file).relative_to(ROOT)) for file in files if file and Path(file).is_relative_to(ROOT)}


def asked_for(env: BuildEnvironment) -> list[str]:
    """The lines of every page's `{api-reference}`."""
    texts = (Path(env.doc2path(page)).read_text(encoding="utf8") for page in sorted(env.found_docs))
    return [line for text in texts for _, block in BLOCK.findall(text) for line in lines(block.split("\n"))]


def lines(content: Iterable[str]) -> list[str]:
    return [line.strip() for line in content if line.strip()]


def in_order(asked: list[str], found: list[str], everywhere: list[str]) -> list[str]:
    """The modules of one page, in the order of its lines. `everywhere` has the lines of all pages.

    A line is a module, a pattern such as `models.*` for those that no line names, or `...` for what no line takes.
    """

    def taken(line: str) -> list[str]:
        if line == THE_REST:
            return [name for name in sorted(found) if not any(fnmatchcase(name, other) for other in everywhere)]
        if "*" in line:
            return [name for name in sorted(found) if fnmatchcase(name, line) and name not in everywhere]
        return [line]

    return [name for line in asked for name in taken(line)]


def markup(module: ModuleType, names: list[Entry]) -> str:
    """A section of reStructuredText, in which docstrings are written: the module's first paragraph, then its names."""
    title = f"``{module.__name__}``"
    introduction = (inspect.getdoc(module) or "").split("\n\n")[0]
    text = [title, "=" * len(title), "", introduction, ""]
    for entry in names:
        text += [f".. auto{entry.kind}:: {entry.name}", *(f"   {option}" for option in options(entry)), ""]
    return "\n".join(text) + "\n"


def options(entry: Entry) -> list[str]:
    """A class has its methods shown, and a tuple its fields, unless the class's own docstring lists them."""
    thing = getattr(sys.modules[entry.origin.rpartition(".")[0]], entry.name.rpartition(".")[2])
    if entry.kind != "class":
        return []
    listed = "Attributes\n---" in (inspect.getdoc(thing) or "")
    fields = ", ".join(getattr(thing, "_fields", ())) if listed else ""
    return [":members:", *([f":exclude-members: {fields}"] if fields else [])]


class ApiDirective(SphinxDirective):
    """`{api-reference}`: a section for each of the modules that its lines ask for, if it has public names."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        every = public(load())
        found = [name.removeprefix(f"{PACKAGE}.") for name in every]
        chosen = [f"{PACKAGE}.{name}" for name in in_order(lines(self.content), found, asked_for(self.env))]
        for name in set(chosen) - set(every):
            logger.warning("There is no module %s with public names.", name, location=self.get_location(), type="api")
        chosen = [name for name in chosen if name in every]
        parsed = make_document()
        parsed["source"] = self.state.document["source"]
        parsed.settings, parsed.reporter = self.state.document.settings, self.state.document.reporter
        MockRSTParser().parse("\n".join(markup(sys.modules[name], every[name]) for name in chosen), parsed)
        sections = [child for child in parsed.children if isinstance(child, nodes.section)]
        shown = [Module(name, at["ids"][0], purpose(at)) for name, at in zip(chosen, sections, strict=True)]
        Reference.of(self.env)[self.env.docname] = Shown(
            shown,
            sorted(every),
            state(self.env, digest),
            state(self.env, outline),
            now({file for name in chosen for file in defined_in(sys.modules[name], every[name])}),
        )
        here = [entry for name in chosen for entry in every[name]]
        remember_origins(self.env, here)
        link_names(parsed, [entry for names in every.values() for entry in names], self.env.docname)
        tell_where_used(parsed, here)
        return parsed.children


def purpose(section: nodes.section) -> list[nodes.Node]:
    """The first sentence below a module's name. Names are code in it, since a list of modules leads to modules."""
    said: list[nodes.Node] = []
    for child in next(iter(section.findall(nodes.paragraph)), nodes.paragraph()):
        text = child.astext()
        if isinstance(child, nodes.Text) and (end := re.search(r"[.?!](?=\s)", text)):
            return [*said, nodes.Text(text[: end.end()])]
        said.append(nodes.literal("", text) if isinstance(child, nodes.title_reference) else child.deepcopy())
    return said


def remember_origins(env: BuildEnvironment, every: list[Entry]) -> None:
    """Let {py:func}`surgeon.anatomy.dot_product.attention` lead to surgeon.attention, as Sphinx does for classes."""
    for entry in every:
        if entry.origin != entry.name and entry.kind == "function":
            domain = env.get_domain("py")
            domain.note_object(entry.origin, "function", entry.name, aliased=True)  # type: ignore[attr-defined]


def link_names(parsed: nodes.document, every: list[Entry], page: str) -> None:
    """Docstrings put names between single backticks: those that have an entry become links, the others code."""
    anchors = {name: entry.name for entry in every for name in (entry.name.split(".")[-1], entry.origin, entry.name)}
    for name in list(parsed.findall(nodes.title_reference)):
        code = nodes.literal("", name.astext())
        anchor = anchors.get(name.astext())
        to = {"refdomain": "py", "reftype": "obj", "reftarget": anchor, "refdoc": page, "refexplicit": True}
        name.replace_self(addnodes.pending_xref("", code, refwarn=True, **to) if anchor else code)


def tell_where_used(parsed: nodes.document, every: list[Entry]) -> None:
    origins = {entry.name: entry.origin for entry in every}
    for signature in list(parsed.findall(lambda node: node.tagname == "desc_signature")):
        name = next((anchor for anchor in signature["ids"] if anchor in origins), None)
        if name:
            content = signature.parent.children[-1]
            content.insert(min(1, len(content)), Later(what=USED_IN, name=origins[name]))


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """A book that shows the package shows all of it. (Its pages, read again when it changes, know what it has.)"""
    pages = Reference.of(env).values()
    shown = {module.name for page in pages for module in page.modules}
    for name in sorted({name for page in pages for name in page.public} - shown):
        logger.warning("No page of the reference shows %s; a line `...` takes what no other does.", name, type="api")


def shorten_contents(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Beside the page, where there is little room, modules go without the package's name and break behind a dot."""
    if pagename in Reference.of(app.env):
        context["toc"] = IN_CONTENTS.sub(lambda name: name[1].replace(".", ".<wbr>"), context["toc"])


def setup(app: Sphinx) -> None:
    app.add_directive("api-reference", ApiDirective)
    app.add_env_collector(Reference)
    app.connect("env-check-consistency", check)
    app.connect("html-page-context", shorten_contents)
