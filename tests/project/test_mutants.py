"""`make mutants` takes an hour; what it reads can be checked in no time."""

import gzip
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from small_book import ROOT, environment

sys.path.insert(0, str(ROOT / ".ci"))
import faults
import mutants

ARGUED = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text(encoding="utf8"))["equivalent"]


def source(module: str) -> str:
    return (ROOT / mutants.modules()[module]).read_text(encoding="utf8")


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


# Which faults, and whose tests must notice


def test_every_module_has_tests_that_are_there():
    paths = mutants.modules()
    assert {"surgeon.anatomy.softmax", "surgeon.checkup.__main__", "surgeon_book.execution.fingerprints"} <= set(paths)
    for module, path in paths.items():
        assert (ROOT / path).is_file()
        assert all((ROOT / name).exists() for name in mutants.guards(module)), module


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("surgeon.procedures.online", ("tests/procedures/test_online.py",)),
        ("surgeon.recording.marks", ("tests/recording",)),
        ("surgeon.arguments", ("tests/test_arguments.py",)),
        ("surgeon.models.cut_attention", ("tests/models",)),
        ("surgeon_book.page.glossary", ("tests/site/test_reference.py",)),
        (
            "surgeon_book.execution.within.forkserver",
            tuple(f"tests/extension/test_{n}.py" for n in ("kernels", "fingerprints")),
        ),
        ("surgeon_book.page.corners", ("tests/extension",)),
    ],
)
def test_a_module_is_guarded_by_its_own_tests_or_its_folders_or_those_that_are_named(module, tests):
    assert mutants.guards(module) == tests


def test_tests_are_files_those_in_folders_too(tmp_path):
    for name in ("a/test_one.py", "a/b/test_two.py", "a/b/helper.py", "test_three.py"):
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / name).touch()
    found = mutants.files(("tests/a", "tests/test_three.py", "tests/a/test_one.py"), tmp_path)
    assert found == ["tests/a/b/test_two.py", "tests/a/test_one.py", "tests/test_three.py"]


def test_a_module_is_a_test_of_itself_if_it_has_examples(tmp_path):
    """A program that is imported to look for some would run."""
    for name, text in (("shown.py", 'def f():\n    """>>> f()"""\n'), ("program.py", "run()\n")):
        (tmp_path / name).write_text(text)
    assert mutants.examples(Path("shown.py"), tmp_path) == ["shown.py"]
    assert mutants.examples(Path("program.py"), tmp_path) == []


def test_files_that_come_to_a_fault_run_first_and_then_the_others(tmp_path):
    """What is kept of a file's tests are lines of many modules; of those, the fault's are asked for."""
    fault = faults.Fault(module="m", code="", line="", becomes="", lines=range(3, 5))
    kept = {"code": 0, "failed": [], "seconds": {}, "whole": 2.0, "lines": {}}
    near = kept | {"lines": {"m.py": {"1": ["near.py::a"], "4": ["near.py::b"]}, "other.py": {"4": ["near.py::c"]}}}
    known = {}
    for name, each in {"far.py": kept, "near.py": near, "m.py": kept | {"seconds": {"m.py::m": 0.1}}}.items():
        with gzip.open(tmp_path / name, "wt") as file:
            json.dump(each, file)
        known[name] = mutants.facts(tmp_path / name, {"m.py": {"3", "4"}})
    assert known["near.py"]["lines"] == {"m.py": {"4": ["near.py::b"]}}
    trying = mutants.trying(fault, "m.py", known)
    assert (trying.first, trying.whole) == (["m.py::m", "near.py::b"], 6.0)
    assert trying.rounds() == [["near.py", "m.py"], ["far.py"]]


@pytest.mark.parametrize(
    ("at", "module", "asked"),
    [
        (1, "surgeon.m", [["near.py"], ["far.py"]]),
        (2, "surgeon.m", [["near.py"], ["far.py"]]),
        (3, "surgeon.m", [["near.py"]]),
        (3, "surgeon_book.m", [["near.py"], ["far.py"]]),
    ],
)
def test_what_is_in_a_function_is_noticed_by_whom_it_is_called(at, module, asked):
    """Its first line is no part of it: defaults are computed when the module is read. The extension has children."""
    code = "SIZE = 7\ndef f(x=SIZE):\n    return x + 1\n"
    fault = faults.Fault(module=module, code=code, line="", becomes="", lines=range(at, at + 1))
    trying = mutants.Trying(fault, "m.py", ["near.py", "far.py"], ["near.py::a"], {}, 1.0, [])
    assert trying.rounds() == asked
    assert mutants.Trying(fault, "m.py", ["far.py"], [], {}, 1.0, []).rounds() == [["far.py"]]


def test_who_reads_a_module_may_notice_what_nobody_calls(monkeypatch):
    monkeypatch.setitem(mutants.SETTINGS, "readers", ["reader.py"])
    fault = faults.Fault(module="surgeon.m", code="def f():\n    return 1\n", line="", becomes="", lines=range(2, 3))
    tests = ["near.py", "far.py", "reader.py"]
    assert mutants.Trying(fault, "m.py", tests, ["near.py::a"], {}, 1.0, []).rounds() == [["near.py", "reader.py"]]
    assert mutants.Trying(fault, "m.py", tests, [], {}, 1.0, []).rounds() == [["reader.py"], ["near.py", "far.py"]]


