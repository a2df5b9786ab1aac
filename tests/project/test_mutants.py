"""`make mutants` takes an hour; what it reads can be checked in no time."""

import sys
import tomllib

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import faults

ARGUED = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text(encoding="utf8"))["equivalent"]


def source(module: str) -> str:
    return (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf8")


@pytest.mark.parametrize("entry", ARGUED, ids=lambda entry: f"{entry['module']}: {entry['becomes']}")
def test_each_argument_is_about_a_statement_that_is_there(entry):
    assert set(entry) == {"module", "line", "becomes", "why"}
    line, becomes = faults.written(entry["line"]), faults.written(entry["becomes"])
    assert line in faults.statements(source(entry["module"]))
    assert line != becomes


def test_no_fault_is_argued_twice():
    argued = [(entry["module"], faults.written(entry["line"]), faults.written(entry["becomes"])) for entry in ARGUED]
    assert len(set(argued)) == len(argued)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x = f(  # why\n    1,\n    2,\n)", ["x = f(1, 2)"]),
        ("if a:\n    b\nelse:\n    c", ["if a:", "b", "c"]),
        ("for i in a:\n    b\n", ["for i in a:", "b"]),
        ("try:\n    a\nexcept B:\n    c\nfinally:\n    d", ["try:", "a", "c", "d"]),
        ("@a\ndef f(x=1):\n    return x", ["@a def f(x=1):", "return x"]),
        ("class A(B):\n    x: int = 1", ["class A(B):", "x: int = 1"]),
    ],
    ids=["wrapped", "if", "for", "try", "def", "class"],
)
def test_statements_are_written_as_python_writes_them_whatever_the_width(code, lines):
    assert faults.statements(code) == lines


@pytest.mark.parametrize(("line", "one"), [("if a:  # why", "if a:"), ("x=(1)", "x = 1"), ("def f(x):", "def f(x):")])
def test_an_argued_line_may_be_written_in_any_way(line, one):
    assert faults.written(line) == one


@pytest.mark.parametrize("line", ["if a:\nb", "a\nb", "return)"])
def test_an_argued_line_is_one_statement(line):
    with pytest.raises(ValueError, match="line must be one statement of Python"):
        faults.written(line)
