"""The reference part: the package's page, the glossary with the links that it sends out, and what was asked for."""

import ast
import inspect
import math
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import urldefrag

import pytest
from bs4 import BeautifulSoup
from contents import PAGES
from small_book import ROOT, SPEAKING, STRICT, SmallBook, cell

import surgeon
from surgeon.book.page import REPOSITORY

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import glossary
from surgeon_book.reference import api, docstrings, package, usage
from surgeon_book.reference.imports import Package

REFERENCE = [page.removeprefix("book/") for page in PAGES if page.startswith("book/reference/api/")]
SHOWN = [name.removeprefix("surgeon.") for name in package.public(surgeon)]
LESSONS = [page for page in PAGES if page.split("/")[1] not in ("index", "reference")]


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


# ---- The package's page: its parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "elsewhere", "expected"),
    [
        (["c", "a"], [], ["c", "a"]),
        (["c", "...", "a"], [], ["c", "b", "p.d", "p.e", "a"]),
        (["...", "a"], ["p.*", "b"], ["c", "a"]),
        (["p.*"], ["p.e"], ["p.d"]),
        (["p.e", "p.*"], ["..."], ["p.e", "p.d"]),
        ([], ["..."], []),
    ],
)
def test_each_module_has_a_place_on_one_page(asked, elsewhere, expected):
    assert api.in_order(asked, ["p.e", "p.d", "c", "b", "a"], [*asked, *elsewhere]) == expected


SOURCE = '''
from math import sqrt
import enum

class Error(ValueError):
    """What goes wrong."""

def handed_on(x):
    """Short."""

def in_full(x):
    """One line.

    Returns
    -------
    int
        Two.
    """

def helper(x):
    """For this file: Returns nothing to speak of."""

def _private(x):
    """One line.

    Parameters
    ----------
    x : int
    """

NUMBER = 2
'''


def test_public_is_what_the_package_hands_on_and_what_is_documented_in_full():
    module = ModuleType("surgeon.part")
    exec(SOURCE, module.__dict__)
    handed_on = SimpleNamespace(__all__=["handed_on", "sqrt"], handed_on=module.handed_on, sqrt=math.sqrt)
    found = list(package.entries(handed_on, module))
    assert found == [
        ("surgeon.part.Error", "surgeon.part.Error", "exception"),
        ("surgeon.handed_on", "surgeon.part.handed_on", "function"),
        ("surgeon.part.in_full", "surgeon.part.in_full", "function"),
    ]


def test_what_is_called_as_a_public_name_elsewhere_is_not_that_name():
    module, other = ModuleType("surgeon.part"), ModuleType("surgeon.other")
    for each in (module, other):
        exec(SOURCE, each.__dict__)
    handed_on = SimpleNamespace(__all__=["handed_on"], handed_on=other.handed_on)
    assert "surgeon.handed_on" not in {entry.name for entry in package.entries(handed_on, module)}
    assert "surgeon.handed_on" in {entry.name for entry in package.entries(handed_on, other)}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Source: a2017 (book/references.bib)."], ["Source: :cite:t:`a2017`."]),
        (["So it is. Source: a2017,", "bc2018 (both) (book/references.bib), section 3."], None),
        (["A model of 2017, fp16 and a2017."], ["A model of 2017, fp16 and a2017."]),
        (["Shape [*lead, T, S]."], [r"Shape [\*lead, T, S]."]),
    ],
)
def test_a_docstrings_sources_become_citations(lines, expected):
    docstrings.name_sources(None, "function", "f", None, None, lines)
    assert lines == (expected or ["So it is. Source: :cite:t:`a2017`,", ":cite:t:`bc2018` (both), section 3."])


def test_a_fields_sentence_stays_whole():
    lines = ["each row sums to one", "", ":type: what multiplies V"]
    docstrings.keep_whole(None, "attribute", "Stages.weights", None, None, lines)
    assert lines == ["what multiplies V: each row sums to one", ""]
    docstrings.keep_whole(None, "function", "f", None, None, lines)
    assert lines[0].startswith("what")


def test_a_name_is_used_where_its_module_has_it(tmp_path):
    (tmp_path / "surgeon").mkdir()
    (tmp_path / "surgeon/__init__.py").write_text("from surgeon.softmax import stable\n")
    (tmp_path / "surgeon/softmax.py").write_text("def stable(): ...\n")
    package = Package(tmp_path, "surgeon")
    for code in ("from surgeon import stable as s", "def f():\n    from surgeon.softmax import stable"):
        assert usage.used(package, ast.parse(code)) == {"surgeon.softmax.stable"}
    assert usage.used(package, ast.parse("import surgeon, torch\nfrom surgeon import *")) == set()


