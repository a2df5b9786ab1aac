"""Which pages are written again: those that were read, and those that show something of them.

A page shows its neighbours' titles, resolves references into other pages, and may list what others left: claims, times,
uses of a name, sources. What each page shows of others is noted when it is written, and what each page has to show is
compared with what it had when that was. (Pages whose sections or exercises have new numbers are Sphinx's own care.)
"""

import hashlib
import json
import pickle
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from surgeon_book import evidence, kept, sources
from surgeon_book.execution.failures import unfinished
from surgeon_book.memory import Memory
from surgeon_book.nodes import Later
from surgeon_book.order import Begun, Finished, Resolved, Updated
from surgeon_book.site.pages import if_written


def digest(*things: Any) -> str:
    return hashlib.sha256(repr([plain(thing) for thing in things]).encode()).hexdigest()[:24]


def plain(thing: Any) -> Any:
    """Values as text that is the same for equal values: sets and dictionaries in order, nodes as they are written."""
    if isinstance(thing, nodes.Node):
        return thing.pformat()
    if isinstance(thing, dict):
        return sorted((repr(plain(key)), plain(value)) for key, value in thing.items())
    if isinstance(thing, (set, frozenset)):
        return sorted(repr(plain(one)) for one in thing)
    if isinstance(thing, (list, tuple)):
        return [plain(one) for one in thing]
    return repr(thing) if isinstance(thing, (str, bytes, int, float, bool, type(None))) else pickle.dumps(thing)


def shown_by_all(env: BuildEnvironment, sources: list[tuple]) -> str:
    """What any page may show: the contents beside it, the terms that it may link, and the sources."""
    titles = {page: title.astext() for page, title in env.titles.items()}
    terms = env.__dict__.get("surgeon_terms", {})
    return digest(titles, env.toctree_includes, env.found_docs, terms, sources)


def sources_of(env: BuildEnvironment) -> list[tuple]:
    """The list of sources, as it reads."""
    cited = env.get_domain("cite").data.get("citations", [])
    entries = [(one.key, one.citation_id, one.formatted_entry) for one in cited]
    return sorted((key, name, entry.label, entry.text.render_as("text")) for key, name, entry in entries)


def shown_of(env: BuildEnvironment) -> dict[str, str]:
    """Page -> what others may show of it: every name that they can refer to."""
    names: dict[str, list] = {page: [] for page in env.found_docs}
    for domain in env.domains.values() if isinstance(env.domains, dict) else env.domains.sorted():
        for store, entries in domain.data.items():
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                for page in {part for part in _parts(entry) if isinstance(part, str) and part in names}:
                    names[page].append((domain.name, store, repr(name), repr(entry)))
    for label, entry in getattr(env, "sphinx_exercise_registry", {}).items():
        if entry["docname"] in names:
            names[entry["docname"]].append((label, entry["node"].astext()))
    return {page: digest(sorted(entries, key=repr)) for page, entries in names.items()}


def _parts(entry: Any) -> Iterable[Any]:
    return entry if isinstance(entry, (tuple, list)) else (entry,)


def collections(env: BuildEnvironment, sources: list[tuple]) -> dict[str, str]:
    """What pages have left for some other page to list."""
    runs = {page: NbMetadataCollector.get_exec_data(env, page) for page in env.found_docs}
    left = {name: value for name, value in env.__dict__.items() if name.startswith("surgeon_")}
    cited = [repr(one) for one in env.get_domain("cite").data.get("citation_refs", ())]
    return {
        "build-times": digest({page: run["runtime"] for page, run in runs.items() if run}),
        "claims-ledger": digest(left.get("surgeon_claims"), left.get("surgeon_ledgers"), evidence.standing()),
        "used-in": digest(left.get("surgeon_usage")),
        "api-overview": digest(left.get("surgeon_api")),
        "bibliography": digest(sorted(cited), sources),
    }


class Lists(Memory[list[str]]):
    """The collections that a page lists, by the directives that do it."""

    store = "surgeon_lists"

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        page = app.env.docname
        found = {place["what"] for place in doctree.findall(Later)}
        if any(key.docname == page for key in app.env.get_domain("cite").data.get("bibliographies", ())):
            found.add("bibliography")
        self.of(app.env)[page] = sorted(found)


class Rewriting:
    """What was shown when the site was last written, and what of that has changed."""

    def begin(self, app: Sphinx) -> None:
        self.file = Path(app.doctreedir, "shown.json")
        self.everything = unfinished(app).exists()
        before = kept.get(self.file)
        self.before = json.loads(before) if before else {}
        self.everything |= not before
        self.links: dict[str, list[str]] = {}

    def updated(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        sources = sources_of(env)
        self.now = {
            "all": shown_by_all(env, sources),
            "of": shown_of(env),
            "collections": collections(env, sources),
        }
        if self.everything or self.before["all"] != self.now["all"]:
            return sorted(env.found_docs)
        changed = self._changed("of")
        listed = self._changed("collections")
        concerned = {page for page, others in self.before["links"].items() if changed & set(others)}
        concerned |= {page for page, names in Lists.of(env).items() if listed & set(names)}
        return sorted(concerned & env.found_docs)

    def _changed(self, what: str) -> set[str]:
        before, now = self.before[what], self.now[what]
        return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}

    def note(self, app: Sphinx, doctree: nodes.document, docname: str) -> None:
        """When all is resolved: which pages does the page refer to?"""
        here = app.builder.get_target_uri(docname)
        pages = {app.builder.get_target_uri(page): page for page in app.env.found_docs}
        targets = {
            pages.get(urljoin(here, node["refuri"].partition("#")[0]))
            for node in doctree.findall(nodes.reference)
            if node.get("internal") and node.get("refuri")
        }
        self.links[docname] = sorted(page for page in targets if page and page != docname)

    def remember(self, app: Sphinx) -> None:
        """What was shown is kept for the next build."""
        every = {**self.before.get("links", {}), **self.links}
        self.now["links"] = {page: seen for page, seen in every.items() if page in app.env.found_docs}
        kept.put(self.file, json.dumps(self.now).encode())


def note_assets(app: Sphinx, config: Config) -> None:
    """Styles, scripts and all else that shapes the site are part of the configuration: Sphinx writes every page, and
    copies them, when it changes."""
    folders = [Path(app.srcdir, folder) for folder in [*config.html_static_path, *config.html_extra_path]]
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    libraries = map(version, (*sources.DRAWN_WITH, *sources.PUT_TOGETHER_WITH))
    config.surgeon_assets = sources.digest([*files, *sources.look(), *libraries])


def setup(app: Sphinx) -> None:
    rewriting = Rewriting()
    app.add_env_collector(Lists)
    app.add_config_value("surgeon_assets", "", "html", types=[str])
    app.connect("config-inited", note_assets)
    app.connect("builder-inited", rewriting.begin, priority=Begun.MARK_OF_THE_LAST_IS_SEEN)
    app.connect("env-updated", rewriting.updated, priority=Updated.SOURCES_ARE_CITED)
    app.connect("doctree-resolved", rewriting.note, priority=Resolved.WHOLE)
    app.connect("build-finished", if_written(rewriting.remember), priority=Finished.WRITTEN)
