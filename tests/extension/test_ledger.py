"""The ledger in parts: a page for each folder, and one that counts all, leads to these and has the rest."""

import pytest
from bs4 import BeautifulSoup
from small_book import SPEAKING, STRICT, SmallBook, cell

CLAIM = "from surgeon.book.page import claim\nclaim('{}', True);"
PAGES = {
    "one/first": "# First\n\n" + cell(CLAIM.format("It is first.")),
    "one/within/second": "# Second\n\n" + cell(CLAIM.format("It is `second`.")),
    "one-more": "# One more\n\n" + cell(CLAIM.format("It is in no folder.")),
    "two/third": "# Third\n\n" + cell(CLAIM.format("It is third.")),
    "reference/ledger": "# Ledger\n\n```{claims-ledger}\n```\n",
    "lists/two": "# Claims of Two\n\n```{claims-ledger} two\n```\n",
    "lists/one": "# Claims of One\n\n```{claims-ledger} one\n```\n",
}
PARTS = ["lists/two", "lists/one"]  # in the book's order


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("ledger"), PAGES, {"__init__.py": "", **SPEAKING})
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    return book


def article(book, name):
    return BeautifulSoup(book.html(name), "html.parser").article


def listed(book, name):
    return [
        (row.a.get_text(), row.a["href"].partition("#")[0]) for row in article(book, name).select(".ledger tbody tr")
    ]


def test_a_part_lists_the_claims_of_its_folder_and_of_those_in_it(book):
    assert listed(book, "lists/one") == [
        ("It is first.", "../one/first.html"),
        ("It is second.", "../one/within/second.html"),
    ]
    assert listed(book, "lists/two") == [("It is third.", "../two/third.html")]
    assert "Claims here: 2." in article(book, "lists/one").get_text()


def test_the_ledger_counts_all_has_the_rest_and_leads_to_the_parts(book):
    assert listed(book, "reference/ledger") == [("It is in no folder.", "../one-more.html")]
    ledger = article(book, "reference/ledger")
    assert "Claims in the book: 4." in ledger.get_text()
    rows = [[cell.get_text().strip() for cell in row.find_all("td")] for row in ledger.select(".ledger-parts tbody tr")]
    assert [row[:2] for row in rows] == [["Claims of Two", "1"], ["Claims of One", "2"]]
    assert [link["href"] for link in ledger.select(".ledger-parts a")] == [f"../{part}.html" for part in PARTS]
    assert ledger.find("search-table")["more"].split() == [f"../{part}.html" for part in PARTS]
    assert not article(book, "lists/one").find("search-table").has_attr("more")


def test_a_claim_that_changes_has_its_lists_written_again(book):
    book.write("book/two/third.md", (book.root / "book/two/third.md").read_text().replace("third.", "the last."))
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    assert listed(book, "lists/two") == [("It is the last.", "../two/third.html")]
    assert len(listed(book, "reference/ledger")) == 1