# ---- The package's page in a small book ------------------------------------------------------------------------------

PACKAGE = {
    "__init__.py": 'from surgeon.soft import stable\n\n__all__ = ["stable"]\n',
    "soft.py": '''"""Shares of one.

Not shown.
"""

from typing import NamedTuple


class Pair(NamedTuple):
    """Two at once.

    Returns
    -------
    Pair
    """

    left: int  #: the first: of two


def stable(scores, dim=-1):
    r"""Shares that add up to :math:`1`, not as `naive`.

    Parameters
    ----------
    scores : Tensor or sequence of float
        Any, `dim` included.

    Notes
    -----
    Source: vaswani2017 (book/references.bib).

    Examples
    --------
    >>> stable([1])
    [1.0]
    """
    return [1.0]
''',
    **SPEAKING,
}
NAIVE = '''"""As the formula says. Not as `stable`."""


def naive(scores):
    """The formula.

    Returns
    -------
    float
    """
'''


def said_of_modules(book: SmallBook) -> list[list[str]]:
    """For each module on the overview: its page, where its name leads, and what is said."""
    items = soup(book.html("reference/parts")).select("dl.api-overview li")
    return [[item.find_previous("dt").get_text(), item.a["href"], item.p.get_text()] for item in items]


def test_a_book_that_shows_the_package_shows_all_of_it_and_no_more(tmp_path):
    book = SmallBook(tmp_path, {"api": "# Package\n\n```{api-reference}\nsoft\nhard\n```\n"}, PACKAGE)
    book.write("_config.yml", (ROOT / "_config.yml").read_text().replace("branch: main", "branch: devel"))
    said = book.build().output
    assert "WARNING: There is no module surgeon.hard with public names." in said
    assert "WARNING: No page of the reference shows surgeon.book.page; a line `...` takes what no other does." in said
    assert "shows surgeon.soft" not in said
    assert re.search(r'href="https://github.com/[^"]+/blob/devel/surgeon/soft.py#L\d+-L\d+"', book.html("api"))


