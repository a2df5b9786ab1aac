"""How the book was built: how long each page ran, with which versions, on what."""

import os
import platform
from importlib.metadata import version

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from surgeon_book.nodes import in_order, link, table

PACKAGES = ("torch", "numpy", "pandas", "matplotlib", "jupyter-book", "sphinx", "myst-nb")


class Times(nodes.General, nodes.Element):
    """Stands where the table of times will be, until every page has run."""


class TimesDirective(SphinxDirective):
    """`{build-times}`: seconds that each page ran, its kernel's start included, and their sum."""

    def run(self) -> list[nodes.Node]:
        return [Times()]


class Machine(nodes.General, nodes.Element):
    """Stands where the machine and the versions will be; they are those of the latest build."""


class MachineDirective(SphinxDirective):
    """`{build-machine}`: versions of what makes the numbers and the pages, and the kind of machine."""

    def run(self) -> list[nodes.Node]:
        return [Machine()]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for placeholder in list(doctree.findall(Times)):
        runs = {page: NbMetadataCollector.get_exec_data(app.env, page) for page in in_order(app.env)}
        seconds = {page: run["runtime"] for page, run in runs.items() if run and run["runtime"] is not None}
        titles = app.env.titles
        rows = [
            [link(app, docname, page, nodes.Text(titles[page].astext())), f"{t:.1f}"] for page, t in seconds.items()
        ]
        rows.append([nodes.strong("", "all pages"), f"{sum(seconds.values()):.1f}"])
        placeholder.replace_self(table(("Page", "Seconds"), rows, (75, 25), "build-times"))
    for placeholder in list(doctree.findall(Machine)):
        rows = [[name, version(name)] for name in PACKAGES]
        rows.insert(0, ["Python", platform.python_version()])
        rows.append(["machine", f"{platform.system()} on {platform.machine()}, {_cores()} cores"])
        placeholder.replace_self(table(("What", "Which"), rows, (40, 60), "build-machine"))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setup(app: Sphinx) -> None:
    app.add_node(Times)
    app.add_node(Machine)
    app.add_directive("build-times", TimesDirective)
    app.add_directive("build-machine", MachineDirective)
    app.connect("doctree-resolved", fill)
