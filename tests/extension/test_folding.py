"""What a page's cells show without the call, and its claims as one line: on the site alone."""

import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from small_book import ROOT, SPEAKING, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import calls

SETUP = """from surgeon.book.page import claim, source
from surgeon.book.strip import where
from surgeon.small import two
"""
UP_FRONT = """:tags: [up-front]

# Where we are.
where("scores")"""
FROM_BELOW = """:tags: [up-front]

print("A picture.")"""
HIDDEN = """:tags: [hide-input]

source(two, part="1");
where("heads");"""
PAGE = "\n".join(
    [
        "# Page\n\n**Why?**\n\nBecause.\n",
        cell(SETUP),
        cell(UP_FRONT),
        "## Steps\n",
        cell("source(two)"),
        cell(HIDDEN),
        cell(FROM_BELOW),
        cell("source(two)\nprint(two())"),
        cell("claim('Elsewhere.', True);"),
        "## What this page checked\n\nIn words.\n",
        cell("claim('Two.', two(), within=(2, 2))\nclaim('Three.', 3, at_least=3);"),
        cell("claim('Four.', True);"),
    ]
)
ONE = "# One\n\n" + cell(SETUP) + "\n## What this page checked\n\n" + cell("claim('One.', True);")
# Nothing is folded: it claims nothing, though its heading says so.
NONE = "# None\n\n" + cell("1 + 1") + "\n## What this page checked\n\nNothing.\n"
TWO = """def two():
    # 1. Count.
    return 2
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    strip = {"book/strip.py": (ROOT / "surgeon/book/strip.py").read_text()}
    package = {"__init__.py": "", **SPEAKING, **strip, "small.py": TWO}
    pages = {"page": PAGE, "one": ONE, "none": NONE, "ledger": "# Ledger\n\n```{claims-ledger}\n```\n"}
    book = SmallBook(tmp_path_factory.mktemp("folding"), pages, package)
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    return book


def article(book, name):
    return BeautifulSoup(book.html(name), "html.parser").article


@pytest.mark.parametrize(
    ("code", "only"),
    [
        ('source(attend, part="1")', True),
        ("# Said before.\nsource(one, two)\n\nwhere('heads');  # and after", True),
        ("source(one)\nprint(1)", False),
        ("x = source(one)", False),
        ("page.source(one)", False),
        ("figure(fig, 'A point.', 'An alt.')", False),
        ("source", False),
        ("# source(one)", False),
        ("", False),
        ("%%capture\nsource(one)", False),
        ("import torch\nsource(one)", False),
    ],
)
def test_a_cell_only_shows_where_it_calls_nothing_else(code, only):
    assert calls.only_shows(code) is only


def test_a_cell_that_only_shows_has_no_input_on_the_site(book):
    shown = article(book, "page")
    inputs = [cell.get_text().strip().split("\n")[0] for cell in shown.select("div.cell_input")]
    assert inputs == [
        "from surgeon.book.page import claim, source",
        'print("A picture.")',
        "source(two)",  # and prints
        "claim('Elsewhere.', True);",
        "claim('Two.', two(), within=(2, 2))",
        "claim('Four.', True);",
        "open('../ran', 'a').write('page ');",
    ]
    assert len(shown.select("div.cell_output .highlight")) == 5  # three functions or steps, and twice what was printed
    assert not shown.select("details.hide")
    assert not [cell for cell in shown.select("div.cell") if not cell.get_text().strip()]


def test_the_strip_stands_under_the_opening_and_leaves_no_empty_cell(book):
    shown = article(book, "page")
    strips = shown.select("div.where")
    assert len(strips) == 2
    before = strips[0].find_previous("p")
    assert before.get_text() == "Because."
    assert strips[0].find_previous("div", class_="cell_input") is None


def test_what_a_section_below_shows_up_front_follows_the_strip_there(book):
    shown = article(book, "page")
    (picture,) = [output for output in shown.select("div.cell_output") if "A picture." in output.get_text()]
    assert picture.find_previous("div", class_="where")
    assert picture.find_next("div", class_="cell_input").get_text().lstrip().startswith("from surgeon.book.page")
    assert picture.find_previous("h2") is None


def test_a_notebook_keeps_the_calls(book):
    notebook = nbformat.read(book.root / "_build/html/_sources/book/page.ipynb", as_version=4)
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert "source(two)" in codes
    assert [code for code in codes if code.endswith('where("scores")')]
    assert [cell.source for cell in notebook.cells if "What this page checked" in cell.source]
    assert "<details" not in nbformat.writes(notebook)


@pytest.mark.parametrize(("name", "line", "said"), [("page", "3 claims checked", 3), ("one", "1 claim checked", 1)])
def test_what_a_page_checked_is_one_line(book, name, line, said):
    (details,) = article(book, name).select("details.claims-checked")
    assert details.summary.get_text() == line
    assert not details.has_attr("open")
    assert len(details.select("p.claim")) == said
    assert details.find_previous("h2").get_text().startswith("What this page checked")
    assert not details.find_next_siblings()


def test_claims_elsewhere_stay_where_they_are(book):
    shown = article(book, "page")
    (elsewhere,) = [mark for mark in shown.select("p.claim") if not mark.find_parent("details")]
    assert "Elsewhere." in elsewhere.get_text()
    assert not article(book, "none").select("details.claims-checked")


def test_the_ledger_leads_to_claims_in_the_fold(book):
    links = article(book, "ledger").select("table.ledger a")
    assert [link.get_text() for link in links] == ["Elsewhere.", "Two.", "Three.", "Four.", "One."]
    for link in links:
        page, _, anchor = link["href"].partition("#")
        assert article(book, page.removesuffix(".html")).find(id=anchor)["class"] == ["claim"]


def test_the_contents_of_a_page_list_the_heading(book):
    page = BeautifulSoup(book.html("page"), "html.parser")
    assert page.select('.page-toc a[href="#what-this-page-checked"]')


def test_it_survives_a_build_that_reads_nothing_anew(book):
    before = book.html("page")
    (book.root / "_build/html/book/page.html").unlink()
    book.ran()
    assert book.build(*STRICT).code == 0
    assert book.ran() == []
    assert book.html("page") == before