def test_the_package_page_follows_the_package_and_the_pages(tmp_path):
    """The package is this book's own, though another is installed."""
    pages = {
        "reference/parts": "# Parts\n\n```{api-overview}\n```\n",
        "reference/api": "# Package\n\n```{api-reference}\n...\n```\n\n{py:func}`surgeon.soft.stable`\n",
        "reference/more": "# More\n\n```{api-reference}\nbook.page\nbook.parts\n```\n",
        "reference/sources": "# Sources\n\n```{bibliography}\n:all:\n```\n",
        "uses": "# Uses\n\n" + cell("from surgeon import stable\nstable([])"),
        "idle": "# Idle\n\n" + cell("import math"),
    }
    book = SmallBook(tmp_path, pages, PACKAGE)
    build = book.build(*STRICT, GITHUB_REPOSITORY="ours/book")
    assert build.code == 0, build.output
    article = soup(book.html("reference/api")).article
    assert [tag.code.get_text() for tag in article.find_all("h2")] == ["surgeon.soft"]
    assert "Not shown" not in article.get_text()
    assert "the first: of two" in article.find(id="surgeon.soft.Pair.left").parent.get_text()
    entry = article.find(id="surgeon.stable").parent
    first = PACKAGE["soft.py"].splitlines().index("def stable(scores, dim=-1):") + 1
    last = len(PACKAGE["soft.py"].splitlines())
    address = f"https://github.com/ours/book/blob/main/surgeon/soft.py#L{first}-L{last}"
    assert entry.dt.select_one("a.external")["href"] == address
    assert entry.select_one(".math annotation").get_text() == "1"
    assert [link["href"] for link in entry.select("p.used-in a")] == ["../uses.html"]
    assert entry.find("a", href=re.compile(r"^sources\.html#id")).get_text() == "2017"
    assert "references.bib" not in entry.get_text()
    assert entry.select_one(".highlight .gp").get_text() == ">>> "
    assert "sequence of float" in entry.get_text()
    assert not article.find(id="surgeon.naive.naive")
    assert article.find("a", href="#surgeon.stable", class_="reference internal")
    assert soup(book.html("reference/more")).article.find(id="surgeon.book.page.claim")
    beside = soup(book.html("reference/more")).select_one(".page-toc a[href='#surgeon-book-page'] .pre")
    assert beside.decode_contents().replace("<wbr/>", "|") == "book.|page"
    assert said_of_modules(book)[0] == ["Package", "api.html#surgeon-soft", "surgeon.soft Shares of one."]
    places = ["api.html#surgeon-soft", "more.html#surgeon-book-page", "more.html#surgeon-book-parts"]
    assert [said[1] for said in said_of_modules(book)] == places

    book.ran()
    book.write("surgeon/naive.py", NAIVE)
    book.page("uses", "# Users\n\n" + cell("from surgeon import stable\nfrom surgeon.naive import naive\nstable([])"))
    build = book.build(*STRICT, GITHUB_REPOSITORY="your/fork")
    assert build.code == 0, build.output
    article = soup(book.html("reference/api")).article
    entry = article.find(id="surgeon.naive.naive").parent
    assert entry.select_one("p.used-in").get_text() == "Used in: Users"
    assert entry.dt.select_one("a.external")["href"].startswith("https://github.com/your/fork/")
    assert article.find(id="surgeon.stable").parent.find("a", href="#surgeon.naive.naive").code.get_text() == "naive"
    assert said_of_modules(book)[0][1:] == ["api.html#surgeon-naive", "surgeon.naive As the formula says."]

    book.page("reference/more", "# More\n\n```{api-reference}\nbook.page\nbook.parts\nnaive\n```\n")
    build = book.build(*STRICT, GITHUB_REPOSITORY="your/fork")
    assert build.code == 0, build.output
    article = soup(book.html("reference/api")).article
    assert not article.find(id="surgeon.naive.naive")
    link = article.find(id="surgeon.stable").parent.find("a", href="more.html#surgeon.naive.naive")
    assert link.code.get_text() == "naive"

    book.ran()
    book.page("uses", "# Users\n\n" + cell("1"))
    book.write("surgeon/soft.py", PACKAGE["soft.py"].replace("Shares that", "Portions that"))
    build = book.build(*STRICT, GITHUB_REPOSITORY="your/fork")
    assert build.code == 0, build.output
    assert book.ran() == ["uses"]
    article = soup(book.html("reference/api")).article
    assert not article.select("p.used-in")
    assert "Portions that" in article.find(id="surgeon.stable").parent.get_text()


def test_a_page_of_the_reference_is_read_again_when_what_it_shows_has_changed(tmp_path):
    base = '"""A base."""\n\n\nclass Base:\n    def size(self):\n        """Its size."""\n        return 1\n'
    heir = '"""An heir."""\n\nfrom surgeon.base import Base\n\n\n'
    heir += 'class Heir(Base):\n    """An heir.\n\n    Returns\n    -------\n    int\n    """\n\n'
    heir += "    def size(self):\n        return 2\n"
    plain = PACKAGE["soft.py"].replace("Source: vaswani2017 (book/references.bib).", "None.")
    package = PACKAGE | {"soft.py": plain, "base.py": base, "heir.py": heir, "naive.py": NAIVE}
    modules = ("heir", "naive", "soft")
    pages = {name: f"# Of {name}\n\n```{{api-reference}}\n{name}\n```\n" for name in modules}
    book = SmallBook(tmp_path, pages | {"rest": "# Rest\n\n```{api-reference}\n...\n```\n"}, package)
    doctrees = {name: tmp_path / f"_build/.doctrees/book/{name}.doctree" for name in (*modules, "rest")}

    def read_again(change: str, text: str) -> set[str]:
        before = {name: file.stat().st_mtime_ns for name, file in doctrees.items()}
        book.write(f"surgeon/{change}.py", text)
        build = book.build(*STRICT)
        assert build.code == 0, build.output
        return {name for name, file in doctrees.items() if file.stat().st_mtime_ns != before[name]}

    assert book.build(*STRICT).code == 0
    assert read_again("naive", NAIVE + "    return 1 + 1\n") == {"naive"}
    assert read_again("base", base.replace("Its size", "How large it is")) == {"heir"}
    assert read_again("naive", NAIVE + "    return 1 + 1\n\n\nFACTOR = 2\n") == {*modules, "rest"}
    assert read_again("naive", NAIVE + "    return 1 + 2\n\n\nFACTOR = 2\n") == {"naive"}
    assert "How large it is" in book.html("heir")


# ---- The glossary ----------------------------------------------------------------------------------------------------


