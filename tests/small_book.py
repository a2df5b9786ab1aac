"""Books small enough to build in seconds, with the real _config.yml and the real extension."""

import atexit
import compileall
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import ClassVar

from small_book_build import build

ROOT = Path(__file__).resolve().parents[1]
STRICT = ("-W", "-n", "--keep-going")
FRONT = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""
# The part of the package that pages speak with, for a book whose package is another.
SPEAKING = {
    f"book/{name}.py": (ROOT / f"surgeon/book/{name}.py").read_text() for name in ("__init__", "bound", "page", "parts")
}
# Of the book's sources, two: to read all takes a tenth of a second of each build.
SOURCES = "".join(
    re.findall(
        r"^@\w+\{(?:vaswani2017|dao2022),.*?^\}\n",
        (ROOT / "book" / "references.bib").read_text(encoding="utf8"),
        re.MULTILINE | re.DOTALL,
    )
)
OF_THE_THEME = ("styles.pickle", "templates/*", "icons/*")  # beside the doctrees
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def cell(code: str) -> str:
    return f"```{{code-cell}} ipython3\n{code}\n```\n"


def environment(**variables: str) -> dict[str, str]:
    """As a new user has it: nothing says where surgeon is, or which repository this is."""
    ours = ("PYTHONPATH", "JUPYTER_PATH", "GITHUB_REPOSITORY")
    return {name: value for name, value in os.environ.items() if name not in ours} | variables


# Jupyter Book takes longer to import than a small book to build: builds are forked from a process that has imported it.
@cache
def forks() -> multiprocessing.context.ForkServerContext:
    """That process finds our modules by PYTHONPATH alone, and keeps no other variable of ours."""
    context = multiprocessing.get_context("forkserver")  # where systems fork
    context.set_forkserver_preload(["small_book_imports"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


@cache
def paths() -> list[str]:
    """Where a Python of this environment looks for modules, when nobody tells it to look elsewhere."""
    command = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.path))"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Running:
    """A build under way, in a session of its own."""

    def __init__(self, arguments: list[str], folder: Path, variables: dict[str, str]) -> None:
        handle, name = tempfile.mkstemp()
        os.close(handle)
        self.log = Path(name)
        self.process = forks().Process(target=build, args=(arguments, str(folder), variables, paths(), name))
        self.process.start()

    def runs(self) -> bool:
        return self.process.is_alive()

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(f"The build took more than {timeout} s: {self.log.read_text()[-3000:]}")
        return self.process.exitcode

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # should it have no session yet
        self.process.join()

    def said(self) -> str:
        return COLOUR.sub("", self.log.read_text())


@dataclass
class Build:
    code: int
    output: str

    @property
    def warnings(self) -> list[str]:
        """'page.md:line: text' of each."""
        return re.findall(r"^.*/book/(\S+: WARNING: .*)$", self.output, re.MULTILINE)


@cache
def extension() -> Path:
    """A copy of the extension, compiled: to do that in each build takes a tenth of a second."""
    folder = Path(tempfile.mkdtemp(prefix="extension-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(ROOT / "book" / "_ext", folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    compileall.compile_dir(folder, quiet=2)
    return folder


class SmallBook:
    """A book in a folder of its own. Unless it is to be built cold, its first build is given what the first book's has
    made of the theme, which is the same for all: it takes as long as all else that such a build does."""

    made: ClassVar[dict[str, bytes]] = {}

    def __init__(self, root: Path, pages: dict[str, str], package: dict[str, str], *, cold: bool = False) -> None:
        self.root, self.cold = root, cold
        self.doctrees = root / "_build" / ".doctrees"
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / "_config.yml", root)
        shutil.copytree(extension(), root / "book" / "_ext")
        for folder in ("_static", "_vendor"):
            (root / "book" / folder).symlink_to(ROOT / "book" / folder)
        (root / "surgeon" / "instruments").mkdir(parents=True)
        (root / "surgeon" / "instruments" / "static").symlink_to(ROOT / "surgeon" / "instruments" / "static")
        self.write("book/references.bib", SOURCES)
        self.write("book/index.md", "# Small\n")
        for name, text in package.items():
            self.write(f"surgeon/{name}", text)
        for name, text in pages.items():
            self.page(name, text)
        chapters = "".join(f"  - file: book/{name}\n" for name in pages)
        self.write("_toc.yml", f"format: jb-book\nroot: book/index\nchapters:\n{chapters}")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def page(self, name: str, text: str) -> None:
        """A page; if it has cells, a first one notes that the page ran."""
        if "{code-cell}" in text:
            text = f"{FRONT}{text}\n" + cell(f"open('../ran', 'a').write('{name} ');")
        self.write(f"book/{name}.md", text)

    def line(self, name: str, text: str) -> int:
        return (self.root / f"book/{name}.md").read_text().splitlines().index(text) + 1

    def start(self, *flags: str, page: str = "", **variables: str) -> "Running":
        if not self.cold and not self.doctrees.exists():
            for name, content in self.made.items():
                (self.doctrees / name).parent.mkdir(parents=True, exist_ok=True)
                (self.doctrees / name).write_bytes(content)
        return Running(["build", str(self.root / page), *flags], self.root, environment(**variables))

    def build(self, *flags: str, page: str = "", **variables: str) -> Build:
        running = self.start(*flags, page=page, **variables)
        build = Build(running.wait(timeout=300), running.said())
        if not self.made and build.code == 0:
            files = [file for names in OF_THE_THEME for file in self.doctrees.glob(names)]
            self.made.update({str(file.relative_to(self.doctrees)): file.read_bytes() for file in files})
        return build

    def kill_when(self, moment: str, **variables: str) -> None:
        """Build until the build reaches a moment, 'event page', and end it as a power cut would."""
        self.write("pause", moment)
        process = self.start(*STRICT, **variables)
        reached, deadline = self.root / "paused", time.monotonic() + 120
        while not reached.exists() and process.runs() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        assert reached.exists(), f"The build never came to {moment!r}."
        reached.unlink()
        (self.root / "pause").unlink()

    def ran(self) -> list[str]:
        """Pages that ran since this was last asked, once for each time that they ran."""
        note = self.root / "ran"
        names = note.read_text().split() if note.exists() else []
        note.unlink(missing_ok=True)
        return sorted(names)

    def html(self, name: str) -> str:
        return (self.root / f"_build/html/book/{name}.html").read_text()

    def site(self) -> dict[str, bytes]:
        """Every file of the site and what it holds, less what differs from one build to the next: the identifiers that
        are drawn for a notebook's cells, and the checksums of styles, which Sphinx omits until the styles are there."""
        folder = self.root / "_build/html"
        files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".ipynb"]
        return {str(file.relative_to(folder)): re.sub(rb"[?]v=[0-9a-f]{8}", b"", file.read_bytes()) for file in files}
