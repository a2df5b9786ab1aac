"""What <head-explorer> needs on the site: its numbers as a file beside the images, its script and style on its page."""

import re
from base64 import b64decode
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.page.figures import keep

TAG = "<head-explorer "
EMBEDDED = re.compile(rf'(?P<before>{TAG}[^>]*?\bsrc=")data:application/json;base64,(?P<data>[^"]+)"')


def extract(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """As figures do, and as late: what stands in the site is what the page's own run gave."""
    if app.builder.format != "html":
        return

    def move(element: re.Match) -> str:
        return f'{element["before"]}{keep(app, docname, b64decode(element["data"]), "json")}"'

    for output in list(doctree.findall(nodes.raw)):
        if output["format"] == "html" and EMBEDDED.search(output.astext()):
            output.replace_self(nodes.raw("", EMBEDDED.sub(move, output.astext()), **output.attributes))


def bring(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is not None and any(TAG in output.astext() for output in doctree.findall(nodes.raw)):
        app.add_js_file("head-explorer/head-explorer.mjs", type="module")
        app.add_css_file("head-explorer/head-explorer.css")


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", extract)
    app.connect("html-page-context", bring)
