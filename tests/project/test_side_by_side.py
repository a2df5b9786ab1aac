"""Tests run side by side: the book is built once for all of them, and what shares something stays together."""

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import side_by_side
from built import Book

COUNT = "import sys; open('{log}', 'a').write('x'); print('\\x1b[31msaid\\x1b[0m'); sys.exit({code})"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def book(run: str, log: Path, code: int = 0) -> Book:
    return Book(run, (sys.executable, "-c", COUNT.format(log=log, code=code)), log.parent / "_build")


@pytest.mark.parametrize("code", [0, 3])
def test_many_ask_for_the_book_one_builds_it_and_all_hear_what_it_said(log, code):
    with ThreadPoolExecutor(5) as threads:
        told = list(threads.map(lambda _: book("one", log, code).build(), range(5)))
    assert told == [(code, "said\n")] * 5
    assert log.read_text() == "x"


def test_another_run_builds_again(log):
    for run in ("one", "two", "two"):
        book(run, log).build()
    assert log.read_text() == "xx"


def test_a_build_that_nobody_waits_for_any_more_ends(tmp_path):
    slow = Book("one", (sys.executable, "-c", "import time; time.sleep(600)"), tmp_path)
    slow.begin()
    while slow.process is None:
        time.sleep(0.01)
    slow.end()
    assert slow.process.returncode == -signal.SIGKILL
    while any(thread.name.endswith("(build)") for thread in threading.enumerate()):
        time.sleep(0.01)


def item(name: str, *fixtures: str, page: str = "") -> pytest.Function:
    """A test with these fixtures; the ones that end in _once are those that its module makes once."""
    marks: list[pytest.Mark] = []

    def add_marker(mark):
        marks.append(getattr(pytest.mark, mark) if isinstance(mark, str) else mark)

    scope = lambda fixture: "module" if fixture.endswith("_once") else "function"
    return SimpleNamespace(
        name=name,
        path=Path("tests/test_it.py"),
        fixturenames=fixtures,
        callspec=SimpleNamespace(params={"page": page}),
        _fixtureinfo=SimpleNamespace(name2fixturedefs={f: [SimpleNamespace(scope=scope(f))] for f in fixtures}),
        add_marker=add_marker,
        get_closest_marker=lambda name: next((mark for mark in marks if mark.name == name), None),
    )


def test_what_a_test_asks_for_decides_its_markers_its_turn_and_its_company():
    items = [
        item("reads", "site"),
        item("looks", "seen", "browser", "address", "folder", page="a"),
        item("looks again", "seen", "browser", "address", "folder", page="a"),
        item("opens", "ran", "lab", "folder", page="b"),
        item("counts"),
        item("surveys", "browser"),
        item("trains", "trained_once"),
        item("writes", "written_once"),
        item("trains and draws", "trained_once", "drawn_once"),
    ]
    side_by_side.arrange(items)
    names = [each.name for each in items]
    assert names == [
        "trains",
        "writes",
        "trains and draws",
        "counts",
        "surveys",
        "opens",
        "looks",
        "looks again",
        "reads",
    ]
    marked = {name: [each.name for each in items if each.get_closest_marker(name)] for name in side_by_side.ASKED}
    assert marked == {
        "site": ["opens", "looks", "looks again", "reads"],
        "browser": ["surveys", "opens", "looks", "looks again"],
        "lab": ["opens"],
    }
    groups = {each.name: each.get_closest_marker("xdist_group") for each in items}
    assert {name: mark.args for name, mark in groups.items() if mark} == {
        "trains": ("test_it: drawn_once, trained_once",),
        "writes": ("test_it: written_once",),
        "trains and draws": ("test_it: drawn_once, trained_once",),
        "opens": ("ran: b",),
        "looks": ("seen: a",),
        "looks again": ("seen: a",),
    }
