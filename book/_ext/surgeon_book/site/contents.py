"""The contents beside each page, which name pages alone: what stands in these is not copied for each of them.

Sphinx copies every heading of the book and every name of the reference for each page, and then leaves out all but the
titles.
"""

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class Titles(dict[str, nodes.bullet_list]):
    """Page -> what Sphinx keeps of its headings where only titles are asked for, found when it is first asked."""

    def __init__(self, env: BuildEnvironment) -> None:
        super().__init__()
        self.whole = env.tocs

    def __missing__(self, page: str) -> nodes.bullet_list:
        self[page] = title_of(self.whole[page])
        return self[page]


def title_of(headings: nodes.bullet_list) -> nodes.bullet_list:
    """The title, and the pages that are listed below it, as Sphinx's `_entries_from_toctree` has them."""
    kept = headings.deepcopy()
    for top in kept.children:
        if isinstance(top, nodes.Element) and len(top) > 1:
            if below := list(top.findall(addnodes.toctree)):
                top[1][:] = below
            else:
                top.pop(1)
    return kept


def begin(app: Sphinx) -> None:
    builder: Any = app.builder
    if builder.format != "html":
        return
    whole = builder._get_local_toctree
    kept: list[Titles] = []

    def contents(page: str, collapse: bool = True, **options: Any) -> str:
        env = builder.env
        if not options.get("titles_only"):
            return whole(page, collapse=collapse, **options)
        tocs = env.tocs
        if not kept or kept[0].whole is not tocs:
            kept[:] = [Titles(env)]
        env.tocs = kept[0]
        try:
            return whole(page, collapse=collapse, **options)
        finally:
            env.tocs = tocs

    builder._get_local_toctree = contents


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", begin)
