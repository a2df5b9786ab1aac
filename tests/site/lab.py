"""A server on Binder, started as the image starts it, and what its kernels are and weigh."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
from binder_image import ROOT, dockerfile, server
from small_book import environment

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import kernels

MIB = 2**20
PATIENCE = 300  # seconds for any one thing
GONE = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)  # a process has ended meanwhile


class Lab:
    """A server, its token, and what its kernels are forked from, for as long as `started` lasts."""

    def __init__(self, process: psutil.Process, address: str, token: str, forks: psutil.Process | None) -> None:
        self.process, self.address, self.token, self.forks = process, address, token, forks

    def ask(self, path: str, method: str = "GET") -> list | dict | None:
        request = Request(f"{self.address}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def session(self, path: str) -> dict | None:
        return next((session for session in self.ask("sessions") if session["path"] == path), None)

    def kernel(self, name: str) -> psutil.Process:
        """The process that Jupyter started for a kernel, or what the fork server made in its place."""
        (started,) = (child for child in self.process.children(recursive=True) if name in " ".join(child.cmdline()))
        if self.forks is None:
            return started
        file = next(word for word in started.cmdline() if word.endswith(f"{name}.json"))
        port = json.loads(Path(file).read_text())["shell_port"]
        return next(child for child in self.forks.children() if port in listened_to(child))


def listened_to(process: psutil.Process) -> list[int]:
    with suppress(*GONE):
        return [one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return []


def held(process: psutil.Process) -> int:
    with suppress(*GONE):
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.uss)  # pages that several processes share count once
    return 0


def most_held(process: psutil.Process) -> int:
    """Bytes that a process held at its peak, shared pages included; 0 where the system does not tell."""
    with suppress(OSError):
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1])
    return 0


def weigh(lab: "Lab", kernel: psutil.Process) -> int:
    """Bytes held by the server, the kernel and what the kernel has started; the kernel's at its peak."""
    started = []
    with suppress(*GONE):
        started = kernel.children(recursive=True)
    return held(lab.process) + (most_held(kernel) or held(kernel)) + sum(map(held, started))


@contextmanager
def fork_server(data: Path, given: dict[str, str]) -> Iterator[psutil.Process]:
    """Kernels that are forked from a process which has imported what pages import, as those of the book's build."""
    folder = tempfile.mkdtemp(prefix="surgeon-")
    kernels.register(data, kernels.forking(folder))
    paths = os.pathsep.join(map(str, (kernels.WITHIN, given["PYTHONPATH"])))
    command = kernels.serving(folder, [*sorted(kernels.PRELOADED), *kernels.LATER])
    server = subprocess.Popen(command, env=given | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, cwd=data)
    try:
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def started(place: Path, *, forked: bool, once: Path | None = None) -> Iterator[Lab]:
    """JupyterLab on a copy of the repository: binder/postBuild has run, and the image's own command starts it.

    Only pip is missing from postBuild, and nothing that this machine's user has configured is read. Unless kernels are
    `forked`, which saves each page the seconds of its imports, they are started as the image starts them. `once` has
    what pages have trained elsewhere.
    """
    book, home, token = place / "book", place / "home", secrets.token_hex(16)
    (home / "bin").mkdir(parents=True)
    book.mkdir()
    for name in ("binder", "book", "surgeon", "_config.yml", "pyproject.toml", "requirements.txt"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, book / name)
    here = Path(sys.executable).parent
    variables = {"HOME": str(home), "PYTHONPATH": str(book), "JUPYTER_CONFIG_DIR": str(home / "config")}
    variables |= {"JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime")}
    variables |= {"IPYTHONDIR": str(home / "ipython"), "PATH": f"{home / 'bin'}:{here}:{os.environ['PATH']}"}
    given = environment(**variables)
    given.pop("OMP_NUM_THREADS", None)
    python = home / "bin" / "python"  # less pip
    python.write_text(f'#!/bin/sh\n[ "$1 $2" = "-m pip" ] || exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    subprocess.run([book / "binder" / "postBuild"], cwd=book, env=given, check=True, capture_output=True)
    python.unlink()
    if forked:
        given["JUPYTER_PATH"] = str(home / "forks")  # what stands there goes before what the environment has
        given["SURGEON_ONCE"] = str(once or home)  # two pages that train the same models do it once, as in a build
    forking = fork_server(home / "forks", given) if forked else nullcontext()
    with forking as forks:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [word.replace("0.0.0.0", "127.0.0.1") for word in server(dockerfile(book), book)]
        command += [f"--port={port}", f"--IdentityProvider.token={token}", "--no-browser", "--allow-root"]
        command += ["--LabApp.expose_app_in_browser=True"] if forked else []
        log = place / "server.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                command, cwd=book, env=given, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            lab = Lab(psutil.Process(process.pid), f"http://127.0.0.1:{port}", token, forks)
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    lab.ask("status")
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(log.read_text()[-3000:]) from None
                    time.sleep(0.1)
            yield lab
        finally:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
                with suppress(*GONE):
                    child.kill()
            with suppress(*GONE):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