def test_what_is_known_of_tests_is_forgotten_when_code_changes(monkeypatch):
    before = mutants.known("tests/test_look.py")
    assert before == mutants.known("tests/test_look.py") != mutants.known("tests/test_arguments.py")
    monkeypatch.setattr(mutants, "digest", lambda *names: "changed")
    assert mutants.known("tests/test_look.py") != before


def test_what_tests_are_named_for_is_a_module_or_holds_some():
    names = mutants.modules()
    lost = [
        named for named in mutants.SETTINGS["tests"] if not any(f"{name}.".startswith(f"{named}.") for name in names)
    ]
    assert lost == []


def test_a_module_without_tests_is_said_to_have_none():
    with pytest.raises(LookupError, match=r"surgeon\.nowhere has no tests"):
        mutants.guards("surgeon.nowhere")


@pytest.mark.parametrize(
    ("sizes", "number", "expected"),
    [
        ({"a": 5, "b": 2, "c": 3}, 40, {"a": 5, "b": 2, "c": 3}),
        ({"a": 100, "b": 300}, 40, {"a": 10, "b": 30}),
        ({"a": 1, "b": 1, "c": 1000}, 10, {"a": 1, "b": 1, "c": 8}),
    ],
    ids=["more than there are", "by size", "one each at least"],
)
def test_a_sample_is_split_by_size(sizes, number, expected):
    assert faults.shares(sizes, number) == expected


@pytest.mark.parametrize("number", [1, 97, 600, 1500])
def test_no_fault_of_a_sample_is_lost_in_rounding(number):
    sizes = {f"m{n}": n * n % 97 + 1 for n in range(60)}
    given = faults.shares(sizes, number)
    assert sum(given.values()) == number
    assert all(0 <= given[name] <= size for name, size in sizes.items())


def result(**others) -> mutants.Result:
    return mutants.Result(
        **{
            "module": "surgeon.procedures.online",
            "line": "a",
            "becomes": "b",
            "at": 1,
            "by": "",
            "slow": False,
            "seconds": 1.0,
            "code": "c",
            "tests": mutants.digest("tests/procedures/test_online.py"),
        }
        | others
    )


def test_what_was_noticed_stays_so_and_what_was_not_is_tried_again_when_its_tests_change(monkeypatch, tmp_path):
    assert result(by="a test", tests="others").holds()
    assert result(slow=True, tests="others").holds()
    assert result().holds()
    assert not result(tests="others").holds()

    monkeypatch.setattr(mutants, "RESULTS", tmp_path / "results")
    assert mutants.kept() == {}
    lines = [json.dumps(result(code=code, by=by).__dict__) for code, by in [("x", ""), ("y", ""), ("x", "a test")]]
    mutants.RESULTS.write_text("\n".join([*lines, lines[0][:40]]))  # the last one was cut off
    assert {code: found.by for code, found in mutants.kept().items()} == {"x": "a test", "y": ""}


def test_the_table_counts_what_was_noticed_argued_and_left_open():
    found = [
        result(by="a test"),
        result(slow=True),
        result(),
        result(line="argued"),
        result(module="surgeon.models.cuts"),
    ]
    sizes = {"surgeon.procedures.online": 40, "surgeon.models.cuts": 2}
    rows = [
        line.split()
        for line in mutants.table(found, sizes, {("surgeon.procedures.online", "argued", "b")}).splitlines()
    ]
    assert rows == [
        ["module", "faults", "tried", "noticed", "slow", "argued", "open"],
        ["surgeon.models.cuts", "2", "1", "0", "0", "0", "1"],
        ["surgeon.procedures.online", "40", "4", "2", "1", "1", "1"],
        ["all", "42", "5", "2", "1", "1", "2"],
    ]


def test_names_choose_modules():
    paths = mutants.modules()
    assert mutants.chosen([], paths) == mutants.chosen(["all"], paths) == paths
    assert set(mutants.chosen(["imaging.rank"], paths)) == {"surgeon.imaging.rank"}
    assert set(mutants.chosen(["imaging", "surgeon_book.theme.styles"], paths)) == {
        *(name for name in paths if name.startswith("surgeon.imaging.")),
        "surgeon_book.theme.styles",
    }
    with pytest.raises(SystemExit, match=r"There is no module imaging\.ran\."):
        mutants.chosen(["imaging.ran"], paths)


# A trial, in a copy that holds one module, its example and three tests

