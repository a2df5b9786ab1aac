"""The pages of the site: whether a build wrote any, and what each of them names, looked up once for each content."""

import json
import posixpath
import re
from collections.abc import Callable, Iterable
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from surgeon_book import kept, sources
from surgeon_book.theme.rules import variables_read

CLASS = re.compile(r'\bclass="([^"]*)"')
ADDRESS = re.compile(r'(?:src|href|srcset|data-[\w-]+)="([^"#?]+)')
ELEMENT = re.compile(r"<([a-z]+(?:-[a-z]+)+)[\s>]")
STYLE = re.compile(r"(_static/site\.css\?v=)[0-9a-f]{8}")  # its hash is that of the style, not of the page


class Named(NamedTuple):
    """What a page names, each in the order of the alphabet."""

    classes: list[str]
    assets: list[str]  # files in _static and _images, from the site's root
    variables: list[str]  # of the style, that it reads
    elements: list[str]  # of its own making


def look_up(file: str, page: str) -> Named:
    classes = {name for value in CLASS.findall(page) for name in value.split()}
    folder = posixpath.dirname(file)
    named = {unquote(unescape(address)) for address in ADDRESS.findall(page)}
    addresses = {posixpath.normpath(posixpath.join(folder, address)) for address in named}
    assets = {address for address in addresses if address.startswith(("_static/", "_images/"))}
    found = (classes, assets, variables_read(page), set(ELEMENT.findall(page)))
    return Named(*map(sorted, found))


def texts(app: Sphinx) -> dict[str, str]:
    """Every page as it stands in the site."""
    out = Path(app.outdir)
    files = sorted(out.rglob("*.html"))
    return {file.relative_to(out).as_posix(): file.read_text(encoding="utf8") for file in files}


def known(app: Sphinx) -> dict[str, Named]:
    """What each page names. Once in a build, when pages are there; what earlier builds found is kept by content."""
    if "surgeon_known" not in app.__dict__:
        memory = Path(app.doctreedir, "known.json")
        before = json.loads(kept.get(memory) or "{}")
        now: dict[str, list[Any]] = {}
        for file, page in texts(app).items():
            content = sources.digest([app.config.surgeon_assets, file, STYLE.sub(r"\1", page)])
            of_old = before.get(file, [None])
            now[file] = of_old if of_old[0] == content else [content, *look_up(file, page)]
        if now != before:
            kept.put(memory, json.dumps(now).encode())
        app.__dict__["surgeon_known"] = {file: Named(*found) for file, (_, *found) in now.items()}
    return app.__dict__["surgeon_known"]


def remove(app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
    """A page that is gone is gone from the site, where Sphinx leaves it."""
    for page in removed:
        for file in (f"{page}.html", f"_sources/{page}.md", f"_sources/{page}.ipynb"):
            Path(app.outdir, file).unlink(missing_ok=True)
    return []


def note(app: Sphinx) -> Iterable[tuple]:
    app.__dict__["surgeon_written"] = True
    return ()


def if_written(finish: Callable[[Sphinx], None]) -> Callable[[Sphinx, Exception | None], None]:
    """For `build-finished`: a build that wrote no page leaves the site as it is, and so does one that fails."""

    def finished(app: Sphinx, problem: Exception | None) -> None:
        if problem is None and app.builder.format == "html" and app.__dict__.get("surgeon_written"):
            finish(app)

    return finished


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", remove)
    app.connect("html-collect-pages", note)  # when pages are written, whatever process wrote them
