"""The package's reference: every public name, from its docstring, with its source and the pages that use it.

Public is what `surgeon` hands on, and what else is documented in full: with its parameters, or with what it returns.
"""

import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from docutils import nodes
from myst_parser.mdit_to_docutils.base import make_document
from myst_parser.mocking import MockRSTParser
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from .root import ROOT
from .usage import UsedIn

PACKAGE = "surgeon"
DOCUMENTED = re.compile(r"^(Parameters|Returns)\n-+$", re.MULTILINE)


class Entry(NamedTuple):
    name: str  # what one imports, "surgeon.attention"
    origin: str  # where it is defined, "surgeon.dot_product.attention"
    kind: str  # "function", "class" or "exception"


def kept(env: BuildEnvironment) -> dict[str, str]:
    """Page with the reference -> what the package was when it was read."""
    return env.__dict__.setdefault("surgeon_api", {})


def package_now() -> str:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    parts = [part for file in files for part in (str(file.relative_to(ROOT)).encode(), file.read_bytes())]
    return hashlib.sha256(b"\0".join([os.environ.get("GITHUB_REPOSITORY", "").encode(), *parts])).hexdigest()


def load() -> ModuleType:
    """This checkout's package, though another may be installed."""
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(PACKAGE)


def in_order(order: list[str], found: list[str]) -> list[str]:
    """Every module that was found, in the order asked for; those not named stand where "..." does, or last."""
    others = sorted(set(found) - set(order))
    cut = order.index("...") if "..." in order else len(order)
    return [*order[:cut], *others, *order[cut + 1 :]]


def modules(package: ModuleType, order: list[str]) -> Iterator[ModuleType]:
    walk = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    found = [module.name.removeprefix(f"{PACKAGE}.") for module in walk if not module.ispkg]
    for name in in_order(order, found):
        yield importlib.import_module(f"{PACKAGE}.{name}")


def entries(package: ModuleType, module: ModuleType) -> Iterator[Entry]:
    """What is public in a module, in the order of its file."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", "") != module.__name__:
            continue
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        kind = "function" if inspect.isfunction(thing) else "class"
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            kind = "exception"
        origin = f"{module.__name__}.{name}"
        if name in package.__all__:
            yield Entry(f"{PACKAGE}.{name}", origin, kind)
        elif kind == "exception" or DOCUMENTED.search(inspect.getdoc(thing) or ""):
            yield Entry(origin, origin, kind)


def markup(module: ModuleType, public: list[Entry]) -> str:
    """A section of reStructuredText, in which docstrings are written: the module's first paragraph, then its names."""
    title = f"``{module.__name__}``"
    introduction = (inspect.getdoc(module) or "").split("\n\n")[0]
    lines = [title, "=" * len(title), "", introduction, ""]
    for entry in public:
        lines += [f".. auto{entry.kind}:: {entry.name}", *(f"   {option}" for option in options(entry)), ""]
    return "\n".join(lines) + "\n"


def options(entry: Entry) -> list[str]:
    """A class has its methods shown, and a tuple its fields, unless the class's own docstring lists them."""
    thing = getattr(sys.modules[entry.origin.rpartition(".")[0]], entry.name.rpartition(".")[2])
    if entry.kind != "class":
        return []
    listed = "Attributes\n---" in (inspect.getdoc(thing) or "")
    fields = ", ".join(getattr(thing, "_fields", ())) if listed else ""
    return [":members:", *([f":exclude-members: {fields}"] if fields else [])]


class ApiDirective(SphinxDirective):
    """`{api-reference}`: a section for every module with public names, in the order of its lines."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        kept(self.env)[self.env.docname] = package_now()
        package = load()
        order = [line.strip() for line in self.content if line.strip()]
        public = {module: list(entries(package, module)) for module in modules(package, order)}
        public = {module: names for module, names in public.items() if names}
        parsed = make_document()
        parsed["source"] = self.state.document["source"]
        parsed.settings, parsed.reporter = self.state.document.settings, self.state.document.reporter
        MockRSTParser().parse("\n".join(markup(module, names) for module, names in public.items()), parsed)
        every = [entry for names in public.values() for entry in names]
        remember_origins(self.env, every)
        link_names(parsed, every)
        tell_where_used(parsed, every)
        return parsed.children


def remember_origins(env: BuildEnvironment, every: list[Entry]) -> None:
    """Let {py:func}`surgeon.dot_product.attention` lead to surgeon.attention; Sphinx does that for classes alone."""
    for entry in every:
        if entry.origin != entry.name and entry.kind == "function":
            domain = env.get_domain("py")
            domain.note_object(entry.origin, "function", entry.name, aliased=True)  # type: ignore[attr-defined]


def link_names(parsed: nodes.document, every: list[Entry]) -> None:
    """Docstrings put names between single backticks: those that have an entry become links, the others code."""
    anchors = {name: entry.name for entry in every for name in (entry.name.split(".")[-1], entry.origin, entry.name)}
    for name in list(parsed.findall(nodes.title_reference)):
        code = nodes.literal("", name.astext())
        anchor = anchors.get(name.astext())
        name.replace_self(nodes.reference("", "", code, internal=True, refid=anchor) if anchor else code)


def tell_where_used(parsed: nodes.document, every: list[Entry]) -> None:
    origins = {entry.name: entry.origin for entry in every}
    for signature in list(parsed.findall(lambda node: node.tagname == "desc_signature")):
        name = next((anchor for anchor in signature["ids"] if anchor in origins), None)
        if name:
            content = signature.parent.children[-1]
            content.insert(min(1, len(content)), UsedIn(name=origins[name]))


def outdated(app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
    return [page for page, package in kept(env).items() if page in env.found_docs and package != package_now()]


def setup(app: Sphinx) -> None:
    app.add_directive("api-reference", ApiDirective)
    app.connect("env-get-outdated", outdated)
