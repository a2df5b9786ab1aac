"""Tests run side by side: the book is built once for all of them, and what shares something stays together."""

import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import side_by_side
from built import Book
from small_book import ROOT, environment

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


SLOW = """import subprocess, sys, time
kernel = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({log!r}, "w").write(str(kernel.pid))
time.sleep({seconds})
"""


@pytest.fixture
def slow(log):
    def slow(seconds: float) -> Book:
        command = (sys.executable, "-c", SLOW.format(log=str(log), seconds=seconds))
        made = Book("one", command, log.parent / "_build")
        made.begin()
        while not log.exists() or not log.read_text():
            time.sleep(0.01)
        return made

    return slow


def test_a_build_that_nobody_waits_for_any_more_ends_with_all_that_it_started(slow, log):
    made = slow(600)
    kernel = psutil.Process(int(log.read_text()))
    made.end()
    assert made.process.returncode == -signal.SIGKILL
    assert not made.thread.is_alive()
    _, alive = psutil.wait_procs([kernel], timeout=20)  # a signal takes its time on a busy machine
    assert not alive or kernel.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_is_done_lets_its_build_come_to_its_end(slow, log):
    made = slow(0.2)
    psutil.Process(int(log.read_text())).kill()
    made.wait()
    assert made.process.returncode == 0
    Book("two", made.command, made.place).end()  # that never began


FILE = """
import pytest

@pytest.fixture(scope="module")
def trained(): ...

@pytest.fixture(scope="module", params=[0, 1])
def drawn(trained): ...

@pytest.fixture(scope="module")
def written(): ...

@pytest.fixture
def line(written): ...

def test_trains(trained): ...

def test_draws(drawn, tmp_path): ...

def test_writes(written): ...

def test_reads_a_line(line, monkeypatch): ...

def test_counts(tmp_path): ...
"""


def test_tests_that_share_what_their_file_makes_once_are_a_family(tmp_path):
    file = tmp_path / "test_it.py"
    file.write_text(FILE)
    learned, written = {"trained", "drawn"}, {"written"}
    assert side_by_side.families(file) == {
        "test_trains": learned,
        "test_draws": learned,
        "test_writes": written,
        "test_reads_a_line": written,
    }
    assert side_by_side.families(tmp_path / "nowhere.py") == {}


EVERY = "tests/site/test_every_page.py"


@pytest.mark.parametrize(
    ("name", "company"),
    [
        (f"{EVERY}::test_axe[book/a-b-desktop, light]", "every_page: book/a-b"),
        (f"{EVERY}::test_every_figure[book/a-b-phone, dark]", "every_page: book/a-b"),
        (f"{EVERY}::test_previous[book/a-b]", "every_page: book/a-b"),
        ("tests/site/test_lab.py::test_runs[book/a-b]", "run: book/a-b"),
        ("tests/site/test_lab.py::test_prose", "tests/site/test_lab.py::test_prose"),
        ("tests/imaging/test_rank.py::test_it[2-3]", "tests/imaging/test_rank.py::test_it[2-3]"),
        ("surgeon/imaging/rank.py::surgeon.imaging.rank.f", "surgeon/imaging/rank.py::surgeon.imaging.rank.f"),
    ],
)
def test_tests_of_a_page_keep_company_and_most_tests_need_none(name, company):
    assert side_by_side.company(name) == company


def item(name: str, *fixtures: str) -> pytest.Item:
    """A test with these fixtures."""
    marks: list[pytest.Mark] = []
    return SimpleNamespace(
        nodeid=f"tests/anatomy/test_it.py::{name}",
        fixturenames=fixtures,
        add_marker=lambda mark: marks.append(getattr(pytest.mark, mark)),
        get_closest_marker=lambda name: next((mark for mark in marks if mark.name == name), None),
    )


def test_what_a_test_asks_for_decides_its_markers_and_its_turn(monkeypatch):
    monkeypatch.setattr(side_by_side, "families", lambda file: {"trains": frozenset({"trained"})})
    items = [
        item("reads", "site"),
        item("looks", "seen", "browser", "address", "folder"),
        item("opens", "ran", "reader", "folder"),
        item("counts"),
        item("surveys", "browser"),
        item("trains", "trained"),
    ]
    side_by_side.arrange(items)
    names = lambda items: [each.nodeid.rpartition("::")[2] for each in items]
    assert names(items) == ["trains", "counts", "surveys", "opens", "reads", "looks"]
    marked = {name: names(each for each in items if each.get_closest_marker(name)) for name in side_by_side.ASKED}
    assert marked == {
        "site": ["opens", "reads", "looks"],
        "browser": ["surveys", "opens", "looks"],
        "lab": ["opens"],
    }


def test_processes_take_whole_companies_in_order(tmp_path):
    """Of the real scheduler: four tests of two families and two of none, on two processes."""
    family = "import os, pytest\n\n@pytest.fixture(scope='module')\ndef made():\n    open('made', 'a').write('x')\n"
    family += "".join(f"\ndef test_{n}(made):\n    pass\n" for n in range(4))
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(family)
    shutil.copy(ROOT / "tests" / "side_by_side.py", tmp_path)
    hooks = (ROOT / "tests" / "conftest.py").read_text()
    hook = re.search(r"^@pytest.hookimpl\(optionalhook=True\)\n(?:.*\n)+?\n\n", hooks, re.MULTILINE)[0]
    root = "side_by_side.ROOT = side_by_side.Path(__file__).parent"
    (tmp_path / "conftest.py").write_text(f"import pytest\nimport side_by_side\n\n{root}\n\n{hook}")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
    assert (tmp_path / "made").read_text() == "xx"
