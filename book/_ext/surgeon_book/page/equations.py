"""Equations are typeset when the book is built: KaTeX, from book/_vendor, in a JavaScript engine of this process.

A page holds each equation twice, as HTML for the eye and as MathML for whatever reads it aloud, and needs no script for
either. What KaTeX cannot read is a warning that names the file and the line, which ends a strict build.
"""

import hashlib
import json
import re
import shutil
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils import get_source_line
from py_mini_racer import MiniRacer
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from surgeon_book.checkout import ROOT
from surgeon_book.site import pages

KATEX = ROOT / "book" / "_vendor" / "katex"
OPTIONS = {"output": "htmlAndMathml", "throwOnError": True, "strict": "error"}
# These number themselves in KaTeX; here Sphinx gives the numbers, and to labelled equations alone.
NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|alignat|gather|CD)\}")
# What stands on a page that needs a font from the start, so that nothing moves when it comes.
FONTS = {"KaTeX_Main-Regular": 'class="katex"', "KaTeX_Math-Italic": "mathnormal"}
FACE = re.compile(r"@font-face\{[^}]*url\(fonts/KaTeX_([\w-]+)\.woff2\)[^}]*\}")
INNER = re.compile(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)  # the lines of a matrix are its own
IN_TEXT = re.compile(r"\$([^$]+)\$")

logger = logging.getLogger(__name__)


class EquationError(ValueError):
    """What KaTeX says of an equation that it cannot read."""


@cache
def engine() -> MiniRacer:
    """One V8 with KaTeX in it; it takes a fifth of a second to start."""
    racer = MiniRacer()
    racer.eval((KATEX / "katex.min.js").read_text(encoding="utf8"))
    racer.eval(
        "function typeset(tex, options) {"
        " try { return '+' + katex.renderToString(tex, options) }"
        " catch (problem) { return '-' + problem.message } }"
    )
    return racer


@cache
def typeset(tex: str, display: bool) -> str:
    answer = engine().eval(f"typeset({json.dumps(tex)}, {json.dumps({**OPTIONS, 'displayMode': display})})")
    if answer[0] == "-":
        raise EquationError(answer[1:].removeprefix("KaTeX parse error: "))
    return answer[1:]


def displayed(tex: str, whole: bool) -> str:
    """A displayed equation as one environment, by Sphinx's rules: blank lines part it, a double backslash that is not
    a matrix's own starts a line."""
    if whole:
        return NUMBERED.sub(r"\\\1{\2*}", tex)
    parts = [part.strip() for part in tex.split("\n\n") if part.strip()]
    parts = [rf"\begin{{split}}{part}\end{{split}}" if r"\\" in INNER.sub("", part) else part for part in parts]
    return parts[0] if len(parts) == 1 else r"\begin{aligned}" + r"\\".join(parts) + r"\end{aligned}"


def typeset_or_warn(node: nodes.Element, tex: str, display: bool) -> str:
    try:
        return typeset(tex, display)
    except EquationError as problem:
        logger.warning("KaTeX cannot read this equation: %s", problem, location=place(node), type="equations")
        return f"<code>{escape(node.astext())}</code>"


def place(node: nodes.Element) -> str | nodes.Element:
    """Where an equation stands. Its node knows where its paragraph starts; the line is found in the file."""
    source, line = get_source_line(node)
    file = Path(source or "")
    first = node.astext().strip().split("\n")[0]
    if line and first and file.is_file():
        lines = file.read_text(encoding="utf8").splitlines()
        return (
            f"{source}:{next((number for number in range(line, len(lines) + 1) if first in lines[number - 1]), line)}"
        )
    return node


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(typeset_or_warn(node, node.astext(), False) + "</span>")
    raise nodes.SkipNode


def visit_displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"] and not node["nowrap"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(typeset_or_warn(node, displayed(node.astext(), node["nowrap"]), True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def typeset_sources(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Titles in the list of sources hold equations as TeX does, between dollars."""
    for source in list(doctree.findall(nodes.citation)):
        for text in list(source.findall(nodes.Text)):
            pieces = IN_TEXT.split(text)
            if len(pieces) > 1:
                text.parent.replace(
                    text, [nodes.math("", piece) if n % 2 else nodes.Text(piece) for n, piece in enumerate(pieces)]
                )


@cache
def style() -> str:
    """KaTeX's style, without the forms of its fonts that only old browsers ask for, and with the small fonts.

    A font that is declared once more, for some characters alone, is all that a page without other characters loads.
    """
    text = (KATEX / "katex.min.css").read_text(encoding="utf8")
    whole = re.sub(r",url\([^)]*\.(woff|ttf)\) format\([^)]*\)", "", text)
    return FACE.sub(lambda face: face[0] + small(face), whole)


def small(face: re.Match[str]) -> str:
    if face[1] not in often():
        return ""
    return face[0].replace("fonts/", "fonts/often/").replace("}", f";unicode-range:{often()[face[1]]}}}")


@cache
def often() -> dict[str, str]:
    """Fonts of which there is a small one, and the characters in it."""
    lines = (KATEX / "fonts" / "often" / "ranges.txt").read_text(encoding="utf8").splitlines()
    return dict(line.split() for line in lines)


def link_style(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """The style, and the fonts that are needed first, on pages that have equations."""
    body = context.get("body", "")
    if 'class="katex' not in body:
        return
    folder = context["pathto"]("_static/katex", 1)
    digest = hashlib.sha256(style().encode()).hexdigest()[:8]
    fonts = [font for font, sign in FONTS.items() if sign in body]
    links = [f'<link rel="stylesheet" href="{folder}/katex.min.css?v={digest}" />'] + [
        f'<link rel="preload" href="{folder}/fonts/often/{font}.woff2" as="font" type="font/woff2" crossorigin />'
        for font in fonts
    ]
    context["metatags"] = context.get("metatags", "") + "".join(f"\n    {link}" for link in links)


def copy_style(app: Sphinx) -> None:
    folder = Path(app.outdir, "_static", "katex")
    shutil.copytree(KATEX / "fonts", folder / "fonts", ignore=shutil.ignore_patterns("*.txt"), dirs_exist_ok=True)
    (folder / "katex.min.css").write_text(style(), encoding="utf8")
    shutil.copy(KATEX / "LICENSE", folder)


def keep_to_the_build(app: Sphinx, config: Config) -> None:
    """Of what is vendored, html_extra_path has all copied to the site; of KaTeX, `copy_style` copies what it needs."""
    config.exclude_patterns = [*config.exclude_patterns, "katex/**"]


def setup(app: Sphinx) -> None:
    app.connect("config-inited", keep_to_the_build)
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_displayed, None))
    app.connect("doctree-resolved", typeset_sources)
    app.connect("html-page-context", link_style)
    app.connect("build-finished", pages.if_written(copy_style))