def terms(*groups: str) -> glossary.Glossary:
    env = SimpleNamespace(config=SimpleNamespace(root_doc="g"), toctree_includes={})
    found = [glossary.Term(group.split(",")[0], tuple(group.split(",")), "") for group in groups]
    glossary.Terms.of(env)["g"] = found
    return glossary.Glossary(env)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A head, and two heads.", ["head", "head"]),
        ("An attention\nhead.", ["attention head"]),
        ("Self-attention, self attention", ["self-attention", "self-attention"]),
        ("HEADS", ["head"]),
        ("ahead, header, head-on, off-head, $head, head_s", []),
        ("the head’s own", ["head"]),
        ("d_k, not d_kk", ["d_k"]),
        ("multi-head attention head", ["multi-head", "attention head"]),
    ],
)
def test_terms_are_found_as_whole_words_the_longest_first(text, expected):
    found = terms("head,heads", "attention head", "attention", "self-attention", "d_k", "multi-head").find(text)
    assert [term.anchor for _, _, _, term in found] == expected


def test_no_glossary_finds_nothing():
    assert list(terms().find("A head.")) == []


GLOSSARY = """# Words

**What is a query?**

A key, before the list.

```{glossary}
query
queries
  What asks, with a key.

  {doc}`page`

key
  What is asked.

attention head
heads
  One of many: $h$.

scale : everyday
scaling factor
  A factor.

leak
  Never on the page.
```
"""
PAGE = """# A query

**What is a query?**

## Another query

[A query](words) and `query` and $query$ and a key-value pair.

```text
query
```

:::{dropdown} A query
A query, folded.
:::

> - Two **queries** and a query; *attention
>   head*, heads, on a scale.

| query | key |
|---|---|
| a key | the scaling factor, {term}`leak` and a leak |

```{admonition} A query
Keys and a key.
```

"""


def test_the_first_use_of_a_term_becomes_a_link_to_it(tmp_path):
    pages = {"words": GLOSSARY, "page": PAGE + cell("print('query')"), "sub/other": "# Other\n\n**Why?**\n\nA query.\n"}
    book = SmallBook(tmp_path, pages, {})
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    links = soup(book.html("page")).select("a.glossary-term")
    assert [(link.parent.name, " ".join(link.get_text().split()), link["href"]) for link in links] == [
        ("strong", "queries", "words.html#term-query"),
        ("em", "attention head", "words.html#term-attention-head"),
        ("p", "key", "words.html#term-key"),
        ("p", "scaling factor", "words.html#term-scale"),
    ]
    assert [link.get("title") for link in links] == ["What asks, with a key.", None, "What is asked.", "A factor."]
    assert len(soup(book.html("page")).find_all("a", href="words.html#term-leak")) == 1
    assert not soup(book.html("words")).select("a.glossary-term")
    assert soup(book.html("sub/other")).select_one("a.glossary-term")["href"] == "../words.html#term-query"

    book.ran()
    book.page("words", GLOSSARY.replace("queries\n", "").replace("What asks", "Who asks"))
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    assert book.ran() == []
    links = soup(book.html("page")).select("a.glossary-term")
    assert [(link.get_text(), link.get("title")) for link in links][:2] == [
        ("query", "Who asks, with a key."),
        ("attention\nhead", None),
    ]


# ---- In the book -----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(html):
    return lambda name: html(f"book/{name}").article


def imported(text: str) -> set[tuple[str, str]]:
    """(module, name) of what a page's cells import from surgeon, read off its text."""
    found = set()
    cells = "\n".join(re.findall(r"^```\{code-cell\}.*?^```", text, re.MULTILINE | re.DOTALL))
    cells = re.sub(r'""".*?"""', "", cells, flags=re.DOTALL)  # a program that a page writes is none of its cells
    for module, names in re.findall(r"^ *from (surgeon[\w.]*) import (\([^)]*\)|.*)$", cells, re.MULTILINE):
        names = re.sub(r"#.*", "", names).strip("()")
        found |= {(module, name.split(" as ")[0].strip()) for name in names.split(",") if name.strip()}
    return found


