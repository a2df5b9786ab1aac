"""The contents beside each page are Sphinx's own, found with less copying."""

import sys
from collections import defaultdict
from types import SimpleNamespace

import pytest
from docutils import nodes
from small_book import ROOT
from sphinx import addnodes
from sphinx.environment.adapters.toctree import _resolve_toctree
from sphinx.util.tags import Tags

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.site import contents


def entry(page: str, anchor: str, *below: nodes.Node) -> nodes.list_item:
    link = nodes.reference("", anchor or page, internal=True, refuri=page, anchorname=anchor)
    inside = [nodes.bullet_list("", *below)] if below else []
    return nodes.list_item("", addnodes.compact_paragraph("", "", link), *inside)


def listing(*pages: str) -> addnodes.toctree:
    found = [(None, page) for page in pages]
    return addnodes.toctree("", entries=found, includefiles=list(pages), maxdepth=-1)


def headings() -> dict[str, nodes.bullet_list]:
    """Two parts below the first page, one of which lists a page in a section; headings in all."""
    deep = entry("part", "#deep", entry("part", "#deeper", listing("leaf")))
    return {
        "first": nodes.bullet_list("", entry("first", "", entry("first", "#a"), listing("part", "other"))),
        "part": nodes.bullet_list("", entry("part", "", entry("part", "#b"), deep)),
        "other": nodes.bullet_list("", entry("other", "", entry("other", "#c"))),
        "leaf": nodes.bullet_list("", entry("leaf", "", entry("leaf", "#d", entry("leaf", "#e")))),
    }


@pytest.mark.parametrize("page", ["first", "part", "other", "leaf"])
@pytest.mark.parametrize("collapse", [True, False])
def test_titles_are_those_that_sphinx_keeps(page, collapse):
    includes = {"first": ["part", "other"], "part": ["leaf"]}
    config = SimpleNamespace(include_patterns=["**"], exclude_patterns=[])
    builder = SimpleNamespace(tags=Tags(), get_relative_uri=lambda here, there: f"{there}.html")
    said = []
    for whole in (True, False):
        env = SimpleNamespace(tocs=headings(), metadata=defaultdict(dict), toctree_includes=includes, config=config)
        if not whole:
            env.tocs = contents.Titles(env)
        for _ in range(2):  # the second has what the first has found
            tree = _resolve_toctree(
                env, page, builder, listing("first"), titles_only=True, collapse=collapse, includehidden=True
            )
        said.append(tree.pformat())
    assert said[0] == said[1]
    assert "#" not in said[0]
    assert collapse or "leaf.html" in said[0]


def test_of_a_page_nothing_is_copied_but_its_title_and_the_pages_below_it():
    titles = contents.Titles(SimpleNamespace(tocs=headings()))
    links = {page: [link["anchorname"] for link in titles[page].findall(nodes.reference)] for page in headings()}
    assert links == {page: [""] for page in headings()}
    assert [len(list(titles[page].findall(addnodes.toctree))) for page in headings()] == [1, 1, 0, 0]
