"""The built book, read as a browser would: links, claims, figures, and the shape that every page promises."""

import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import Tag
from contents import PAGES, TOC, anchors, parsed
from small_book import ROOT

LESSONS = [
    page
    for page in PAGES
    if page.split("/")[1] in ("anatomy", "imaging", "ablations", "checks", "procedures", "practice")
]


def text_without_code(article: Tag) -> str:
    return " ".join(
        piece for piece in article.find_all(string=True) if not piece.find_parent(["pre", "code", "script"])
    )


def is_folded(cell: Tag) -> bool:
    return cell.find_parent("details") is not None


def claims_of(article: Tag) -> set[tuple[str, ...]]:
    marks = article.select("p.claim")
    parts = [[mark.find(class_=f"claim-{part}") for part in ("statement", "value", "bound")] for mark in marks]
    texts = [tuple(part.get_text() if part else "true" for part in three) for three in parts]
    return {(mark["id"], *three) for mark, three in zip(marks, texts, strict=True)}


def test_the_strict_build_warns_of_nothing(site):
    folder, said = site
    assert "WARNING:" not in said
    assert "ERROR:" not in said
    assert all((folder / f"{page}.html").exists() for page in PAGES)


def test_every_internal_link_and_file_is_there(site):
    folder, _ = site
    broken = []
    for file in [folder / f"{page}.html" for page in PAGES] + [folder / "search.html", folder / "index.html"]:
        page = parsed(file)
        addresses = [tag.get(name) for name in ("href", "src") for tag in page.find_all(attrs={name: True})]
        for address in addresses:
            if urlsplit(address).scheme or address.startswith("//"):
                continue
            path, fragment = urldefrag(address)
            target = (file.parent / unquote(urlsplit(path).path)).resolve() if path else file
            there = target.is_file() and (
                not fragment or target.suffix != ".html" or unquote(fragment) in anchors(target)
            )
            if not there:
                broken.append((file.stem, address))
    assert not broken


def test_no_page_asks_anything_of_another_host(site):
    folder, _ = site
    asked = []
    for file in folder.rglob("*.html"):
        page = parsed(file)
        sources = [
            tag[name] for name in ("src", "srcset", "data", "poster") for tag in page.find_all(attrs={name: True})
        ]
        sources += [link["href"] for link in page.find_all("link", href=True) if link["rel"] != ["canonical"]]
        asked += [(file.name, source) for source in sources if re.match(r"(https?:)?//", source)]
        inline = [script for script in page.find_all("script") if not script.get("src")] + page.find_all("style")
        asked += [(file.name, code.string) for code in inline if re.search(r"https?://", code.string or "")]
    for file in [*folder.rglob("*.css"), *folder.rglob("*.svg")]:
        asked += [
            (file.name, url)
            for url in re.findall(r"(?:url\(|@import|href=)[\"' ]*(?:https?:)?//[^\"')]+", file.read_text())
        ]
    assert not asked


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_title_and_then_its_question(html, page):
    article = html(page).article
    assert len(article.find_all("h1")) == 1
    question = article.h1.find_next_sibling()
    assert question.name == "p"
    assert question.strong.get_text().endswith("?")


@pytest.mark.parametrize("page", PAGES)
def test_no_role_is_left_raw_and_nothing_failed_on_the_page(html, page):
    article = html(page).article
    assert not re.findall(r"\{[a-z:]+\}`|\{eval\}|\{cite|\$\$", text_without_code(article))
    assert not article.select(".traceback, .stderr, .system-message, .problematic")


@pytest.mark.parametrize("page", PAGES)
def test_every_image_says_what_it_shows_and_every_figure_has_a_point(html, page):
    article = html(page).article
    assert all(image.get("alt", "").strip() for image in html(page).find_all("img"))
    assert not article.select("img[src^=data]")
    for figure in article.select("figure.measured"):
        caption, alt = figure.figcaption.get_text().strip(), figure.img["alt"]
        assert caption.endswith(".")
        assert alt != caption
        assert re.search(r"\d", alt), f"This text names no number: {alt!r}"
    assert len(article.select("figure")) == len(article.select("figure.measured"))


