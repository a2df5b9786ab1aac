"""What `make limits` says, on a site of two pages and records of a line."""

import gzip
import sys
from concurrent.futures import ThreadPoolExecutor

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


WIDE = """<html><head><style>
@font-face {{ font-family: shown; src: url(_static/shown.woff2) }} b {{ font-family: shown }}
@font-face {{ font-family: idle; src: url(_static/idle.woff2) }} em i u {{ font-family: idle }}
pre, .aside {{ width: 300px; overflow: auto }} .tall {{ height: 1800px }}
</style><link rel="stylesheet" href="_static/shared.css?v=1"></head><body>
<article><h1>A page</h1><p>Four words of <b>prose</b>.</p><pre>{long}</pre><pre>short</pre>
<details><pre>{long}{long}</pre></details><div class="checkup"><p>A report is no prose.</p></div>
<div class="exercise"><p>Nor is this.</p></div><div class="cell"><p>What judges it is none.</p></div>
<div class="aside">{long}</div><div class="tall"></div><h2>Deeper</h2><p>These words are not counted.</p>
<div class="tall"></div><div class="tall"></div><img loading="lazy" src="_static/far.png"></article></body></html>"""
PLAIN = """<link rel="stylesheet" href="_static/shared.css?v=1"><article><p>Two words.</p><pre>short</pre>
<img src="_static/1.png"></article>"""


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory):
    """Of three pages, one of them without an article. `browser` is asked for, and not used: it says if there is one."""
    pages = tmp_path_factory.mktemp("site")
    (pages / "book/_static").mkdir(parents=True)
    for name, size in {"shared.css": 0, "1.png": 1009, "far.png": 2003, "shown.woff2": 101, "idle.woff2": 307}.items():
        (pages / "book/_static" / name).write_bytes(b"x" * size or b"p { color: red }")
    (pages / "book/wide.html").write_text(WIDE.format(long="x" * 200))
    (pages / "book/index.html").write_text(PLAIN)
    (pages / "book/moved.html").write_text("<p>No article.</p>")
    return pages


def in_a_thread(measure, *arguments):
    with ThreadPoolExecutor(1) as thread:  # the other browser's event loop is this thread's
        return thread.submit(measure, *arguments).result()


def test_what_scrolls_and_words_and_screens_above_the_line_are_counted_folded_or_not(pages):
    found = in_a_thread(limits.looked, pages)
    assert list(found) == ["book/index.html", "book/wide.html"]
    wide = found["book/wide.html"]
    assert (wide["code"], wide["wide"], wide["line"], wide["words"]) == (3, ["x" * 90] * 2, True, 4)
    assert wide["aside"] == [f"aside: {'x' * 90}"]
    assert 2 < wide["above"] < 3 < 6 < wide["screens"] < 7
    index = found["book/index.html"]
    assert (index["code"], index["wide"], index["aside"], index["line"], index["words"]) == (1, [], [], False, 2)
    assert index["above"] == index["screens"] < 1


def test_a_first_visit_brings_what_a_browser_asks_for_and_the_next_page_what_is_new(pages):
    """No font that nothing is set in, and no picture that is screens away."""
    found = limits.weights(in_a_thread(limits.looked, pages), pages)
    index, wide, shared = (
        len(gzip.compress((pages / "book" / name).read_bytes(), 9))
        for name in ("index.html", "wide.html", "_static/shared.css")
    )
    assert found == {
        "book/index.html": (index + shared + 1009, index),
        "book/wide.html": (wide + shared + 101, wide + 101),
    }


@pytest.mark.parametrize(
    ("first", "following", "holds"), [(200_000, 50_000, [True, True]), (200_001, 50_001, [False, False])]
)
def test_a_page_may_weigh_what_the_limits_say_and_no_byte_more(monkeypatch, first, following, holds):
    pages = {"book/index.html": (1, 0), "book/checks/rank.html": (first, following)}
    monkeypatch.setattr(limits, "weights", lambda pages, site: pages)
    assert [row[3] for row in limits.weight(pages)] == holds


SEEN = {"line": True, "words": 30, "above": 1, "screens": 30, "code": 2, "wide": [], "aside": []}


def test_every_page_beyond_a_limit_is_named():
    pages = {
        "book/anatomy/a.html": SEEN | {"words": 901, "above": 8.01},
        "book/anatomy/b.html": SEEN | {"words": 902, "above": 8},
        "book/anatomy/c.html": SEEN | {"line": False, "words": 5000, "above": 20},
        "book/checks/c.html": SEEN | {"words": 901, "above": 20, "wide": ["long"]},
        "book/checks/d.html": SEEN | {"line": False, "words": 5000, "aside": ["math: x", "math: y"]},
        "book/ablations/zoo/e.html": SEEN | {"screens": 12},
        "book/ablations/bug-zoo.html": SEEN | {"screens": 13},
    }
    said = {
        limits.words: [
            ("902 (book/anatomy/b.html), 901 (book/anatomy/a.html)", False),
            ("901 (book/checks/c.html)", True),
        ],
        limits.screens: [("8.0 (book/anatomy/a.html)", False), ("13.0 (book/ablations/bug-zoo.html)", False)],
        limits.width: [
            ("1 of 14 (book/checks/c.html: long)", False),
            ("2 (book/checks/d.html: math: x; book/checks/d.html: math: y)", False),
        ],
    }
    assert {row: [tuple(told[2:]) for told in row(pages)] for row in said} == said
    pages = {"book/checks/d.html": SEEN | {"line": False}}
    assert [row[2] for row in limits.words(pages)] == ["n/a: there is no such page"] * 2
    assert [row[2] for row in limits.width(pages)] == ["0 of 2", "0"]


def test_a_copy_has_what_is_here_and_nothing_that_was_built(tmp_path):
    limits.copied(tmp_path)
    assert {"Makefile", "_config.yml", "book", "surgeon", "tests"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "_build").exists()
    assert not (tmp_path / ".venv").exists()
