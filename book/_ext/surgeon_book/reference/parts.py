"""What of others' making comes with the site: versions and licences, as their own files state them."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pydata_sphinx_theme
import sphinx_copybutton
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from surgeon_book.checkout import ROOT
from surgeon_book.nodes import table

PACKAGES = {
    "sphinx-book-theme": "the theme: its style and script",
    "pydata-sphinx-theme": "what that theme is built on",
    "sphinx": "the stemmer of the search",
    "sphinx-design": "style of the folded predictions, and the icons, which are GitHub's Octicons",
    "sphinx-copybutton": "the button that copies a cell",
}
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/styles/pydata-sphinx-theme.css"
CLIPBOARD = Path(sphinx_copybutton.__file__).parent / "_static" / "clipboard.min.js"
FOR = {
    "katex": "equations: their style and fonts",
    "minisearch": "the search",
    "source-serif-4": "the face of the text",
}


def found(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.read_text(encoding="utf8"))
    if not match:
        raise ExtensionError(f"{file.name} no longer says what the colophon quotes from it ({pattern}).")
    return match[1]


def licence(package: str) -> str:
    stated = metadata(package)
    classifiers = [line for line in stated.get_all("Classifier") or [] if line.startswith("License ::")]
    return stated.get("License-Expression") or classifiers[0].rpartition(" :: ")[2].removesuffix(" License")


def rows() -> list[list[str]]:
    listed = []
    for readme in sorted((ROOT / "book" / "_vendor").glob("*/README.md")):
        name, version = found(r"# (.+?)(?: \d+\.[\d.]+)?\n", readme), found(r"npm pack \S+@([\d.]+\d)", readme)
        terms = found(r"Licence: ([^,.]+(?:\.\d)?)", readme).removesuffix(" for all of it")
        listed.append([name, version, terms, FOR.get(readme.parent.name, "")])
    listed += [[name, metadata(name)["Version"], licence(name), use] for name, use in PACKAGES.items()]
    listed.append(["Bootstrap", found(r"Bootstrap +v([\d.]+)", THEME), "MIT", "a part of the theme's style"])
    listed.append(["clipboard.js", found(r"clipboard\.js v([\d.]+)", CLIPBOARD), "MIT", "a part of that button"])
    return listed


class PartsDirective(SphinxDirective):
    """`{site-parts}`: what comes with the site, its version, its licence and its use."""

    def run(self) -> list[nodes.Node]:
        return [table(("What", "Version", "Licence", "For"), rows(), (25, 12, 23, 40), "site-parts")]


def setup(app: Sphinx) -> None:
    app.add_directive("site-parts", PartsDirective)
