"""One style for the site: what the theme and the extensions bring, less the rules that no page has a use for.

It is put together when the pages are there, since it depends on the classes that stand in them. Styles of the book's
own pages, such as those of a custom element, keep their own link.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from surgeon_book.order import Finished, Page
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
LINK = re.compile(r"(_static/site\.css\?v=)[0-9a-f]{8}")


def classes_in(pages: Iterable[str], scripts: Iterable[str]) -> set[str]:
    """Every class that stands in a page, and every word in a script, which may set it."""
    found = {name for page in pages for value in re.findall(r'\bclass="([^"]*)"', page) for name in value.split()}
    return found | {word for script in scripts for word in re.findall(r"[A-Za-z_][\w-]*", script)}


def link_one(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Sphinx keeps each style as an object with a file's name; the theme's layout links site.css."""
    patterns = [re.compile(re.escape(part).replace(r"\*", "[0-9a-f]*")) for part in (*PARTS, *LEFT_OUT, OWN)]
    names = {sheet: str(sheet.filename).removeprefix("_static/") for sheet in context["css_files"]}
    context["css_files"] = [sheet for sheet, name in names.items() if not any(p.fullmatch(name) for p in patterns)]


def put_together(app: Sphinx, problem: Exception | None) -> None:
    static = Path(app.outdir, "_static")
    if app.builder.format != "html" or problem or not (static / PARTS[1]).exists():
        return  # without the theme's files nothing was written, and the site is as it was
    files = [[*static.glob(part)] for part in PARTS]
    missing = [part for part, found in zip(PARTS, files, strict=True) if len(found) != 1]
    if missing:
        raise ExtensionError(f"The site's style needs each of these once: {', '.join(missing)}.")
    pages = {file: file.read_text(encoding="utf8") for file in sorted(Path(app.outdir).rglob("*.html"))}
    scripts = "\n".join(
        file.read_text(encoding="utf8") for pattern in ("*.js", "*.mjs") for file in kept(static, pattern)
    )
    classes = classes_in(pages.values(), [scripts])
    trees = [rules.parse(found[0].read_text(encoding="utf8")) for found in files]
    own = icons.style(classes_in(pages.values(), []))
    own += "".join(rules.write(rules.parse(file.read_text(encoding="utf8"))) for file in (THEME, static / OWN))
    theirs = rules.prune(sum(trees, ()), classes)
    theirs = rules.without_idle_variables(theirs, rules.variables_read(own, scripts, *pages.values()))
    style = rules.write(theirs).replace("url(../", "url(") + own
    (static / "site.css").write_text(style, encoding="utf8")
    digest = hashlib.sha256(style.encode()).hexdigest()[:8]
    for file, page in pages.items():
        linked = LINK.sub(rf"\g<1>{digest}", page)
        if linked != page:
            file.write_text(linked, encoding="utf8")


def kept(static: Path, pattern: str) -> list[Path]:
    """Scripts that the site keeps; the theme's largest would have every class of Bootstrap stay."""
    return sorted(file for file in static.rglob(pattern) if file.stem not in ("bootstrap", "fontawesome"))


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", link_one, priority=Page.COMPLETE)
    app.connect("build-finished", put_together, priority=Finished.STYLE)
