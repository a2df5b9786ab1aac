"""Kernels that are forked: a page cannot tell, and nothing is left of them."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jupyter_client
import psutil
import pytest
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import kernels
from surgeon_book.execution.within import forkserver

needs_fork = pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are not forked here")
TELL = """import json, os, sys, random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, torch, matplotlib
state = {
    "random": random.random(), "numpy": float(np.random.rand()), "torch": float(torch.rand(1)),
    "seeded": float(torch.rand(1, generator=torch.Generator().manual_seed(3))), "threads": torch.get_num_threads(),
    "folder": os.getcwd(), "main": __name__, "arguments": sys.argv[:1], "path": sys.path[:3],
    "backend": matplotlib.get_backend(), "environment": sorted(os.environ), "leads": os.getsid(0) == os.getpid(),
    "debugged": "debugpy" in sys.modules,
}
json.dump(state, Path("..", f"{NAME}-{os.environ['MODE']}.json").open("w"))
print(state["seeded"])
"""


def alive(folder: str) -> list[psutil.Process]:
    """Processes of a build: whatever names its book's folder in its command, or works in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if folder in " ".join(process.cmdline()) or process.cwd().startswith(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def ends(folder: str, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(folder)


@pytest.mark.parametrize("fork", ["1", "0"], ids=["forked", "new"])
def test_a_kernel_is_talked_to_through_files_that_are_gone_afterwards(tmp_path, fork):
    """A port that was free when it was chosen may be taken when the kernel comes to it."""
    code = "import ipykernel\nopen('../told.json', 'w').write(ipykernel.get_connection_info());"
    book = SmallBook(tmp_path / "book", {"page": "# Page\n\n" + cell(code)}, {"__init__.py": ""})
    places = tmp_path / "places"
    places.mkdir()
    build = book.build(*STRICT, SURGEON_FORK=fork, TMPDIR=str(places))
    assert build.code == 0, build.output
    told = json.loads((book.root / "told.json").read_text())
    assert told["transport"] == "ipc"
    assert told["ip"].startswith(str(places))
    assert list(places.rglob("*")) == []
    assert "--existing" not in build.output  # what a kernel tells that somebody started by hand


@needs_fork
def test_a_page_cannot_tell_that_its_kernel_was_forked(tmp_path):
    """The same site, byte for byte; and what a page may ask of its process is as in a new one."""
    pages = {name: f"# {name}\n\n" + cell(f"NAME = {name!r}\n{TELL}") for name in ("one", "two")}
    sites, told = {}, {}
    for mode, fork in [("forked", "1"), ("new", "0")]:
        book = SmallBook(tmp_path / mode, pages, {"__init__.py": ""})
        build = book.build(*STRICT, SURGEON_FORK=fork, MODE=mode)
        assert build.code == 0, build.output
        sites[mode] = book.site()
        files = {name: book.root / f"{name}-{mode}.json" for name in pages}
        told[mode] = {name: json.loads(file.read_text()) for name, file in files.items()}
        assert ends(str(book.root))
    assert sites["forked"] == sites["new"]
    for name in pages:
        forked, new = told["forked"][name], told["new"][name]
        for alike in ("seeded", "threads", "main", "backend", "leads"):
            assert forked[alike] == new[alike], alike
        assert forked["arguments"] == new["arguments"]
        debugger = {"PYDEVD_USE_FRAME_EVAL"}  # is set where a debugger is imported, as each new kernel does
        assert {*new["environment"]} - debugger ^ {*forked["environment"]} == {"SURGEON_KERNELS"}
        assert not forked["debugged"]
        assert forked["folder"] == str(tmp_path / "forked" / "book")
    for chance in ("random", "numpy", "torch"):
        assert told["forked"]["one"][chance] != told["forked"]["two"][chance], chance


@needs_fork
def test_a_cell_that_takes_too_long_is_interrupted_as_ever(tmp_path):
    slow = cell(
        "import time\ntry:\n    time.sleep(100)\nexcept KeyboardInterrupt:\n    open('../interrupted', 'w')\n    raise"
    )
    book = SmallBook(tmp_path, {"slow": f"# Slow\n\n{slow}"}, {"__init__.py": ""})
    config = (tmp_path / "_config.yml").read_text()
    book.write("_config.yml", config.replace("timeout: 120", "timeout: 2"))
    build = book.build(*STRICT)
    assert build.code == 1
    line = book.line("slow", "import time") - 1
    assert [w for w in build.warnings if w.startswith(f"slow.md:{line}: ") and "ran for more than 2 s" in w]
    assert ends(str(tmp_path))


@needs_fork
@pytest.mark.parametrize("whom", ["all", "the build alone"])
def test_a_build_that_is_killed_leaves_no_process(tmp_path, whom):
    wait = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
    page = cell(f"{wait}open('../runs', 'w')\ntime.sleep(300)")
    book = SmallBook(tmp_path, {"a": f"# A\n\n{page}", "b": f"# B\n\n{page}"}, {"__init__.py": ""})
    build = book.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (tmp_path / "runs").exists()
    assert len(alive(str(tmp_path))) >= 3  # the build, the server, a kernel
    build.kill() if whom == "all" else os.kill(build.process.pid, signal.SIGKILL)
    build.process.join()
    assert ends(str(tmp_path)), [process.cmdline() for process in alive(str(tmp_path))]