def test_the_ledger_has_every_claim_of_every_page_and_no_other(html):
    made = {(page, *claim) for page in PAGES for claim in claims_of(html(page).article)}
    ledgers = [page for page in PAGES if page.startswith("book/reference/claims")]
    rows = [(page, row) for page in ledgers for row in html(page).select("article table.ledger tbody tr")]
    listed = set()
    for ledger, row in rows:
        _, _, value, bound, _ = (cell.find(string=True, recursive=False) or "" for cell in row.find_all("td"))
        statement, value, bound = row.a.get_text().strip(), value.strip(), bound.strip()
        path, anchor = urldefrag(row.a["href"])
        page = str((Path("/", ledger).parent / path).resolve().relative_to("/").with_suffix(""))
        listed.add((page, anchor, statement, value, bound))
    assert listed == made
    assert len(rows) == len(made)
    first, *parts = (html(page).article for page in ledgers)
    assert f"Claims in the book: {len(made)}." in first.get_text()
    counts = [int(row.find_all("td")[1].get_text()) for row in first.select("table.ledger-parts tbody tr")]
    assert counts == [len(part.select("table.ledger tbody tr")) for part in parts]
    assert sum(counts) + len(first.select("table.ledger tbody tr")) == len(made)


# What one looks up is no lesson, and what one writes oneself sets nothing else.
@pytest.mark.parametrize("page", [page for page in LESSONS if not re.search("/zoo/|/practice/", page)])
def test_a_lesson_predicts_tinkers_claims_and_sets_exercises(html, page):
    article = html(page).article
    cells = article.select("div.cell_input")
    tinker = [cell for cell in cells if cell.get_text().lstrip().startswith("# Tinker:")]
    assert len(tinker) == 1
    assert not is_folded(tinker[0])
    assert len(claims_of(article)) >= 5
    assert article.select("details.sd-dropdown")
    assert not article.select("details[open]")
    assert not [cell for cell in article.select("div.cell_output:has(p.claim)") if cell.select(".text_plain")]  # echoes
    exercises, solutions = article.select("div.exercise"), article.select("div.solution.dropdown")
    assert 1 <= len(exercises) == len(solutions) <= 5  # easy ones on the way, harder ones below the line
    assert article.find_all("h2")[-1].get_text().startswith("What this page checked")


@pytest.mark.parametrize("page", PAGES)
def test_a_folded_cell_says_what_is_in_it_and_an_open_one_can_be_read_at_a_glance(html, page):
    article = html(page).article
    for label in article.select("details.hide summary p"):
        assert not re.match(r"(Show|Hide) code cell", label.get_text())
    for details in article.select("details.hide"):
        shown, hidden = (details.select_one(f"summary p.{name}").get_text() for name in ("collapsed", "expanded"))
        assert shown == hidden
    codes = [(cell.get_text().strip(), is_folded(cell)) for cell in article.select("div.cell_input")]
    assert not [code for code, folded in codes if folded and re.search(r"^source\(", code, re.MULTILINE)]
    taught = [code.splitlines() for code, folded in codes if not folded and "claim(" not in code]
    assert not [f"{len(lines)} lines, from {lines[0]!r}" for lines in taught if len(lines) > 15]


@pytest.mark.parametrize("page", LESSONS)
def test_a_lesson_opens_in_binder_and_on_colab_and_nowhere_else(site, html, page):
    links = [link["href"] for link in html(page).select(".dropdown-launch-buttons a[href], .btn[href]")]
    (binder,) = (link for link in links if "mybinder.org" in link)
    assert binder.endswith(f"urlpath=lab/tree/{page}.md")
    (colab,) = (link for link in links if "colab" in link)
    assert colab.endswith(f"/blob/notebooks/{page}.ipynb")
    assert (site[0] / f"_sources/{page}.ipynb").is_file()  # publish.yml puts these on that branch
    assert not [link for link in links if re.search(r"thebe|deepnote|jupyterhub", link)]


def test_every_source_that_the_package_names_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE))
    for file in (ROOT / "surgeon").rglob("*.py"):
        for line in re.findall(r"Sources?: ([\w, ]+?)(?: \(|\.?$)", file.read_text(), re.MULTILINE):
            assert set(re.findall(r"\w+", line)) <= keys, f"{file.name}: {line}"


def test_the_colophon_times_every_page_that_runs(html, capsys):
    rows = html("book/reference/colophon").select("table.build-times tbody tr")
    times = {row.td.get_text().strip(): float(row.find_all("td")[1].get_text()) for row in rows}
    others = (f"book/reference/{name}" for name in ("theatre", "checkup", "model-checkup", "next-steps", "colophon"))
    run = [TOC["root"], *LESSONS, *others]
    titles = {html(page).h1.find(string=True).strip() for page in run}
    assert set(times) == titles | {"all pages"}
    with capsys.disabled():
        print("\nSeconds a page: " + ", ".join(f"{title} {t:.1f}" for title, t in times.items()))
