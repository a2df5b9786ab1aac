"""`make mutants` takes minutes; what it reads can be checked in no time."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARGUED = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text(encoding="utf8"))["equivalent"]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["tool"]["mutmut"]


def test_what_is_changed_and_what_must_notice_are_there():
    for name in SETTINGS["only_mutate"] + SETTINGS["pytest_add_cli_args_test_selection"]:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("entry", ARGUED, ids=lambda entry: f"{entry['module']}: {entry['becomes']}")
def test_each_argument_is_about_a_line_that_is_there(entry):
    assert set(entry) == {"module", "line", "becomes", "why"}
    assert f"surgeon/{entry['module'].replace('.', '/')}.py" in SETTINGS["only_mutate"]
    lines = (ROOT / f"surgeon/{entry['module'].replace('.', '/')}.py").read_text(encoding="utf8").splitlines()
    assert entry["line"] in [line.strip() for line in lines]
    assert entry["line"] != entry["becomes"]


def test_no_fault_is_argued_twice():
    faults = [(entry["module"], entry["line"], entry["becomes"]) for entry in ARGUED]
    assert len(set(faults)) == len(faults)
