"""What `make limits` says, on a site of two pages and records of a line."""

import gzip
import sys

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits


def test_words_choose_rows_by_how_they_begin():
    assert limits.chosen([]) == list(limits.ROWS)
    assert limits.chosen(["imp", "w"]) == ["imports", "weight", "width", "words"]
    with pytest.raises(SystemExit, match="There is no row spirit; there are units, "):
        limits.chosen(["imports", "spirit"])


@pytest.mark.parametrize(
    ("record", "measured", "holds"),
    [
        ("119 0", "119 s (", True),
        ("121 0", "121 s (", False),
        ("60 1", ", failed)", False),
        (None, "has not been run here", None),
    ],
)
def test_how_long_the_tests_took_is_what_their_last_run_left(monkeypatch, tmp_path, record, measured, holds):
    (tmp_path / "_build/times").mkdir(parents=True)
    if record:
        (tmp_path / "_build/times/unit").write_text(f"{record}\n")
    monkeypatch.setattr(limits, "ROOT", tmp_path)
    _, unit = limits.tests()
    assert unit[:2] == ("make unit", "120 s")
    assert measured in unit[2]
    assert unit[3] is holds


PAGE = """<html><head><script src="_static/a.js?v=1"></script><link rel="stylesheet" href="_static/{style}.css"></head>
<body><article><p>Page</p>{images}</article></body></html>"""


def test_a_first_visit_brings_what_a_page_needs_and_the_next_page_what_is_new(tmp_path):
    site, static = tmp_path / "site", tmp_path / "site/book/_static"
    static.mkdir(parents=True)
    (site / "_static/katex/fonts").mkdir(parents=True)
    (site / "_static/katex/fonts/KaTeX_Size1.woff2").write_bytes(b"f" * 101)
    sizes = {"a.js": 0, "shared.css": 0, "own.css": 0, "1.png": 1009, "2.png": 2003, "3.png": 4001}
    for name, size in sizes.items():
        (static / name).write_bytes(b"x" * size or name.encode() * 50)
    images = "".join(f'<img src="_static/{n}.png">' for n in (1, 2, 3))
    (site / "book/index.html").write_text(PAGE.format(style="shared", images=""))
    (site / "book/other.html").write_text(PAGE.format(style="own", images=images))

    def packed(name: str) -> int:
        return len(gzip.compress((site / "book" / name).read_bytes(), 9))

    found = limits.weights(site)
    index, other = (packed(name) for name in ("index.html", "other.html"))
    script, shared, own = (packed(f"_static/{name}") for name in ("a.js", "shared.css", "own.css"))
    assert found == {
        "book/index.html": (index + script + shared + 101, index),
        "book/other.html": (other + script + own + 1009 + 2003 + 101, other + own + 1009 + 2003),
    }


WIDE = """<html><head><style>pre {{ width: 300px; overflow: auto }}</style></head><body><article>
<h1>A page</h1><p>Four words of prose.</p><pre>{long}</pre><pre>short</pre><details><pre>{long}</pre></details>
<h2>Deeper</h2><p>These words are not counted.</p></article></body></html>"""


@pytest.fixture(scope="module")
def looked(browser, tmp_path_factory):
    """`browser` is asked for, and not used: it says whether there is one."""
    site = tmp_path_factory.mktemp("site")
    (site / "book").mkdir()
    (site / "book/wide.html").write_text(WIDE.format(long="x" * 200))
    (site / "book/narrow.html").write_text("<article><p>Two words.</p><pre>short</pre></article>")
    (site / "book/moved.html").write_text("<p>No article.</p>")
    return site


def test_code_that_scrolls_and_words_above_the_line_are_counted_folded_or_not(looked):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:  # the other browser's event loop is this thread's
        found = thread.submit(limits.looked, looked).result()
    assert found == {
        "book/wide.html": {"code": 3, "wide": 2, "line": True, "words": 4},
        "book/narrow.html": {"code": 1, "wide": 0, "line": False, "words": 2},
    }


def test_words_count_against_the_limit_of_their_part(monkeypatch):
    pages = {
        "book/anatomy/a.html": {"line": True, "words": 901},
        "book/anatomy/b.html": {"line": True, "words": 30},
        "book/checks/c.html": {"line": True, "words": 901},
        "book/checks/d.html": {"line": False, "words": 5000},
    }
    monkeypatch.setattr(limits, "looked", lambda site: pages)
    anatomy, elsewhere = limits.words()
    assert (anatomy[2], anatomy[3]) == ("901 (book/anatomy/a.html)", False)
    assert (elsewhere[2], elsewhere[3]) == ("901 (book/checks/c.html)", True)
    monkeypatch.setattr(limits, "looked", lambda site: {"book/checks/d.html": pages["book/checks/d.html"]})
    assert [row[2] for row in limits.words()] == ["n/a: no page has a line"] * 2


def test_a_copy_has_what_is_here_and_nothing_that_was_built(tmp_path):
    limits.copied(tmp_path)
    assert {"Makefile", "_config.yml", "book", "surgeon", "tests"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "_build").exists()
    assert not (tmp_path / ".venv").exists()
