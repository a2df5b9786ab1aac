"""Pages read side by side: in which order, with what said, and how results come together."""

import re
import sys
from types import SimpleNamespace

import pytest
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import surgeon_book
from surgeon_book.execution import reading


def test_tasks_start_in_the_order_in_which_they_were_added():
    tasks = reading.FirstIn()
    for name in "abc":
        tasks[name] = name.upper()
    assert [tasks.popitem() for _ in range(3)] == [("a", "A"), ("b", "B"), ("c", "C")]


@pytest.mark.parametrize(
    ("taken", "first"),
    [({}, "later"), ({"early": 30.0, "later": 2.0}, "early")],
    ids=["never built", "built before"],
)
def test_the_pages_that_take_longest_come_first(taken, first):
    order = reading.Reading()
    order.taken = taken
    texts = {"early": "from surgeon.anatomy.masks import x", "later": "from surgeon.ablations.no_mask import x"}
    assert max(texts, key=lambda page: order.expected(page, texts[page])) == first


def test_a_builder_sees_one_line_a_page_and_how_many_are_left(tmp_path):
    pages = {name: f"# {name}\n\n" + cell("1 + 1") for name in ("one", "two", "three")} | {"text": "# Text\n"}
    book = SmallBook(tmp_path, pages, {"__init__.py": ""})
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    said = re.findall(r"^ran book/(\w+) in \d+\.\d s, (\w+) left", build.output, re.MULTILINE)
    assert sorted(page for page, _ in said) == ["one", "three", "two"]
    assert [left for _, left in said] == ["2", "1", "none"]
    assert "inline execution client" not in build.output
    assert "Executed notebook" not in build.output
    loud = book.build(*STRICT, "-v", "--all")
    assert "Executed notebook" in loud.output


def test_what_a_page_says_in_another_process_is_heard(tmp_path):
    """A warning keeps its page and line, and an error of one page does not hide those of another."""
    pages = {name: f"# {name}\n\n" + cell("1 + 1") + "\n{eval}`" + name + "`\n" for name in ("one", "two")}
    build = SmallBook(tmp_path, pages, {"__init__.py": ""}).build(*STRICT)
    assert build.code == 1
    assert {warning.split(":")[0] for warning in build.warnings if "is not defined" in warning} == {"one.md", "two.md"}


def test_a_bar_is_drawn_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(
        reading.sys, "stderr", SimpleNamespace(isatty=lambda: True, write=lambda text: None, flush=lambda: None)
    )
    progress = reading.Progress(2, 1)
    assert progress.bar is not None
    progress.done("a", 1.0)
    progress.done("b", None)
    assert progress.bar.n == 1
    progress.end()


def test_sphinx_is_told_what_may_be_done_side_by_side(monkeypatch):
    """To whoever asks it for processes of its own, by -j."""
    monkeypatch.setattr(surgeon_book, "SUBJECTS", ())
    said = surgeon_book.setup(None)
    assert (said["parallel_read_safe"], said["parallel_write_safe"]) == (True, False)
    assert isinstance(said["env_version"], int)
