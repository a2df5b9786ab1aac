"""What takes seconds is left out of the quick run: a test that starts another process says so by what it names."""

from types import SimpleNamespace

import pytest
import side_by_side

FILE = """
import os
import subprocess
from small_book import ROOT, SmallBook as Small, environment

COMMAND = [ROOT, "-m", "it"]
STARTED = [subprocess.run]

def ran(command):
    return subprocess.run(command)

class Shell:
    def answer(self):
        return ran(COMMAND)

@pytest.fixture(scope="module")
def book(tmp_path):
    return Small(tmp_path, {})

@pytest.fixture
def page(book):
    return book.page

def test_runs(): ran(COMMAND)

def test_asks_a_shell(): assert Shell().answer() == 3

def test_reads_a_page(page, tmp_path): ...

def test_goes_through(): list(STARTED)

def test_reads_what_stands(tmp_path): assert COMMAND and environment()

def test_counts(): os.getpid()
"""
STARTING = {"test_runs", "test_asks_a_shell", "test_reads_a_page", "test_goes_through"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "test_it.py"
    path.write_text(FILE)
    return path


def test_a_test_starts_a_process_if_anything_that_it_names_does(file):
    found = side_by_side.starting(file)
    assert {name for name in found if name.startswith("test_")} == STARTING
    assert {"ran", "Shell", "book", "page", "Small"} <= found
    assert not {"ROOT", "environment", "COMMAND"} & found


def test_such_tests_are_long(file, monkeypatch):
    monkeypatch.setattr(side_by_side, "ROOT", file.parent)
    marks: dict[str, set[str]] = {}

    def item(name: str):
        node = f"test_it.py::{name}"
        return SimpleNamespace(
            nodeid=node,
            fixturenames=(),
            add_marker=lambda mark: marks.setdefault(name.partition("[")[0], set()).add(mark),
            get_closest_marker=lambda mark: None,
        )

    names = ["test_runs", "test_asks_a_shell[2-3]", "test_reads_a_page", "test_goes_through", "test_counts"]
    side_by_side.arrange([item(name) for name in (*names, "test_reads_what_stands")])
    assert marks == {name: {"long"} for name in STARTING}


def test_a_building_book_and_a_ring_are_long_and_a_table_of_tests_is_not():
    """Of this repository's own."""
    tests = side_by_side.TESTS
    assert "test_a_ring_is_one_process_cut_up" in side_by_side.starting(tests / "procedures" / "test_ring.py")
    assert "SmallBook" in side_by_side.starting(tests / "small_book.py")
    assert not {"ROOT", "environment", "cell"} & side_by_side.starting(tests / "small_book.py")
