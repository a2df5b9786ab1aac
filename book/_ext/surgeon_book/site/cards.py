"""Pictures that go where the book is mentioned: a card for each page, and the icon of a bookmark on a phone.

They are drawn by Matplotlib from the mark and the style sheet's colours. A card's name holds a hash of all that is on
it, so that a build draws only what has changed. (sphinxext-opengraph imports pyplot in every build, and lays cards out
its own way, without the question.)
"""

import re
import shutil
import textwrap
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sphinx.application import Sphinx

from surgeon_book import sources
from surgeon_book.checkout import ROOT
from surgeon_book.page.openings import Openings
from surgeon_book.site import pages

WIDTH, HEIGHT, DPI = 1200, 630, 100
PNG_END = b"IEND\xaeB`\x82"  # the last chunk of every PNG, and its checksum
FOLDER, ICON = "cards", "_static/touch-icon.png"
STATIC = ROOT / "book" / "_static"


@cache
def colours() -> dict[str, str]:
    """The palette, as the style sheet has it."""
    return dict(re.findall(r"--surgeon-(\w+): (#[0-9a-f]{6});", (STATIC / "surgeon.css").read_text(encoding="utf8")))


@cache
def looks() -> str:
    """All that cards have in common."""
    files = (STATIC / "mark.svg", STATIC / "surgeon.css", Path(__file__))
    return sources.digest([*files, *map(version, sources.DRAWN_WITH)])


def words(app: Sphinx, page: str) -> tuple[str, str]:
    return app.env.titles[page].astext(), Openings.of(app.env)[page].question


def path(app: Sphinx, page: str) -> str:
    return f"{FOLDER}/{sources.digest([looks(), app.config.html_title, *words(app, page)])[:16]}.png"


def draw_mark(ax: Any, x: float, y: float, side: float) -> None:
    """The mark of mark.svg, whose shapes are squares with round corners and polygons in a field of 16 by 16."""
    from matplotlib.patches import FancyBboxPatch, Polygon

    unit = side / 16

    def visit(node: ElementTree.Element, fill: str) -> None:
        fill, get = node.get("fill", fill), lambda name: float(node.get(name, 0))
        look = {"facecolor": fill, "linewidth": 0}
        if node.tag.endswith("rect"):
            r = get("rx") * unit
            corner = (x + get("x") * unit + r, y + get("y") * unit + r)
            size = get("width") * unit - 2 * r, get("height") * unit - 2 * r
            ax.add_patch(FancyBboxPatch(corner, *size, boxstyle=f"round,pad={r},rounding_size={r}", **look))
        elif node.tag.endswith("polygon"):
            points = [tuple(map(float, point.split(","))) for point in node.get("points", "").split()]
            ax.add_patch(Polygon([(x + a * unit, y + b * unit) for a, b in points], **look))
        for child in node:
            visit(child, fill)

    visit(ElementTree.parse(STATIC / "mark.svg").getroot(), "black")


def canvas(width: int, height: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=colours()["paper"])
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    return figure, ax


def save(figure: Any, file: Path) -> None:
    """Few colours are enough, and make a small file."""
    from numpy import asarray
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(asarray(figure.canvas.buffer_rgba())).convert("RGB")
    file.parent.mkdir(parents=True, exist_ok=True)
    # Other ways to choose colours, and to pack, take four times as long, for files smaller by a fifteenth.
    image.quantize(64, Image.Quantize.FASTOCTREE).save(file)


def draw_card(book: str, title: str, question: str, file: Path) -> None:
    figure, ax = canvas(WIDTH, HEIGHT)
    ink, grey, cut = (colours()[name] for name in ("ink", "grey", "vermilion"))
    look: dict[str, Any] = {"va": "top", "family": "DejaVu Serif", "parse_math": False}
    draw_mark(ax, 830, 250, 300)
    ax.text(80, 76, "" if title == book else book, fontsize=20, color=grey, **look)
    lines = textwrap.wrap(title, 26)[:2]
    ax.text(80, 150, "\n".join(lines), fontsize=46, color=ink, linespacing=1.15, **look)
    below = 168 + 84 * len(lines)
    ax.fill_between([80, 170], below, below + 6, color=cut, linewidth=0)
    asked = "\n".join(textwrap.wrap(question, 36)[:5])
    ax.text(80, below + 46, asked, fontsize=25, color=ink, style="italic", linespacing=1.35, **look)
    save(figure, file)


def draw_icon(file: Path) -> None:
    figure, ax = canvas(180, 180)
    draw_mark(ax, 22, 22, 136)
    save(figure, file)


def icon(app: Sphinx) -> Path:
    """Drawn by the first build. Who draws it before others draw cards, has imported what draws for them as well."""
    file = Path(app.doctreedir, "icons", f"{sources.digest([looks()])}.png")
    if not is_whole(file):
        shutil.rmtree(file.parent, ignore_errors=True)
        draw_icon(file)
    return file


def finish(app: Sphinx) -> None:
    shutil.copyfile(icon(app), Path(app.outdir, ICON))
    every = sorted(Openings.of(app.env)) if app.config.html_baseurl else []
    wanted = {path(app, page) for page in every}
    for old in Path(app.outdir, FOLDER).glob("*.png"):
        if f"{FOLDER}/{old.name}" not in wanted:
            old.unlink()
    draw_missing(app, every)


def draw_missing(app: Sphinx, pages: Iterable[str]) -> None:
    """The cards of pages that have none yet; a book that is written by several processes draws some in each."""
    for page in pages if app.config.html_baseurl else ():
        file = Path(app.outdir, path(app, page))
        if not is_whole(file):
            draw_card(app.config.html_title, *words(app, page), file)


def is_whole(file: Path) -> bool:
    """Whether a picture is there, to its end: a build that was killed may have left half of one."""
    return file.exists() and file.read_bytes().endswith(PNG_END)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", pages.if_written(finish))
