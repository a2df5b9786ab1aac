"""An incremental build writes what changed and what shows something of it, nothing else; the site is a cold one's."""

import re

import pytest
from bs4 import BeautifulSoup
from small_book import SPEAKING, STRICT, SmallBook, cell

CLAIM = "from surgeon.book.page import claim\nclaim('{}', {}, at_most=4);"
PAGES = {
    "first": "# First\n\n**What?**\n\nScores are shared.\n\n" + cell(CLAIM.format("Three is at most four.", 3)),
    "second": "# Second\n\n(here)=\n## Here\n\n" + cell("from surgeon.soft import stable\nstable(1)"),
    "third": "# Third\n\nAs {ref}`here` and {cite:t}`vaswani2017` say, and {doc}`first`.\n",
    "equal": "# Equal\n\n$$\na = b\n$$ (equal)\n\n" + cell("7"),
    "after": "# After\n\nBy {eq}`equal`.\n\n```{exercise}\n:label: one\nDo it.\n```\n",
    "alone": "# Alone\n\nNothing is shown of anyone. Attention is all.\n",
    "words": "# Words\n\n```{glossary}\nscore\nscores\n  How well a query and a key agree.\n```\n",
    "claims": "# Claims\n\n```{claims-ledger}\n```\n",
    "times": "# Times\n\n```{build-times}\n```\n",
    "sources": "# Sources\n\n```{bibliography}\n```\n",
}
PACKAGE = {"__init__.py": "", "soft.py": "def stable(x):\n    return x\n", **SPEAKING}
# What is changed on which page, and which pages are written then; the contents beside a page show every title.
CHANGES = {
    "a word": ("alone", "Nothing is shown", "Little is shown", {"alone"}),
    "a number": ("equal", "7", "8", {"equal", "times"}),
    "a claim": ("first", "at most four.', 3", "at most four, then.', 2", {"first", "claims", "times"}),
    "a heading's name": ("second", "## Here", "## There", {"second", "third", "times"}),
    "a label": ("equal", "(equal)", "(equal)\n\n$$\nc\n$$ (other)", {"equal", "after", "times"}),
    "an exercise": ("after", "Do it.", "Do it twice.", {"after"}),
    "a title": ("after", "# After", "# Afterwards", "all"),
    "a term": ("words", "agree.", "match.", "all"),
    "a source": ("third", "vaswani2017", "dao2022", "all"),
}
# When the site is compared with a cold one: before something else has all pages written again.
COMPARED = ["an exercise", "a title", "a term", "a source"]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("rewritten"), PAGES, PACKAGE)
    build = book.build(*STRICT, GITHUB_REPOSITORY="someone/book")
    assert build.code == 0, build.output
    return book


def contents(book: SmallBook) -> dict[str, object]:
    """The site without the seconds that pages took."""
    site: dict[str, object] = dict(book.site())
    site["book/times.html"] = re.sub(rb"\b\d+\.\d\b", b"", book.site()["book/times.html"])
    return site


@pytest.fixture(scope="module")
def written(book):
    """What each change in turn let the next build write, and what the site was after some of them."""
    written, sites = {}, {}
    for what, (page, before, after, _) in CHANGES.items():
        file = book.root / f"book/{page}.md"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
        stamps = {html: html.stat().st_mtime_ns for html in (book.root / "_build/html/book").glob("*.html")}
        build = book.build(*STRICT, GITHUB_REPOSITORY="someone/book")
        assert build.code == 0, build.output
        now = {html: html.stat().st_mtime_ns for html in (book.root / "_build/html/book").glob("*.html")}
        written[what] = {html.stem for html, stamp in now.items() if stamps.get(html) != stamp}
        if what in COMPARED:
            texts = {name: (book.root / f"book/{name}.md").read_text() for name in PAGES}
            sites[what] = texts, contents(book)
    return written, sites


@pytest.mark.parametrize("what", CHANGES)
def test_only_what_shows_a_change_is_written(written, what):
    expected = CHANGES[what][-1]
    if expected != "all":
        assert written[0][what] - {"index"} == expected  # the first page has the contents, and is always written
    else:
        assert written[0][what] >= set(PAGES)


@pytest.mark.parametrize("what", COMPARED)
def test_the_site_is_that_of_a_cold_build(written, tmp_path, what):
    """After the change, and all those before it; once with what is made of the theme made anew as well."""
    texts, site = written[1][what]
    cold = SmallBook(tmp_path / "cold", PAGES, PACKAGE, cold=what == COMPARED[-1])
    for name, text in texts.items():
        cold.write(f"book/{name}.md", text)
    assert cold.build(*STRICT, GITHUB_REPOSITORY="someone/book").code == 0
    assert site == contents(cold)


def test_what_is_no_longer_shown_leaves_the_site(tmp_path):
    draw = "from matplotlib.figure import Figure\nfrom surgeon.book.page import figure\nfig = Figure(figsize=(2, 1))\n"
    drawn = draw + "fig.subplots().plot([0, {}])\nfigure(fig, 'A line.', 'A line.')"
    pages = {"a": "# A\n\n" + cell(drawn.format(1)), "b": "# B\n"}
    book = SmallBook(tmp_path, pages, {"__init__.py": "", **SPEAKING})
    assert book.build(*STRICT).code == 0
    (image,) = BeautifulSoup(book.html("a"), "html.parser").select("figure.measured img")
    first = (book.root / "_build/html/book" / image["src"]).resolve()
    assert first.exists()
    book.page("a", "# A\n\n" + cell(drawn.format(2)))
    assert book.build(*STRICT).code == 0
    assert not first.exists()
    (image,) = BeautifulSoup(book.html("a"), "html.parser").select("figure.measured img")
    assert (book.root / "_build/html/book" / image["src"]).exists()
