"""What is written again, what is made again with it, and what is left alone, on books of a few pages."""

import sys

import pytest
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book import sources

PAGES = {
    "runs": "# Runs\n\n**Does it?**\n\n" + cell("print('It did.')"),
    "words": "# Words\n\n**Which?**\n\nOnly these.\n",
}
EXTENSION = "book/_ext/surgeon_book"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("writing"), PAGES, {"__init__.py": ""})
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    assert book.ran() == ["runs"]
    return book


def edit(book: SmallBook, path: str, old: str, new: str) -> None:
    text = (book.root / path).read_text()
    assert old in text
    book.write(path, text.replace(old, new))


# ---- What shapes the look is a part of the site ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "shown"),
    [
        ("theme/theme.css", "font-size: 1.12em", "font-size: 1.13em", "_static/site.css"),
        ("theme/static/page.js", '"use strict";', '"use strict"; // so', "_static/page.js"),
        ("theme/templates/navbar-logo.html", 'aria-label="Home"', 'aria-label="Way home"', "book/words.html"),
        ("theme/icons.py", 'viewBox="0 0 16 16"', 'viewBox="0 0 17 17"', "_static/site.css"),
        ("site/description.py", '"og:locale": "en_GB"', '"og:locale": "en_IE"', "book/words.html"),
    ],
)
def test_a_change_of_the_look_is_in_the_next_build_which_runs_nothing(book, file, old, new, shown):
    before = (book.root / "_build/html" / shown).read_text()
    edit(book, f"{EXTENSION}/{file}", old, new)
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    assert (book.root / "_build/html" / shown).read_text() != before
    assert book.ran() == []


def test_a_change_of_the_reading_reads_every_page_again(book):
    edit(book, f"{EXTENSION}/page/upfront.py", '"tag_up-front"', '"tag_first"')
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    assert book.ran() == ["runs"]


def test_every_file_of_the_extension_shapes_the_reading_or_the_look():
    files = {file for file in sources.EXTENSION.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert {*sources.reading()} | {*sources.look()} == files
    assert not {*sources.reading()} & {*sources.look()}
    assert sources.EXTENSION / "theme" / "theme.css" in sources.look()
    assert sources.EXTENSION / "nodes.py" in sources.reading()


@pytest.mark.parametrize("other", [["ab", "c"], ["a", "b", "c"], ["c", "ab"], ["abc"]])
def test_a_digest_is_of_these_parts_in_this_order(other):
    assert sources.digest(["a", "bc"]) != sources.digest(other)
