"""What a cell puts out may name a page of the book, beside the address where it is published."""

import sys

import yaml
from bs4 import BeautifulSoup
from small_book import ROOT, STRICT, SmallBook, cell

from surgeon.checkup.finding import BOOK

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.site.address import of_repository

OUTPUT = """from IPython.display import HTML
HTML('<p><a data-page="anatomy/NAME" href="https://elsewhere.example/book/anatomy/NAME.html">a law</a></p>')"""


def test_a_page_that_an_output_names_is_this_site_s_and_one_that_is_not_there_ends_the_build(tmp_path):
    pages = {
        "anatomy/there": "# There\n\nHere.\n",
        "reference/report": "# Report\n\n" + cell(OUTPUT.replace("NAME", "there")),
        "reference/old": "# Old\n\n" + cell(OUTPUT.replace("NAME", "nowhere")),
    }
    book = SmallBook(tmp_path / "book", pages, {"__init__.py": ""})
    built = book.build(*STRICT)
    assert built.code != 0
    said = "reference/old.md: WARNING: an output names the page anatomy/nowhere, which is not there"
    assert built.warnings == [said]
    link = BeautifulSoup(book.html("reference/report"), "html.parser").find("a", string="a law")
    assert link.attrs == {"href": "../anatomy/there.html"}


def test_a_report_has_the_address_where_the_book_is_published():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    assert f"{of_repository(config['repository']['url'])}book/" == BOOK
