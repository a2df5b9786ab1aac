"""Figures leave the page: an SVG that a cell embedded becomes a file beside the site's other images.

In JupyterLab a figure has to travel inside the page. On the site it would be read twice: by everyone who wants the
text alone, and again by everyone who comes back.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

from surgeon_book.nodes import rewrite_outputs
from surgeon_book.page.drawings import shorter

EMBEDDED = re.compile(r'<img\b(?P<before>[^>]*?)\bsrc="data:image/svg\+xml;base64,(?P<data>[^"]+)"')
PICTURE = re.compile(rb'(?<=href="data:image/png;base64,)\s*([^"]+)')


def keep(app: Sphinx, docname: str, content: bytes, suffix: str) -> str:
    """Put what a page embedded into a file named by its hash, and return the file's address from the page."""
    name = f"{hashlib.sha256(content).hexdigest()[:20]}.{suffix}"
    folder = Path(app.outdir, app.builder.imagedir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return relative_uri(app.builder.get_target_uri(docname), f"{app.builder.imagedir}/{name}")


def lighter(svg: bytes) -> bytes:
    """A figure in fewer bytes, whose pictures, heatmaps above all, have lost the alpha that Matplotlib writes and none
    of them uses."""

    def without_alpha(picture: re.Match) -> bytes:
        with Image.open(BytesIO(b64decode(picture[1]))) as image:
            if image.mode != "RGBA" or image.getextrema()[3] != (255, 255):
                return picture[0]
            file = BytesIO()
            image.convert("RGB").save(file, "PNG", optimize=True)
        return b64encode(file.getvalue())

    return PICTURE.sub(without_alpha, shorter(svg))


def extract(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Runs each time that a page is written, so that a site which was removed comes back whole."""
    if app.builder.format != "html":
        return

    def move(image: re.Match) -> str:
        source = keep(app, docname, lighter(b64decode(image["data"])), "svg")
        return f'<img{image["before"]}loading="lazy" decoding="async" src="{source}"'

    rewrite_outputs(doctree, EMBEDDED, move)


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", extract)
