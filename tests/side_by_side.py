"""How tests run side by side: what a test asks for says what it is, when its turn is, and who keeps it company."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

# By the fixtures that a test asks for, itself or through others. What is marked with none is a unit test.
ASKED = {"site": {"site", "folder"}, "browser": {"browser", "reader"}, "lab": {"reader"}}
# What starts another process, if a test names it, itself or through what its file defines or has from its neighbours.
PROCESSES = frozenset({"subprocess", "multiprocessing"})
TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
# One look at a page serves all tests of it, which have its name in theirs; and so does one run of it.
BY_PAGE = re.compile(r"tests/site/test_(?:(every_page)|lab)\.py::\w+\[(.*?)(?:-(?:desktop|phone), \w+)?\]")
# A file that makes nothing once for several tests need not be read as code, which takes seconds for all.
ONCE = re.compile(r"scope=.module")
# Nor need one that names nothing that starts a process, and has nothing of a neighbour that does.
STARTS = re.compile("|".join(PROCESSES))
NEIGHBOURS = re.compile(r"^from (\w+) import", re.MULTILINE)


def arrange(items: list[pytest.Item]) -> None:
    """Mark tests, and sort them."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for marker in (name for name, fixtures in ASKED.items() if fixtures & asked):
            item.add_marker(marker)
        file, _, test = item.nodeid.partition("::")
        if file.endswith(".py") and test.partition("[")[0] in starting(ROOT / file):
            item.add_marker("long")
    items.sort(key=turn)


def turn(item: pytest.Item) -> tuple[bool, bool, bool]:
    """Tests that need no site come first, while it is built, and of these, the ones that share something that takes
    long to make; then what takes longest. The sort is stable: otherwise a file's order stands."""
    needs_site, in_lab = (item.get_closest_marker(name) is not None for name in ("site", "lab"))
    return needs_site, not in_lab, company(item.nodeid) == item.nodeid


def company(name: str) -> str:
    """Tests with the same company run in one process, one after the other; its own name, if a test needs none."""
    by_page = BY_PAGE.match(name)
    if by_page:
        return f"{by_page[1] or 'run'}: {by_page[2]}"
    file, _, test = name.partition("::")
    shared = families(ROOT / file).get(test.partition("[")[0]) if file.endswith(".py") else None
    return f"{file}: {', '.join(sorted(shared))}" if shared else name


@cache
def text_of(file: Path) -> str:
    return file.read_text(encoding="utf8") if file.exists() else ""


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(text_of(file))


@cache
def starting(file: Path) -> frozenset[str]:
    """What starts another process, of all that a file of tests defines or imports from a file beside it."""
    neighbours = NEIGHBOURS.findall(text_of(file))
    if not STARTS.search(text_of(file)) and not any(starting(TESTS / f"{name}.py") for name in neighbours):
        return frozenset()
    found: set[str] = set()
    for node in parsed(file).body:
        if isinstance(node, ast.Import):
            found |= {each.asname or each.name for each in node.names if each.name in PROCESSES}
        if isinstance(node, ast.ImportFrom):
            theirs = {each.name for each in node.names} & starting(TESTS / f"{node.module}.py")
            theirs |= {each.name for each in node.names if node.module in PROCESSES}
            found |= {each.asname or each.name for each in node.names if each.name in theirs}
    uses: dict[str, set[str]] = {}
    for node in parsed(file).body:
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            uses[node.name] = names | {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
        if isinstance(node, ast.Assign):
            uses |= {each.id: names for each in node.targets if isinstance(each, ast.Name)}
    while more := {name for name, names in uses.items() if names & found} - found:
        found |= more
    return frozenset(found)


@cache
def families(file: Path) -> dict[str, frozenset[str]]:
    """By test, what its file makes once for several tests; fixtures that one test asks for together are one family."""
    if not ONCE.search(text_of(file)):
        return {}
    tree = parsed(file)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    decorated = {name: [ast.unparse(each) for each in node.decorator_list] for name, node in functions.items()}
    fixtures = {name for name, texts in decorated.items() if any("pytest.fixture" in text for text in texts)}
    once = {name for name in fixtures if any("scope='module'" in text for text in decorated[name])}

    def asked(name: str) -> set[str]:
        names = {argument.arg for argument in functions[name].args.args}
        return names.union(*(asked(each) for each in names & fixtures - {name}))

    alone = {name: asked(name) & once for name in functions if name.startswith("test_")}
    found: list[set[str]] = []
    for names in alone.values():
        theirs = [family for family in found if family & names]
        found = [family for family in found if family not in theirs] + [names.union(*theirs)]
    return {
        test: next(frozenset(family) for family in found if family >= names) for test, names in alone.items() if names
    }
