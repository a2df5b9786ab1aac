"""How the book was built: how long each page ran, with which versions, on what."""

import os
import platform
from importlib.metadata import version

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx

from surgeon_book.nodes import Later, fill_later, in_order, link, table

PACKAGES = ("torch", "numpy", "pandas", "matplotlib", "jupyter-book", "sphinx", "myst-nb")


def times(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """`{build-times}`: seconds that each page ran, its kernel's start included, and their sum."""
    runs = {page: NbMetadataCollector.get_exec_data(app.env, page) for page in in_order(app.env)}
    seconds = {page: run["runtime"] for page, run in runs.items() if run and run["runtime"] is not None}
    titles = app.env.titles
    rows = [[link(app, docname, page, nodes.Text(titles[page].astext())), f"{t:.1f}"] for page, t in seconds.items()]
    rows.append([nodes.strong("", "all pages"), f"{sum(seconds.values()):.1f}"])
    return [table(("Page", "Seconds"), rows, (75, 25), "build-times")]


def machine(app: Sphinx, docname: str, place: Later) -> list[nodes.Node]:
    """`{build-machine}`: versions of what makes the numbers and the pages, and the kind of machine, as they are now."""
    rows = [["Python", platform.python_version()], *([name, version(name)] for name in PACKAGES)]
    rows.append(["machine", f"{platform.system()} on {platform.machine()}, {_cores()} cores"])
    return [table(("What", "Which"), rows, (40, 60), "build-machine")]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setup(app: Sphinx) -> None:
    fill_later(app, "build-times", times)
    fill_later(app, "build-machine", machine)
