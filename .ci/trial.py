"""Run tests in a forked child, in a copy of the project: to see what they reach, or whether they notice a fault."""

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
# Hypothesis's own profile for such runs: the same examples every time, and no deadline that a busy machine would miss.
# pytest minds that its plugins were imported before it was.
OPTIONS = (
    *("-q", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-profile=ci", "-m", "not site and not browser"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
MEMORY = 12 * 2**30  # bytes; a fault may ask for everything


def copy(folder: Path) -> None:
    """What the tests need, and nothing that a run could change here."""
    for name in ("surgeon", "tests", "book", "benchmarks", "experiments", "binder", ".ci", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)


def compiled() -> None:
    """Have Python keep, once, what it makes of every module, and pytest what it makes of every test: a child that
    writes nothing reads it, but for what has changed since."""
    import compileall

    import pytest

    sys.dont_write_bytecode = False
    compileall.compile_dir("surgeon", quiet=2)
    compileall.compile_dir("book/_ext", quiet=2)
    pytest.main([*OPTIONS, "--collect-only", "tests"])


def in_a_child(work: Callable[[], object], folder: Path, timeout: float) -> tuple[object, float]:
    """What `work` returned in a child that stands in the copy, or None if the child was ended; and its seconds.

    All that it started ends with it.
    """
    answer = folder.with_name(f"{folder.name}.answer")
    answer.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            silence = os.open(folder.with_name(f"{folder.name}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(silence, number)
            os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(folder))
            try:
                said = {"found": work()}
            except Exception:
                said = {"error": traceback.format_exc()}
            answer.with_suffix(".part").write_text(json.dumps(said), encoding="utf8")
            answer.with_suffix(".part").rename(answer)
        finally:
            os._exit(0)
    process = psutil.Process(child)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() - began > timeout:
            end(process)
            os.waitpid(child, 0)
            break
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    said = json.loads(answer.read_text(encoding="utf8")) if answer.exists() else {"found": None}
    if "error" in said:
        raise RuntimeError(said["error"])
    return said["found"], time.monotonic() - began


def end(process: psutil.Process) -> None:
    """A process and all that descend from it."""
    with suppress(psutil.NoSuchProcess):
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()


class Watch:
    """A plugin that puts tests in order, and keeps how long each took and which one failed first."""

    def __init__(self, turn: Callable[[str], object] = len, context: Callable[[str], None] = lambda name: None) -> None:
        self.turn, self.context = turn, context
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list) -> None:
        items.sort(key=lambda item: self.turn(item.nodeid))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.context(nodeid)

    def pytest_runtest_logreport(self, report) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def reached(tests: Sequence[str], folder: Path) -> dict:
    """Run tests as they are: seconds of each, and by file and line the tests that come there."""
    import coverage
    import pytest

    source = [str(folder / name) for name in ("surgeon", "book/_ext")]
    measure = coverage.Coverage(data_file=None, source=source, config_file=False)
    watch = Watch(context=measure.switch_context)
    measure.start()
    code = pytest.main([*OPTIONS, *tests], plugins=[watch])
    measure.stop()
    data = measure.get_data()
    lines = {}
    for file in data.measured_files():
        found = {line: sorted(set(names) - {""}) for line, names in data.contexts_by_lineno(file).items()}
        lines[str(Path(file).relative_to(folder))] = {line: names for line, names in found.items() if names}
    failed = sorted(set(watch.failed))
    return {"code": int(code), "failed": failed, "seconds": watch.seconds, "lines": lines}


def noticed(tests: Sequence[str], first: Sequence[str], seconds: dict[str, float], but: Sequence[str] = ()) -> str:
    """The test that fails, or what fails before there is one; nothing if all pass. `first` run first, and the quick;
    those in `but` do not run."""
    import pytest

    early = set(first)
    watch = Watch(lambda name: (name not in early, seconds.get(name, 0.0)))
    left_out = [f"--deselect={name}" for name in but]
    code = pytest.main([*OPTIONS, "-x", *left_out, *tests], plugins=[watch])
    return "" if code == pytest.ExitCode.OK else (watch.failed or [f"pytest ends with {int(code)}"])[0]
