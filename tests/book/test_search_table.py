"""The table that can be searched: what Python writes, what its script makes of a search, what a site makes of it."""

import json
import math
import re
from html import unescape

import pytest
from bs4 import BeautifulSoup
from py_mini_racer import MiniRacer
from small_book import ROOT, STRICT, SmallBook, cell

import surgeon.book.page as page
from surgeon.book.search_table import Cell, search_table

ELEMENT = ROOT / "book" / "_static" / "search-table"
HEADS = ["bug", "family", "loss"]
ROWS = [
    [Cell("Lost mask", "zoo/masks.md#bug-lost-mask", "It is passed to `nobody`."), "masks", Cell("−1.1", order=-1.1)],
    ["Padding", "padding", Cell("–", order=math.nan)],
]


@pytest.fixture
def shown(monkeypatch):
    """The HTML of what is shown."""
    found = []
    monkeypatch.setattr(page, "display", lambda thing: found.append(thing.forms["html"]))
    return found


def read(html):
    return BeautifulSoup(html, "html.parser")


# What Python writes


def test_a_table_is_whole_without_a_script(shown):
    search_table(HEADS, ROWS, noun="bugs", filters=["family"], words=["lost_mask", ""])
    element = read(shown[0]).find("search-table")
    assert element.attrs == {"noun": "bugs", "filters": "family"}
    assert [head.text for head in element.select("thead th[scope=col]")] == HEADS
    texts = [[one.text for one in row.select("th, td")] for row in element.select("tbody tr")]
    assert texts == [["Lost mask It is passed to nobody.", "masks", "−1.1"], ["Padding", "padding", "–"]]
    assert [row.find("th")["scope"] for row in element.select("tbody tr")] == ["row", "row"]
    assert element.select_one("tbody a")["href"] == "zoo/masks.md#bug-lost-mask"
    assert element.select_one("small code").text == "nobody"
    assert [one["data-order"] for one in element.select("td[data-order]")] == ["-1.1", ""]
    assert [row.get("data-words") for row in element.select("tbody tr")] == ["lost_mask", None]


def test_what_a_table_says_is_text_and_no_markup(shown):
    nasty = '<i>"&</i>'
    search_table([nasty], [[Cell(nasty, nasty, nasty)]], noun=nasty, filters=[nasty], words=[nasty])
    assert set(re.findall(r"</?([\w-]+)", shown[0])) == {
        "search-table", "table", "thead", "tbody", "tr", "th", "a", "small",
    }  # fmt: skip
    assert unescape(read(shown[0]).find("search-table")["noun"]) == nasty


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [["one", "two"]]}, "a row must have 3 cells, got 2."),
        ({"filters": ["colour"]}, "filters must be heads, got 'colour'."),
        ({"words": ["one"]}, "words must be given for 2 rows, got 1."),
    ],
)
def test_a_table_says_what_is_wrong(shown, changes, message):
    rows = changes.pop("rows", ROWS)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        search_table(HEADS, rows, **changes)
    assert not shown


# The script, in V8


@pytest.fixture(scope="module")
def script():
    engine = MiniRacer()
    engine.eval((ELEMENT / "search-table.mjs").read_text(encoding="utf8").replace("export function", "function"))

    def call(name, *arguments):
        return json.loads(engine.eval(f"JSON.stringify({name}({', '.join(map(json.dumps, arguments))}))"))

    return call


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("  Loss is NaN ", ["loss", "is", "nan"]),
        ("shape '[2, 5, 4, 8]' is invalid", ["shape", "is", "invalid"]),
        ("masked_fill_", ["masked_fill_"]),
        ("-1e4", ["-1e4"]),
        ("Übung", ["übung"]),
        ("", []),
    ],
)
def test_a_search_has_words(script, search, expected):
    assert script("words", search) == expected


TEXTS = ["runtimeerror: shape is invalid for input of size", "loss is nan", "nothing of the kind"]


@pytest.mark.parametrize(
    ("search", "found", "exact"),
    [
        ("", [True, True, True], True),
        ("nan loss", [False, True, False], True),
        ("shape '[3, 7]' is invalid for input of size 21", [True, False, False], True),
        ("loss is nan after an epoch", [False, True, False], False),
        ("scalpel surgeon wire loss", [False, False, False], False),
        ("scalpel", [False, False, False], False),
    ],
)
def test_a_search_finds_rows_with_every_word_or_with_most(script, search, found, exact):
    assert script("answers", TEXTS, search) == {"found": found, "exact": exact}


@pytest.mark.parametrize(("a", "b"), [(-1.5, 2), (2, 10), ("apple", "Berry"), ("é", "f")])
def test_order_and_its_reverse(script, a, b):
    assert script("compare", a, b, False) < 0 < script("compare", b, a, False)
    assert script("compare", a, b, True) > 0 > script("compare", b, a, True)
    assert script("compare", a, a, False) == 0


@pytest.mark.parametrize("down", [False, True])
def test_what_has_no_value_comes_last_either_way(script, down):
    assert script("compare", "", 3, down) > 0 > script("compare", 3, "", down)


def test_the_script_is_small_and_asks_nothing_of_anyone():
    files = {file.suffix: file.read_text(encoding="utf8") for file in ELEMENT.iterdir()}
    assert set(files) == {".mjs", ".css"}
    assert sum(map(len, files.values())) < 16_000
    assert not [text for text in files.values() if re.search(r"\bimport\b|@import|url\(|https?:", text)]


# On a site

TABLE = """from IPython.display import HTML
HTML('<search-table noun="x"><table><tr><td><a href="LINK">there</a></td></tr></table></search-table>')"""


NOWHERE = {"gone": "nowhere.md", "unnamed": "there.md#no-such-place", "another": "there.md#elsewhere"}


def test_a_link_in_an_output_leads_to_the_page_and_one_that_leads_nowhere_ends_the_build(tmp_path):
    pages = {
        "there": "# There\n\n(a-place)=\n## A Place\n\nHere.\n",
        "table": "# Table\n\n" + cell(TABLE.replace("LINK", "there.md#a-place")),
    }
    for name, link in NOWHERE.items():
        place = "(elsewhere)=\n## Elsewhere\n\n" if name == "another" else ""
        pages[name] = f"# {name}\n\n{place}" + cell(TABLE.replace("LINK", link))
    book = SmallBook(tmp_path / "book", pages, {"__init__.py": ""})
    built = book.build(*STRICT)
    assert built.code != 0
    said = "{}.md: WARNING: an output links to {}, which is not there"
    assert sorted(built.warnings) == sorted(said.format(name, link) for name, link in NOWHERE.items())
    html = read(book.html("table"))
    assert html.select_one("search-table a")["href"] == "there.html#a-place"
    assert len(html.select('script[src*="search-table/search-table.mjs"]')) == 1
    assert len(html.select('link[href*="search-table/search-table.css"]')) == 1
    assert "search-table" not in book.html("there")
