"""The built book's furniture: colours, heads, cards, links to the repository, downloads."""

import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from contents import PAGES, TOC
from matplotlib.colors import to_rgb
from small_book import ROOT

from surgeon.imaging import style as plots

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.site import cards

CSS = (ROOT / "book/_static/surgeon.css").read_text()


def meta(page: BeautifulSoup, name: str) -> str:
    (tag,) = page.find_all("meta", attrs={"property" if name.startswith("og:") else "name": name})
    return tag["content"]


# ---- Colours -------------------------------------------------------------------------------------------------------


def test_pages_and_figures_have_one_palette():
    names = ("BLUE", "VERMILION", "GREEN", "ORANGE", "PURPLE", "SKY", "INK", "GREY", "PALE", "PAPER")
    ours = {name.lower(): getattr(plots, name) for name in names}
    assert {name: colour for name, colour in cards.colours().items() if name in ours} == ours
    mark = set(re.findall(r'fill="(#\w+)"', (ROOT / "book/_static/mark.svg").read_text()))
    assert mark == {plots.BLUE, plots.VERMILION}


def luminance(colour: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(scheme):
    """WCAG 2: at least 4.5 to 1. (axe, in a browser, sees the same of what is on the pages.)"""
    (block,) = re.findall(rf'^html[^{{\n]*data-theme="{scheme}"[^{{\n]*\{{\n(.*?)^\}}', CSS, re.MULTILINE | re.DOTALL)[
        :1
    ]
    known = dict(re.findall(r"--([\w-]+): ([^;]+);", CSS.split("html:is", 1)[0])) | dict(
        re.findall(r"--([\w-]+): ([^;]+);", block)
    )

    def value(name: str) -> str:
        found = known[name]
        inner = re.fullmatch(r"var\(--([\w-]+)\)", found)
        return value(inner[1]) if inner else found

    grounds = [value(f"pst-color-{name}") for name in ("background", "surface")]
    texts = ["pst-color-" + name for name in ("text-base", "text-muted", "link", "link-hover", "success", "heading")]
    texts += [f"surgeon-code-{name}" for name in ("comment", "keyword", "string", "number")]
    poor = {
        (text, ground): ratio for text in texts for ground in grounds if (ratio := contrast(value(text), ground)) < 4.5
    }
    assert not poor


# ---- Heads ---------------------------------------------------------------------------------------------------------


def test_titles_and_descriptions_are_of_a_good_length_and_no_two_alike(html):
    titles = [html(page).title.get_text() for page in PAGES]
    descriptions = [meta(html(page), "description") for page in PAGES]
    assert len(set(titles)) == len(set(descriptions)) == len(PAGES)
    assert not [said for said in descriptions if not 40 <= len(said) <= 160]
    assert not [said for said in descriptions if re.search(r"[\\{}$`\0]", said)]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_where_it_is_read_and_shows_its_card(site, html, page):
    canonical = html(page).find("link", rel="canonical")["href"]
    assert canonical.endswith(f"/{page}.html")
    assert urlsplit(canonical).scheme == "https"
    assert meta(html(page), "og:url") == canonical
    assert meta(html(page), "og:description") == meta(html(page), "description")
    card = meta(html(page), "og:image").removeprefix(canonical.removesuffix(f"{page}.html"))
    assert (site[0] / card).stat().st_size < 60_000
    assert html(page).find("link", rel="icon")["href"].endswith("_static/mark.svg")


def test_the_map_of_the_site_has_every_page(site, html):
    found = re.findall(r"<loc>(.*?)</loc>", (site[0] / "sitemap.xml").read_text())
    assert found == [html(page).find("link", rel="canonical")["href"] for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_one_can_go_on_and_back_mend_the_page_and_report_what_is_wrong(html, page):
    number, links = PAGES.index(page), html(page)
    ends = {"left-prev": PAGES[number - 1] if number else None, "right-next": [*PAGES, None][number + 1]}
    for name, target in ends.items():
        link = links.select_one(f".prev-next-area a.{name}")
        expected = target and (Path("/") / f"{target}.html")
        found = link and (Path("/") / page).parent.joinpath(link["href"])
        assert (found and Path(os.path.normpath(found))) == expected
    repository = links.select_one("a.btn-source-repository-button")["href"]
    assert repository.startswith("https://github.com/")
    assert links.select_one("a.btn-source-edit-button")["href"] == f"{repository}/edit/main/{page}.md"
    issue = urlsplit(links.select_one("a.btn-source-issues-button")["href"])
    assert f"https://{issue.netloc}{issue.path}" == f"{repository}/issues/new"
    assert page in unquote(parse_qs(issue.query)["title"][0])


def test_the_first_screen_of_the_book_is_its_title_question_promise_and_picture(html):
    article = html(TOC["root"]).article
    following = list(article.h1.find_next_siblings(limit=3))
    assert [tag.name for tag in following] == ["p", "p", "div"]
    assert following[2].select_one("figure.measured img")
    assert article.find("details") in following[2].find_all_next("details")


# ---- Downloads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_runs_can_be_taken_along_as_it_ran(site, html, page):
    source = site[0] / "_sources" / f"{page}.md"
    assert source.read_text() == (ROOT / f"{page}.md").read_text()
    cells = html(page).article.select("div.cell_input")
    file = source.with_suffix(".ipynb")
    assert file.exists() == bool(re.search(r"^kernelspec:", source.read_text(), re.MULTILINE))
    if not file.exists():
        assert not cells
        return
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    installing, *codes = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert "%pip install" in installing.source
    assert len(codes) >= len(cells)
    assert all(cell.execution_count for cell in codes)
    assert any(cell.outputs for cell in codes) == bool(html(page).article.select("div.cell_output"))
    assert not [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and "{eval}" in cell.source]
    figures = json.dumps(notebook).count("<figure class=")
    assert figures == len(html(page).article.select("figure.measured"))
