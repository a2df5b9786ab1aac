"""Custom elements: a page that has one brings its script and its style, and what a cell embedded for it becomes a file.

What draws <head-explorer> is in a folder and in files of that name, in the package, since notebooks have it too; and so
with every other, or in book/_static.
"""

import re
from base64 import b64decode
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.checkout import ROOT
from surgeon_book.nodes import rewrite_outputs
from surgeon_book.page.figures import keep

FOLDERS = [ROOT / "book" / "_static", ROOT / "surgeon" / "instruments" / "static"]
SCRIPTS = sorted(script for folder in FOLDERS for script in folder.glob("*/*.mjs"))
ELEMENTS = [script.stem for script in SCRIPTS if script.stem == script.parent.name]
# An instrument that stands far down a page, and as a figure until it is there: page.js asks for it when a reader comes
# near.
WHEN_NEAR = {"operating-table"}
EMBEDDED = re.compile(
    rf'(?P<before><(?:{"|".join(ELEMENTS)}) [^>]*?\bsrc=")data:application/json;base64,(?P<data>[^"]+)"'
)


def standing_in(html: str) -> list[str]:
    return [element for element in ELEMENTS if f"<{element} " in html]


def extract(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """As figures do, and as late: what stands in the site is what the page's own run gave."""
    if app.builder.format != "html":
        return

    def move(element: re.Match) -> str:
        return f'{element["before"]}{keep(app, docname, b64decode(element["data"]), "json")}"'

    rewrite_outputs(doctree, EMBEDDED, move)


def bring(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    outputs = doctree.findall(nodes.raw) if doctree is not None else ()
    for element in sorted({element for output in outputs for element in standing_in(output.astext())}):
        kind = "module/when-near" if element in WHEN_NEAR else "module"
        app.add_js_file(f"{element}/{element}.mjs", type=kind)
        app.add_css_file(f"{element}/{element}.css")


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", extract)
    app.connect("html-page-context", bring)
