"""The search of a small book: what is indexed, how it is ranked, and that no other page pays for it."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from questions import Search
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page.sections import said, spoken
from surgeon_book.site import search as ours

PAGES = {
    "anatomy/softmax": "# Softmax\n\n**How?**\n\nScores become shares.\n\n(cliff)=\n## The cliff\n\nToo large a score"
    " overflows, as $\\sqrt{d_k}$ grows.\n\n" + cell("largest_of_row = 3"),
    "checks/rank": "# Rank\n\nA softmax is mentioned here, and shares.\n\n## What this page checked\n\nZymurgy.\n",
    "reference/words": "# Words\n\n```{glossary}\nscore\nscores\n  How well a query and a key agree.\n```\n",
}


def test_what_is_said_has_a_line_for_each_paragraph_and_one_blank_between_words():
    two = [nodes.paragraph("", "One  and two. "), nodes.paragraph("", "Three.")]
    assert said(two) == said([nodes.section("", *two)]) == "One and two.\nThree."


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("searched"), PAGES, {"__init__.py": ""})
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    return book


@pytest.fixture(scope="module")
def search(book):
    return Search(book.root / "_build/html")


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("overflow", ("anatomy/softmax", "the-cliff")),  # a section, and another ending
        ("why does it overflow when it is too large?", ("anatomy/softmax", "the-cliff")),  # a sentence
        ("overflow".replace("r", ""), ("anatomy/softmax", "the-cliff")),  # a letter is missing
        ("sqrt d_k", ("anatomy/softmax", "the-cliff")),  # an equation, as it is typed
        ("largest_of_row", ("anatomy/softmax", "the-cliff")),  # a name in the code
        ("agree", ("reference/words", "term-score")),  # a term of the glossary
        ("softmax", ("anatomy/softmax", "softmax")),  # the page that teaches, before the one that mentions
    ],
)
def test_a_question_leads_to_the_section_that_answers(search, query, first):
    assert search.ask(query)[0][:2] == first


def test_a_section_is_listed_once_and_a_term_with_its_plural_too(search):
    found = [hit[:2] for hit in search.ask("scores")]
    assert len(found) == len(set(found))
    assert [page for page, _ in found].count("reference/words") == 1


def test_claims_are_not_searched_and_unknown_words_find_nothing(search):
    assert search.ask("zymurgy") == []
    assert search.ask("why is the") == []


def test_aliases_belong_to_the_section_the_label_or_the_opening_that_they_name(monkeypatch):
    section = ours.Section(["here", "label"], "Here", ["A"], "section", [], "Words.", "")
    opening = section._replace(anchors=["a"], title="A", trail=[])
    config = SimpleNamespace(root_doc="book/a")
    env = SimpleNamespace(found_docs={"book/a"}, config=config, toctree_includes={})
    env.surgeon_sections = {"book/a": [opening, section]}
    typed = {"a": ["opening"], "a#here": ["own"], "#label": ["labelled"], "b": ["other"]}
    monkeypatch.setattr(ours, "aliases", lambda: typed)
    assert [one["aliases"] for one in ours.documents(SimpleNamespace(env=env, config=config))] == [
        "opening",
        "own labelled",
    ]


def test_no_page_but_that_of_the_search_asks_for_it(book):
    folder = book.root / "_build/html"
    asks = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.html")
        if re.search(r"minisearch|[\"/]search/", file.read_text())
    }
    assert asks == {"search.html"}
    page = BeautifulSoup((folder / "search.html").read_text(), "html.parser")
    scripts = [tag["src"].split("?")[0] for tag in page.select('script[src^="search/"]')]
    assert scripts == [f"search/{name}" for name in ours.SCRIPTS]
    assert all((folder / script).exists() for script in scripts)


def test_nothing_is_left_of_sphinxs_own_search(book):
    folder = book.root / "_build/html"
    assert not (folder / "searchindex.js").exists()
    assert not [file for file in (folder / "_static").iterdir() if re.match("searchtools|language_data", file.name)]
    assert not (folder / "minisearch").exists() or not list((folder / "minisearch").iterdir())


def test_texts_come_page_by_page(book):
    texts = sorted((book.root / "_build/html/search/texts").iterdir())
    heard = [json.loads(re.fullmatch(r"heard\(\d+, (.*)\);\n", file.read_text())[1]) for file in texts]
    assert ["Zymurgy" in json.dumps(page) for page in heard] == [False] * len(heard)
    assert any("overflows" in text for page in heard for text in page.values())


@pytest.mark.parametrize(
    ("tex", "typed"),
    [
        (r"\sqrt{d_k}", "√ d_k"),
        (r"\mathrm{softmax}(QK^\top)", "softmax (QK^T)"),
        (r"-\infty", "-inf"),
    ],
)
def test_an_equation_is_indexed_as_it_would_be_typed(tex, typed):
    assert spoken(tex) == typed
