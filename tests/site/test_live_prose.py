"""Numbers in the prose, as JupyterLab fills them: all at once, when the page's last cell has run."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / "book").rglob("*.md") if "{eval}`" in path.read_text(encoding="utf8"))
# A cell's code without its options, or an expression in the prose.
PARTS = re.compile(r"^```\{code-cell\}.*\n(?::.*\n)*((?:.*\n)*?)^```$|\{eval\}`([^`]+)`", re.MULTILINE)


class Bound(ast.NodeVisitor):
    """The names that a cell binds; those of a function's or a comprehension's own are nobody else's."""

    def __init__(self, code: str) -> None:
        self.names: set[str] = set()
        self.visit(ast.parse(code))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self.names.add(node.name)

    visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.AST) -> None:
        pass

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.names.add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self.names.add((node.asname or node.name).split(".")[0])


def used(expression: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}


def overtaken(text: str) -> list[str]:
    """What the prose shows and a later cell binds anew: the site has the first value, JupyterLab the last."""
    expressions: list[tuple[str, int]] = []
    found = []
    for part in PARTS.finditer(text):
        line = text[: part.start()].count("\n") + 1
        if part[2]:
            expressions.append((part[2], line))
            continue
        names = Bound(part[1]).names
        found += [
            f"line {shown}: {expression}; line {line} binds {', '.join(sorted(used(expression) & names))}"
            for expression, shown in expressions
            if used(expression) & names
        ]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "book").as_posix())
def test_a_name_in_the_prose_keeps_its_value_to_the_end_of_the_page(path):
    assert overtaken(path.read_text(encoding="utf8")) == []


CELL = "```{{code-cell}} ipython3\n:tags: [hide-input]\n\n{}\n```\n"


@pytest.mark.parametrize(
    "code",
    [
        "n = 3",
        "n += 1",
        "n, m = 1, 2",
        "for n in range(3):\n    pass",
        "import numpy as n",
        "def n():\n    pass",
        "del n",
    ],
)
def test_a_name_bound_anew_is_seen(code):
    page = CELL.format("n = 2") + "There are {eval}`f'{n:d}'`.\n" + CELL.format(code)
    assert overtaken(page) == ["line 6: f'{n:d}'; line 7 binds n"]


@pytest.mark.parametrize(
    "code", ["m = n", "[n for n in range(3)]", "def f(n):\n    n = 4\n    return n", "lambda n: n", "f(n=3)", "a.n = 3"]
)
def test_a_name_of_a_cells_own_is_not(code):
    assert overtaken(CELL.format("n = 2") + "There are {eval}`n`.\n" + CELL.format(code)) == []


def test_links_to_pages_lead_somewhere_in_jupyterlab_too():
    """There, {doc} leads to a file without its ending, which nobody has; [text](page.md) opens the page."""
    assert not [path.name for path in (ROOT / "book").rglob("*.md") if "{doc}`" in path.read_text(encoding="utf8")]
