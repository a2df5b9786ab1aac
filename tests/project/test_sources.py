"""What can be said of pages and of the README without building the book."""

import re

import pytest
from small_book import ROOT

PAGES = sorted((ROOT / "book").rglob("*.md"))
RUN = [page for page in PAGES if "```{code-cell}" in page.read_text(encoding="utf8")]
WIDTH = 76  # characters: what a page of the site and a notebook's cell show without scrolling

README = (ROOT / "README.md").read_text(encoding="utf8")
MAP = README.partition("## The map")[2].partition("\n## ")[0]


def wide(text: str) -> list[str]:
    """Lines of cells that are too long. A cell's options are none: its label is prose, and wraps."""
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for cell in cells for line in cell.splitlines() if len(line) > WIDTH]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(ROOT / "book").as_posix())
def test_no_line_of_a_cell_is_wide(page):
    assert wide(page.read_text(encoding="utf8")) == []


@pytest.mark.parametrize("before", ["", "%%capture\n", ":tags: [hide-input]\n\n"], ids=["bare", "magic", "options"])
def test_a_wide_line_is_seen(before):
    fits, wider = "# " + "a" * (WIDTH - 2), "# " + "b" * (WIDTH - 1)
    page = f"{'p' * 99}\n\n```{{code-cell}} ipython3\n{before}{fits}\n{wider}\n```\n\n```python\n{wider}\n```\n"
    assert wide(page) == [wider]


def rooms(folder: str) -> set[str]:
    return {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and any(path.glob("*.py"))}


def test_the_map_names_every_room_and_module_of_the_package_from_the_bottom_up():
    named = re.findall(r"^\| `surgeon/(\w+)(?:/|\.py)`", MAP, re.MULTILINE)
    modules = {path.stem for path in (ROOT / "surgeon").glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(rooms("surgeon") | modules)
    assert rooms("surgeon") <= rooms("tests")
    layers = re.search(r"^layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf8"), re.M | re.S)[1]
    height = {room: -n for n, line in enumerate(layers.splitlines()) for room in re.findall(r"\w+", line)}
    assert [height[room] for room in named] == sorted(height[room] for room in named)


def test_the_map_names_every_room_of_the_extension():
    row = next(line for line in MAP.splitlines() if line.startswith("| `book/_ext/surgeon_book/`"))
    assert set(re.findall(r"`(\w+)/`", row)) == rooms("book/_ext/surgeon_book")


def test_what_the_map_names_is_there():
    places = re.findall(r"`([\w.]+/[\w./]*|[\w.]+\.\w{2,4})`", MAP)
    assert len(places) > 15
    inside = ("", "book/_ext/surgeon_book", *(f"surgeon/{room}" for room in ("checkup", "instruments", "practice")))
    assert not [name for name in places if not any((ROOT / folder / name).exists() for folder in inside)]