# ---- The server alone ------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """A server that has imported nothing; it asks for no kernel of IPython's, but runs what the test gives it."""
    farewell = tmp_path.with_name(f"{tmp_path.name}-farewell")  # what a Python that leaves in its own time writes
    program = f"import atexit, sys, forkserver\natexit.register(lambda: open({str(farewell)!r}, 'w'))\n"
    program += f"forkserver.serve({str(tmp_path)!r}, ['cycler'])\n"
    environment = os.environ | {"PYTHONPATH": str(kernels.WITHIN)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    deadline = time.monotonic() + 30
    while not os.path.exists(forkserver.address(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield process
    process.terminate()
    assert process.wait(20) == 0
    assert not tmp_path.exists()  # it leaves nothing
    assert not farewell.exists()  # and at once


@needs_fork
def test_where_the_server_does_not_answer_a_kernel_is_started_as_any_is(tmp_path):
    """The stand-in becomes a kernel itself: here one that only says which version it is of."""
    command = [sys.executable, "-I", "-S", kernels.WITHIN / "kernel.py", str(tmp_path), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.strip().replace(".", "").isalnum()


@needs_fork
def test_the_server_starts_kernels_and_tells_how_they_ended(server, tmp_path):
    command = [sys.executable, "-I", "-S", kernels.WITHIN / "kernel.py", str(tmp_path), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.strip()  # it wrote to the stream of whoever asked
    refused = subprocess.run([*command[:-1], "--no-such-option=1", "-f"], capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0


# ---- Preparation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "given"), [(None, "1"), ("2", "2")], ids=["unsaid", "said"])
def test_a_page_runs_on_one_thread_unless_its_builder_says_otherwise(monkeypatch, tmp_path, asked, given):
    for variable in ("JUPYTER_PATH", "PYTHONPATH", "SURGEON_KERNELS", "SURGEON_ONCE", "SURGEON_SITE"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    prepared = kernels.Kernels()
    prepared.prepare(SimpleNamespace(doctreedir=tmp_path))
    prepared.stop(None, None)
    spec = json.loads((tmp_path / "kernels/kernels/python3/kernel.json").read_text())
    assert os.environ["OMP_NUM_THREADS"] == given
    assert spec["argv"][0] == sys.executable


@pytest.mark.parametrize("named", ["", "mine", "."], ids=["the build's own", "somebody's", "one that is there"])
def test_what_pages_compute_once_goes_with_the_build_unless_its_builder_names_a_folder(monkeypatch, tmp_path, named):
    for variable in ("JUPYTER_PATH", "PYTHONPATH", "SURGEON_KERNELS", "SURGEON_ONCE", "SURGEON_SITE"):
        monkeypatch.setenv(variable, "")
    if named:
        monkeypatch.setenv("SURGEON_ONCE", str(tmp_path / named))
    prepared = kernels.Kernels()
    prepared.prepare(SimpleNamespace(doctreedir=tmp_path))
    place = Path(os.environ["SURGEON_ONCE"])
    (place / "result").write_text("7")
    prepared.stop(None, None)
    assert (place / "result").exists() == bool(named)


@pytest.mark.parametrize(
    ("fork", "asked", "number"),
    [("1", "3", 3), ("1", "0", 1), ("0", "3", 1), ("1", "many", len(os.sched_getaffinity(0)))],
)
def test_as_many_pages_run_as_there_are_cores_unless_somebody_says_otherwise(monkeypatch, fork, asked, number):
    monkeypatch.setattr(kernels, "CAN_FORK", True)
    monkeypatch.setenv("SURGEON_FORK", fork)
    monkeypatch.setenv("SURGEON_JOBS", asked)
    assert kernels.jobs() == number


def test_parts_of_scipy_that_the_package_imports_are_there_before_a_page_asks():
    """Each of them takes longer than most pages' figures, and some twenty pages want the same."""
    lines = [line for file in (ROOT / "surgeon").rglob("*.py") for line in file.read_text("utf8").splitlines()]
    wanted = {line.split()[1] for line in lines if line.startswith("from scipy.")}
    assert "scipy.stats" in wanted
    assert wanted <= {*forkserver.PARTS.values(), *kernels.LATER}


def test_what_every_kernel_and_most_pages_import_is_there_before():
    program = """import sys, forkserver
forkserver.preload(["pandas"])
before = {*sys.modules}
from ipykernel.ipkernel import IPythonKernel
IPythonKernel()
import pandas
pandas.DataFrame({"a": [1]}).style.format("{:.1f}")
print(*({*sys.modules} - before))
"""
    environment = os.environ | {"PYTHONPATH": str(kernels.WITHIN)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert not {"ipykernel.debugger", "debugpy", "jinja2", "pandas.io.formats.style"} & {*done.stdout.split()}


def test_the_end_of_a_kernel_is_looked_for_more_often_than_jupyter_does(monkeypatch):
    asked = []

    async def finish(self, waittime, pollinterval, restart):
        asked.append(pollinterval)

    usual = inspect.signature(jupyter_client.KernelManager._async_finish_shutdown).parameters["pollinterval"].default
    monkeypatch.setattr(jupyter_client.KernelManager, "_async_finish_shutdown", finish)
    with ThreadPoolExecutor() as thread:  # where no other test's browser has its loop
        thread.submit(lambda: asyncio.run(kernels.Local()._async_finish_shutdown(restart=False))).result()
    assert asked[0] < usual
