"""One style for the site: what the theme and the extensions bring, less the rules that no page has a use for.

It is put together when the pages are there, since it depends on the classes that stand in them. Styles of the book's
own pages, such as those of a custom element, keep their own link.
"""

import hashlib
import pickle
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from surgeon_book import kept, sources
from surgeon_book.order import Finished, Page
from surgeon_book.site import pages
from surgeon_book.theme import icons, rules

THEME = Path(__file__).parent / "theme.css"
OWN = "surgeon.css"
# In the order in which the theme has pages ask for them; the last word is the book's.
PARTS = (
    "basic.css",
    "styles/pydata-sphinx-theme.css",
    "pygments.css",
    "styles/sphinx-book-theme.css",
    "copybutton.css",
    "mystnb.*.css",
    "exercise.css",
    "sphinx-design.min.css",
)
# What the second folds opens by itself here; the first does nothing but import Sphinx's basic.css.
LEFT_OUT = ("styles/theme.css", "togglebutton.css")
WORD = re.compile(r"[A-Za-z_][\w-]*")  # in a script, may be a class that it sets


def link_one(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Sphinx keeps each style as an object with a file's name; the theme's layout links site.css."""
    patterns = [re.compile(re.escape(part).replace(r"\*", "[0-9a-f]*")) for part in (*PARTS, *LEFT_OUT, OWN)]
    names = {sheet: str(sheet.filename).removeprefix("_static/") for sheet in context["css_files"]}
    context["css_files"] = [sheet for sheet, name in names.items() if not any(p.fullmatch(name) for p in patterns)]


def read_early(app: Sphinx) -> None:
    """What does not depend on the pages, while these are resolved and written."""
    static = Path(app.outdir, "_static")
    found = [file for part in PARTS for file in static.glob(part)]
    parsed(app, [file for file in (*found, THEME, static / OWN) if file.exists()])


def put_together(app: Sphinx) -> None:
    static = Path(app.outdir, "_static")
    files = [[*static.glob(part)] for part in PARTS]
    missing = [part for part, found in zip(PARTS, files, strict=True) if len(found) != 1]
    if missing:
        raise ExtensionError(f"The site's style needs each of these once: {', '.join(missing)}.")
    scripts = [file.read_text(encoding="utf8") for file in kept_scripts(static)]
    on_pages = {name for known in pages.known(app).values() for name in known.classes}
    read = {name for known in pages.known(app).values() for name in known.variables}
    *theirs, last, own = parsed(app, [*(found[0] for found in files), THEME, static / OWN])
    ours = icons.style(on_pages) + rules.write(last) + rules.write(own)
    classes = on_pages.union(*map(WORD.findall, scripts))
    used = rules.without_idle_variables(
        rules.prune(sum(theirs, ()), classes), read | rules.variables_read(ours, *scripts)
    )
    style = rules.write(used).replace("url(../", "url(") + ours
    (static / "site.css").write_text(style, encoding="utf8")
    link_anew(app, hashlib.sha256(style.encode()).hexdigest()[:8])


def link_anew(app: Sphinx, digest: str) -> None:
    for file, page in pages.texts(app).items():
        linked = pages.STYLE.sub(rf"\g<1>{digest}", page)
        if linked != page:
            Path(app.outdir, file).write_text(linked, encoding="utf8")


def parsed(app: Sphinx, files: list[Path]) -> list[rules.Tree]:
    """Styles as rules. Reading them takes seconds, and they seldom change: what was read is kept by content."""
    memory, reader = Path(app.doctreedir, "styles.pickle"), Path(rules.__file__)
    contents = [sources.digest([reader, version("tinycss2"), file]) for file in files]
    before = pickle.loads(kept.get(memory) or pickle.dumps({}))
    now = {
        content: before[content] if content in before else rules.parse(file.read_text(encoding="utf8"))
        for content, file in zip(contents, files, strict=True)
    }
    if now.keys() != before.keys():
        kept.put(memory, pickle.dumps(now))
    return [now[content] for content in contents]


def kept_scripts(static: Path) -> list[Path]:
    """Those that the site keeps; the theme's largest would have every class of Bootstrap stay."""
    scripts = [*static.rglob("*.js"), *static.rglob("*.mjs")]
    return sorted(file for file in scripts if file.stem not in ("bootstrap", "fontawesome"))


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", link_one, priority=Page.COMPLETE)
    app.connect("build-finished", pages.if_written(put_together), priority=Finished.STYLE)
