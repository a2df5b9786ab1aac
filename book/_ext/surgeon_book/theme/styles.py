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

from surgeon_book.theme import icons

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

TOKEN = re.compile(r"""/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^)"']*\)|[{};]|[^{};"'/u]+|.""", re.DOTALL)
COMMAS = re.compile(r",(?![^(]*\))")
ANYTHING = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
CLASS = re.compile(r"\.(-?(?:[A-Za-z_]|\\.)(?:[\w-]|\\.)*)")
# Font Awesome's own rules, and what the theme draws with its fonts; theme.css and icons.py draw what is needed.
AWESOME = re.compile(r"\.fa[bsr]?\b|\.fa-|keyframes fa-|Font Awesome")
DRAWN_WITH_A_FONT = re.compile(r"Font Awesome|--fa-|--pst-icon-|content:\s*\"\\f[0-9a-f]{3}\"")

Tree = list["str | tuple[str, Tree]"]


def parse(text: str) -> Tree:
    """Declarations and statements as text; blocks as what stands before them and what is in them."""
    blocks: list[Tree] = [[]]
    heads: list[str] = []
    said: list[str] = []

    def take() -> str:
        taken = "".join(said).strip()
        said.clear()
        return taken

    for token in TOKEN.findall(text):
        if token == "{":
            heads.append(take())
            blocks.append([])
        elif token in ";}":
            if statement := take():
                blocks[-1].append(statement)
            if token == "}":
                block = blocks.pop()
                blocks[-1].append((heads.pop(), block))
        elif not token.startswith("/*"):
            said.append(token if token[0] in "\"'" or token.startswith("url(") else re.sub(r"\s+", " ", token))
    return blocks[0]


def write(tree: Tree) -> str:
    return "".join(f"{item};" if isinstance(item, str) else f"{item[0]}{{{write(item[1])}}}" for item in tree)


def used(selector: str, classes: set[str]) -> bool:
    """Whether a page has every class that a selector asks for; what it does not ask for outright is no reason."""
    asked = CLASS.findall(ANYTHING.sub("", selector))
    return all(re.sub(r"\\(.)", r"\1", name) in classes for name in asked)


def prune(tree: Tree, classes: set[str]) -> Tree:
    kept: Tree = []
    for item in tree:
        if isinstance(item, str):
            if not DRAWN_WITH_A_FONT.search(item):
                kept.append(item)
            continue
        head, block = item
        if head.startswith("@font-face") or head.startswith("@keyframes"):
            kept += [] if AWESOME.search(head + write(block).replace("\\", "")) else [item]
            continue
        if not head.startswith("@"):
            head = ",".join(part for part in COMMAS.split(head) if used(part, classes) and not AWESOME.search(part))
        block = prune(block, classes)
        if head and block:
            kept.append((head, block))
    return kept


VARIABLE = re.compile(r"(?<=[{;])\s*(--[\w-]+):(?:\"[^\"]*\"|[^;{}\"])*;")


def without_idle_variables(text: str, elsewhere: str) -> str:
    """Without variables that nothing reads, and then without those that only they read."""
    read = set(re.findall(r"--[\w-]+(?=\s*[,)])", text + elsewhere))
    shorter = VARIABLE.sub(lambda match: match[0] if match[1] in read else "", text)
    return text if shorter == text else without_idle_variables(shorter, elsewhere)


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
    rules = "".join(write(prune(parse(found[0].read_text(encoding="utf8")), classes)) for found in files)
    own = icons.style(classes_in(pages.values(), [])) + write(parse(THEME.read_text(encoding="utf8")))
    own += write(parse((static / OWN).read_text(encoding="utf8")))
    style = without_idle_variables(rules.replace("url(../", "url("), own + scripts + "".join(pages.values())) + own
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
    app.connect("html-page-context", link_one, priority=900)  # after those who add theirs
    app.connect("build-finished", put_together, priority=800)  # after the theme has written its own pygments.css
