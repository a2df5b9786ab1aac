"""The search: an index of sections, made by MiniSearch when the book is built, and the page that asks it.

Sphinx's own search and pagefind were asked the same questions (tests/site/asked.csv): with every word asked for they
find nothing for a third of them, and even with words left out they put a right page among the first three for fewer.
MiniSearch ranks by section and by how rare a word is, forgives a letter and a word too many, and opens from a folder,
which pagefind does not. All of it is in the folder `search` of the site, and the page of the search alone asks for it.

A link to a result ends in the text to be found there (`#section:~:text=...`), which browsers mark by themselves: what
was asked is marked on arrival, and no page needs a script for it.
"""

import json
import posixpath
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from py_mini_racer import MiniRacer
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.search.en import SearchEnglish

from surgeon_book import sources
from surgeon_book.checkout import ROOT
from surgeon_book.nodes import in_order
from surgeon_book.page.sections import Section, Sections

HERE = Path(__file__).parent
MINISEARCH = ROOT / "book" / "_vendor" / "minisearch"
ALIASES = HERE / "aliases.toml"
FOLDER = "search"
SCRIPTS = ("minisearch.js", "language.js", "index.js", "results.js")  # in the order in which the page loads them
# How much a section counts: the pages that teach first, those that list last.
PARTS = (
    ("anatomy/", 1.4),
    ("reference/api", 0.3),
    ("reference/glossary", 0.4),
    ("reference/assignment", 0.3),
    ("reference/questions", 0.5),
    ("reference/", 0.8),
    ("", 1.0),
)
OPENING, EXERCISES = 1.15, 0.5
NOT_SEARCHED = ("What this page checked", "Deeper")  # claims say again what the page says; a line has no words
SILENT = ("reference/claims",)


def begin(app: Sphinx) -> None:
    """Sphinx makes no index of its own."""
    app.builder.search = False


def aliases() -> dict[str, list[str]]:
    return tomllib.loads(ALIASES.read_text(encoding="utf8"))


def part(page: str) -> float:
    return next(counts for beginning, counts in PARTS if page.startswith(beginning))


def documents(app: Sphinx) -> Iterator[dict[str, Any]]:
    """What is searched, a section each."""
    known, folder, typed = Sections.of(app.env), posixpath.dirname(app.config.root_doc), aliases()
    for number, page in enumerate(listing(app)):
        short = page.removeprefix(f"{folder}/")
        for place, section in enumerate(() if short.startswith(SILENT) else known[page]):
            if section.title not in NOT_SEARCHED:
                keys = [f"{before}#{anchor}" for anchor in section.anchors for before in (short, "")]
                keys += [short] if place == 0 else []
                typed_here = [alias for key in keys for alias in typed.get(key, ())]
                yield {"page": number, "place": place, "counts": counts(short, section), **told(section, typed_here)}


def counts(page: str, section: Section) -> float:
    opens = OPENING if not section.trail else 1
    return round(part(page) * opens * (EXERCISES if section.title == "Exercises" else 1), 3)


def told(section: Section, typed: list[str]) -> dict[str, Any]:
    return {
        "kind": section.kind,
        "anchor": section.anchors[0] if section.anchors else "",
        "title": section.title,
        "trail": section.trail,
        "aliases": " ".join([*section.forms, *typed]),
        "text": section.text,
        "code": section.code,
    }


def language() -> str:
    """How texts and questions become words, with the stemmer that Sphinx brings."""
    return SearchEnglish.js_stemmer_code + (HERE / "language.js").read_text(encoding="utf8")


def index(found: list[dict[str, Any]]) -> str:
    """MiniSearch's index of some documents, as JSON."""
    racer = MiniRacer()
    racer.eval((MINISEARCH / "minisearch.js").read_text(encoding="utf8"))
    racer.eval(language())
    return racer.eval(f"indexed({json.dumps(found)})")


def write(app: Sphinx) -> str:
    """Everything in the folder; the hash of what is in it."""
    folder = Path(app.outdir, FOLDER)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "texts").mkdir(parents=True)
    found, listed = list(documents(app)), listing(app)
    for number in range(len(listed)):
        texts = {one["place"]: one["text"] for one in found if one["page"] == number and one["text"]}
        (folder / "texts" / f"{number}.js").write_text(f"heard({number}, {_json(texts)});\n", encoding="utf8")
    titles = [[app.builder.get_target_uri(page), app.env.titles[page].astext()] for page in listed]
    made = f"const PAGES = {_json(titles)};\nconst INDEX = {index(found)};\n"
    (folder / "index.js").write_text(made, encoding="utf8")
    (folder / "language.js").write_text(language(), encoding="utf8")
    for file in (MINISEARCH / "minisearch.js", MINISEARCH / "LICENSE", HERE / "results.js"):
        shutil.copy(file, folder)
    return sources.digest(sorted(file for file in folder.rglob("*") if file.is_file()))[:8]


def listing(app: Sphinx) -> list[str]:
    known = Sections.of(app.env)
    return [page for page in in_order(app.env) if page in known and page in app.env.found_docs]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def page(app: Sphinx) -> Iterable[tuple]:
    if app.builder.format == "html":
        digest = app.__dict__.get("surgeon_search") or write(app)
        scripts = [f"{FOLDER}/{name}?v={digest}" for name in SCRIPTS]
        yield "search", {"search_scripts": scripts, "search_version": digest}, "search.html"


def keep_to_the_search(app: Sphinx, config: Config) -> None:
    """html_extra_path would have all that is vendored copied to the site; `write` copies what it needs."""
    config.exclude_patterns = [*config.exclude_patterns, "minisearch/**"]


def setup(app: Sphinx) -> None:
    app.connect("config-inited", keep_to_the_search)
    app.connect("builder-inited", begin)
    app.connect("html-collect-pages", page)
