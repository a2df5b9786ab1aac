"""The site without what it has no use for: scripts that a page can do without, files that no page asks for.

The theme's layout is overruled by theme/templates/layout.html. Both know what the theme asks for; should another
release of it ask for something else, the build ends here and says so.
"""

import os
import re
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset
from sphinx.util.matching import Matcher
from sphinx.writers.html5 import HTML5Translator
from sphinx_exercise.nodes import solution_node

from surgeon_book.order import Configured, Finished, Page
from surgeon_book.page import elements
from surgeon_book.site import pages

THEME = Path(__file__).parent
LAYOUT = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
# What the theme's layout asks for by itself; of it the site keeps the two styles, in site.css, and the theme's script.
ASKED = {
    "_static/styles/theme.css",
    "_static/styles/pydata-sphinx-theme.css",
    "_static/scripts/fontawesome.js",
    "_static/scripts/bootstrap.js",
    "_static/scripts/pydata-sphinx-theme.js",
    "_static/searchtools.js",
    "_static/language_data.js",
    "searchindex.js",
}
THEME_SCRIPT = "scripts/pydata-sphinx-theme.js"
# Not needed at all: the book's search has its own, and solutions fold by themselves.
NEVER = ("documentation_options.js", "doctools.js", "sphinx_highlight.js", "togglebutton.js")
# Of what the themes bring, what no page can ask for: some hundred folders that `remove_unused` would remove again.
NOT_COPIED = ["**/.*", "**/locales", "**/vendor", "**/fontawesome.js", "**/bootstrap.js", "**.map", "**.txt"]
# Needed where the page has what they work on.
ONLY_WITH = {
    "clipboard.min.js": 'class="highlight',
    "copybutton.js": 'class="highlight',
    "design-tabs.js": "sd-tab-set",
}
KEPT_FOR_ALL = ("scripts/sphinx-book-theme.js", "page.js")
# Pieces of code that have no ink of their own: names, operators, brackets. They are most of what is marked in code.
CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)
INKLESS = re.compile(r'<span class="(?:n|nb|ne|nn|bp|o|p|w)">([^<]*)</span>')


def check_theme(app: Sphinx, config: Config) -> None:
    layout = "".join(
        (LAYOUT / name).read_text(encoding="utf8") for name in ("layout.html", "static/webpack-macros.html")
    )
    asked = set(re.findall(r"pathto\('([^']+\.(?:js|css))', 1\)", layout))
    if asked != ASKED:
        raise ExtensionError(f"The theme asks for other files than slim.py knows: {', '.join(sorted(asked ^ ASKED))}.")
    ours = os.path.relpath(THEME, app.confdir)  # the site is the same wherever it is built
    config.templates_path = [f"{ours}/templates", *config.templates_path]
    config.html_static_path = [*config.html_static_path, f"{ours}/static"]
    config.html_theme_options = {"primary_sidebar_end": [], **config.html_theme_options}  # a place for advertisements


def copy_less(app: Sphinx) -> None:
    """In place of Sphinx's own loop over the folders of the themes."""
    builder = app.builder

    def copy(context: dict[str, Any]) -> None:
        for folder in reversed(builder.theme.get_theme_dirs()):
            copy_asset(
                Path(folder, "static"),
                Path(app.outdir, "_static"),
                excluded=Matcher(NOT_COPIED),
                context=context,
                renderer=builder.templates,
            )

    if isinstance(builder, StandaloneHTMLBuilder):
        builder.copy_theme_static_files = copy  # type: ignore[method-assign]


def choose_scripts(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Every script once, deferred; those that are not known here stay as they are."""
    scripts = {str(script.filename or "").removeprefix("_static/"): script for script in context["script_files"]}
    known = {*NEVER, *ONLY_WITH, KEPT_FOR_ALL[0]}
    if missing := known - set(scripts):
        raise ExtensionError(f"These scripts are no longer there, see slim.py: {', '.join(sorted(missing))}.")
    body = context.get("body", "")
    chosen = []
    for name, script in scripts.items():
        if name in NEVER or not name:  # without a name: settings of theirs
            continue
        if name in ONLY_WITH and ONLY_WITH[name] not in body:
            continue
        if name in ONLY_WITH or name in KEPT_FOR_ALL:
            script.attributes["defer"] = "defer"
        chosen.append(script)
    context["script_files"] = chosen


def unmark_code(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = CODE.sub(lambda code: INKLESS.sub(r"\1", code[0]), context["body"])


def add_scripts(app: Sphinx) -> None:
    app.add_js_file(THEME_SCRIPT, defer="defer")
    app.add_js_file("page.js", defer="defer")


def visit_solution(self: HTML5Translator, node: nodes.Element) -> None:
    """A solution folds without a script. Its title is the first of its children."""
    title, *_ = node.children
    for link in list(title.findall(nodes.reference)):  # a click on a title opens it, and goes nowhere
        link.replace_self(link.children)
    self.body.append(self.starttag(node, "div", CLASS="admonition"))
    self.body.append('<details><summary><p class="admonition-title">')
    for child in title.children:
        child.walkabout(self)
    self.body.append("</p></summary>\n")
    node.remove(title)


def depart_solution(self: HTML5Translator, node: nodes.Element) -> None:
    self.body.append("</details></div>\n")


def remove_unused(app: Sphinx) -> None:
    """Files of Sphinx, of the theme and of extensions that no page, style or script of the site names, and figures that
    pages had before they ran again."""
    static = Path(app.outdir, "_static")
    named = {static.parent / asset for known in pages.known(app).values() for asset in known.assets}
    for style in [static / "site.css", *static.glob("katex/*.css")]:
        for address in re.findall(r"url\([\"']?([^\"'()]+)", style.read_text(encoding="utf8")):
            named.add(Path(os.path.normpath(style.parent / address)))
    for own in (*elements.FOLDERS, THEME / "static"):  # a module may ask for others
        named |= {static / file.relative_to(own) for file in own.rglob("*") if file.parent != own}
    files = [*static.rglob("*"), *Path(app.outdir, app.builder.imagedir).rglob("*")]
    for file in [file for file in files if file.is_file() and file.name != "LICENSE"]:
        if file not in named:
            file.unlink()
    for folder in sorted((folder for folder in static.rglob("*") if folder.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def setup(app: Sphinx) -> None:
    app.add_node(solution_node, override=True, html=(visit_solution, depart_solution))
    app.connect("config-inited", check_theme, priority=Configured.THEME_IS_KNOWN)
    app.connect("builder-inited", add_scripts)
    app.connect("builder-inited", copy_less)
    app.connect("html-page-context", choose_scripts, priority=Page.COMPLETE)
    app.connect("html-page-context", unmark_code, priority=Page.COMPLETE)
    app.connect("build-finished", pages.if_written(remove_unused), priority=Finished.UNUSED_IS_GONE)