def test_every_public_name_has_an_entry_its_source_and_the_pages_that_use_it(site, page):
    found = [entry for part in REFERENCE for entry in page(part).select("dl.py > dt[id]")]
    defined = {entry["id"]: entry for entry in found}
    assert len(defined) == len(found)
    assert {f"surgeon.{name}" for name in surgeon.__all__} <= set(defined)
    assert {f"surgeon.book.page.{name}" for name in ("claim", "source", "figure")} <= set(defined)
    imports = {name: imported((ROOT / f"{name}.md").read_text()) for name in PAGES}
    for name in surgeon.__all__:
        thing = getattr(surgeon, name)
        entry = defined[f"surgeon.{name}"]
        lines, first = inspect.getsourcelines(inspect.unwrap(thing))
        file = thing.__module__.replace(".", "/")
        address = f"https://github.com/{REPOSITORY}/blob/main/{file}.py#L{first}-L{first + len(lines) - 1}"
        assert entry.select_one("a.external")["href"] == address
        using = [where for where in PAGES if imports[where] & {("surgeon", name), (thing.__module__, name)}]
        links = entry.parent.select(":scope > dd > p.used-in a")
        here = Path("/book/reference/api")
        shown = [str((here / link["href"]).resolve().relative_to("/").with_suffix("")) for link in links]
        assert shown == using, name


def test_the_overview_leads_to_every_module(page):
    links = page("reference/api").select("dl.api-overview li > p > a:first-child")
    led = {link.get_text(): urldefrag(link["href"]) for link in links}
    assert set(led) == {f"surgeon.{name}" for name in SHOWN}
    for name, (path, anchor) in led.items():
        section = page(f"reference/{path.removesuffix('.html')}").find("section", id=anchor)
        assert section.h2.code.get_text() == name
    said = [re.sub(r"^surgeon\S+ ", "", item.get_text()) for item in page("reference/api").select(".api-overview li")]
    assert not [sentence for sentence in said if not re.fullmatch(r"[^.].{10,160}[.?]", sentence)]


@pytest.mark.parametrize("part", ["reference/api", *REFERENCE])
def test_the_package_page_shows_no_markup_and_no_path_to_the_sources(page, part):
    text = page(part).get_text()
    assert "references.bib" not in text
    assert not re.findall(r":(?:math|cite|py|class|func)\b[\w:]*`|\.\. \w+::|``", text)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_links_its_terms_once_to_entries_that_are_there(site, page, name):
    links = page(name.removeprefix("book/")).select("a.glossary-term")
    targets = [urldefrag(link["href"]) for link in links]
    assert len(targets) >= (5 if "/zoo/" in name else 8)
    assert len(set(targets)) == len(targets)
    assert {path for path, _ in targets} == {os.path.relpath("book/reference/glossary.html", Path(name).parent)}
    entries = page("reference/glossary")
    assert all(entries.find("dt", id=anchor) for _, anchor in targets)
    outside = "h1, h2, h3, pre, code, summary, figure, thead, .math, .cell_output, .admonition-title, .solution"
    assert not [link.get_text() for link in links if link.find_parent(["a"]) or link.css.closest(outside)]


def test_the_glossary_is_in_order_explains_each_term_once_and_says_where_it_is_taught(page):
    items = page("reference/glossary").select("dl.glossary > dd")
    forms = [tag.find(string=True).strip() for tag in page("reference/glossary").select("dl.glossary > dt")]
    assert len({form.lower() for form in forms}) == len(forms)
    first = [item.find_previous_siblings("dt")[0] for item in items]
    names = []
    for term in first:
        while term.find_previous_sibling() and term.find_previous_sibling().name == "dt":
            term = term.find_previous_sibling()
        names.append(term.find(string=True).strip().lower())
    assert names == sorted(names)
    assert 35 <= len(names) <= 70
    for item in items:
        definition, where = item.find_all("p", recursive=False)
        assert 1 <= len(re.findall(r"\.(?=\s|\)|$)", definition.get_text())) <= 3, definition
        assert where.a["href"].endswith(".html") or where.a["href"] == "#"


def test_what_was_asked_for_is_ticked_and_shown_where_the_first_page_says(page):
    rows = page("reference/next-steps").find("h2").find_next("table").select("tbody tr")
    assert [row.td.get_text() for row in rows] == ["✓"] * 8
    for row in rows:
        sections, functions = row.find_all("td")[2:]
        assert all(urldefrag(link["href"])[1] for link in sections.find_all("a"))
        assert {link["href"].split("/")[0] for link in functions.find_all("a")} == {"api"}
    shown = {urldefrag(link["href"])[0].removeprefix("../") for row in rows for link in row.find_all("td")[2]("a")}
    (heading,) = (h2 for h2 in page("index").find_all("h2") if "able to do" in h2.get_text())
    table = heading.find_next("table")
    assert {link["href"] for link in table.select("tbody a:not(.glossary-term)")} == shown