PACKAGE = {
    "surgeon/__init__.py": "",
    "surgeon/one.py": "def one():\n    '''\n    >>> one()\n    1\n    '''\n    return 1\n",
    "surgeon/two.py": "from surgeon.one import one\n\n\ndef two():\n    return one() + one()\n",
    "tests/test_two.py": """
import time
from surgeon.one import one
from surgeon.two import two
def test_slow():
    time.sleep(0.3)
    assert two() == 2
def test_other():
    assert one() in (1, 2)
def test_quick():
    assert two() == 2
""",
    "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
}
TRY = """
import json, sys
from pathlib import Path
sys.path.insert(0, {ci!r})
import trial
print(json.dumps(trial.in_a_child(lambda: {work}, Path({folder!r}), {timeout})))
"""


@pytest.fixture
def attempt(tmp_path):
    folder = tmp_path / "copy"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def attempt(work: str, timeout: float = 100, **changed: str):
        for name, text in changed.items():
            (folder / f"surgeon/{name}.py").write_text(text)
        script = TRY.format(ci=str(ROOT / ".ci"), work=work, folder=str(folder), timeout=timeout)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return attempt


NOTICED = "trial.noticed(['tests', 'surgeon/two.py'], {first}, {{'tests/test_two.py::test_slow': 0.3}})"
WRONG = "def two():\n    return 3\n"


@pytest.mark.parametrize(
    ("first", "by"),
    [([], "test_quick"), (["tests/test_two.py::test_slow"], "test_slow")],
    ids=["the quick", "those that come to the line"],
)
def test_a_fault_is_noticed_by_the_test_that_runs_first(attempt, first, by):
    assert attempt(NOTICED.format(first=first))[0] == ""
    assert attempt(NOTICED.format(first=first), two=WRONG)[0] == f"tests/test_two.py::{by}"


def test_what_was_compiled_before_is_not_what_a_fault_is_read_from(attempt, tmp_path):
    (tmp_path / "copy/book/_ext").mkdir(parents=True)
    attempt("trial.compiled()")
    assert {path.name.split(".")[0] for path in (tmp_path / "copy").rglob("*.pyc")} == {
        "__init__",
        "one",
        "two",
        "test_two",
    }
    assert attempt(NOTICED.format(first=[]), two=WRONG)[0] == "tests/test_two.py::test_quick"


def test_a_test_that_fails_without_the_fault_notices_nothing(attempt):
    but = [f"tests/test_two.py::test_{name}" for name in ("slow", "quick")]
    work = NOTICED.format(first=[]).removesuffix(")") + f", {but})"
    assert attempt(work, two=WRONG)[0] == ""
    assert attempt(work, one="def one():\n    return 3\n")[0] == "tests/test_two.py::test_other"


def test_a_fault_that_no_module_survives_is_noticed(attempt):
    assert attempt(NOTICED.format(first=[]), two="two = 1 / 0\n")[0] == "tests/test_two.py"


def test_a_fault_that_never_ends_is_ended(attempt):
    found, seconds = attempt(NOTICED.format(first=[]), timeout=5, two="def two():\n    while True: pass\n")
    assert found is None
    assert 5 <= seconds < 20


def test_a_mistake_of_ours_is_not_taken_for_a_test_that_noticed(attempt):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        attempt("1 / 0")


def test_which_tests_come_to_a_line_is_seen(attempt):
    coverage = pytest.importorskip("coverage", reason="make mutants installs it")
    place = str(Path(coverage.__file__).parents[1])
    found, _ = attempt(f"sys.path.append({place!r}) or trial.reached(['tests', 'surgeon/one.py'], Path.cwd())")
    slow, other, quick = (f"tests/test_two.py::test_{name}" for name in ("slow", "other", "quick"))
    assert (found["code"], found["failed"]) == (0, [])
    assert found["seconds"][slow] >= 0.3
    assert found["lines"]["surgeon/two.py"] == {"5": [quick, slow]}
    assert set(found["lines"]["surgeon/one.py"]["6"]) == {slow, other, quick, "surgeon/one.py::surgeon.one.one"}


# mutmut's operators

CODE = '''N = 20


@property
def f(self):
    """Not "this"."""
    return self + N  # why


def g(x: int = 1):
    return f(x, None)
'''


@pytest.fixture
def module():
    pytest.importorskip("mutmut", reason="make mutants installs it")
    return faults.Module("surgeon.f", CODE)


def test_constants_decorated_functions_and_defaults_have_faults_and_what_is_said_has_none(module):
    found = {(fault.line, fault.becomes, fault.lines.start) for fault in module.faults(range(len(module.mutations)))}
    assert found == {
        ("N = 20", "N = None", 1),
        ("N = 20", "N = 21", 1),
        ("return self + N", "return self - N", 7),
        ("def g(x: int=1):", "def g(x: int=2):", 10),
        ("return f(x, None)", "return f(None, None)", 11),
        ("return f(x, None)", "return f(None)", 11),
        ("return f(x, None)", "return f(x)", 11),
    }


def test_a_sample_is_the_same_for_a_seed_and_grows_by_adding(module):
    drawn = [list(faults.sample(module, number, seed)) for number, seed in [(3, 0), (3, 0), (5, 0), (99, 0), (5, 1)]]
    assert drawn[0] == drawn[1] == drawn[2][:3]
    assert len(drawn[3]) == 7
    assert drawn[4] != drawn[2]
