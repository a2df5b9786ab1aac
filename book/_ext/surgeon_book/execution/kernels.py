"""The pages' kernels: this interpreter, this checkout's surgeon, this repository's name.

Where a system can fork safely (Linux), they are forked from one process that has imported what pages import, see
`within/forkserver.py`. Elsewhere, and with SURGEON_FORK=0, each is a new Python, and pages run one at a time.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

import jupyter_client
from sphinx.application import Sphinx
from sphinx.config import Config
from traitlets import default

from surgeon_book.checkout import ROOT

WITHIN = Path(__file__).parent / "within"  # runs in kernels, not in Sphinx
OPTIONS = ["-Xfrozen_modules=off"]  # or ipykernel warns that a debugger would miss some lines
IMPORTED = re.compile(r"^\s*(?:import|from) (\w+)", re.MULTILINE)
PRELOADED = {"matplotlib", "pandas", "scipy", "torch"}  # what takes long to import
SPEAKS = "surgeon.book.page"  # imports Matplotlib
FEW = 3  # pages for which it does not pay to import what only some need:
# With the first optimizer; with it sympy, with the first shapes; and what the intervals of the long runs are made of.
LATER = ["torch._dynamo", "torch.utils.flop_counter", "scipy.stats"]
CAN_FORK = sys.platform == "linux" and hasattr(os, "pidfd_open")


def name_repository(app: Sphinx, config: Config) -> None:
    """GITHUB_REPOSITORY overrules _config.yml's repository; where it is unset, _config.yml speaks for it, and for its
    branch alone."""
    url = config.html_theme_options.get("repository_url", "")
    name = os.environ.get("GITHUB_REPOSITORY") or "/".join(url.rstrip("/").split("/")[-2:])
    os.environ["SURGEON_BRANCH"] = config.html_theme_options.get("repository_branch") or "main"
    if name:
        os.environ["GITHUB_REPOSITORY"] = name  # surgeon.book.page reads it
        config.html_theme_options = {**config.html_theme_options, "repository_url": f"https://github.com/{name}"}


def forks() -> bool:
    return CAN_FORK and os.environ.get("SURGEON_FORK", "1") != "0"


def jobs() -> int:
    """Pages that run side by side: as many as there are cores, unless SURGEON_JOBS has another number."""
    if not forks():
        return 1
    asked = os.environ.get("SURGEON_JOBS", "")
    return max(1, int(asked)) if asked.isdecimal() else len(os.sched_getaffinity(0))


class Local(jupyter_client.AsyncKernelManager):
    """Talks to a kernel through files. A port that is free when it is chosen may be another kernel's a moment later."""

    async def _async_finish_shutdown(
        self, waittime: float | None = None, pollinterval: float = 0.01, restart: bool = False
    ) -> None:
        """Jupyter looks ten times a second whether a kernel has ended; the next page waits for it."""
        await super()._async_finish_shutdown(waittime, pollinterval, restart)

    @default("transport")
    def _through_files(self) -> str:
        return "ipc"

    @default("ip")
    def _where(self) -> str:
        """What the files' names begin with; a socket's must be short."""
        return os.path.join(tempfile.gettempdir(), f"surgeon-{uuid.uuid4().hex[:12]}")


class Kernels:
    """Prepares what Jupyter starts for a page; the fork server is there as long as pages are read."""

    server: subprocess.Popen | None = None
    results: Path | None = None

    def prepare(self, app: Sphinx) -> None:
        """Let every page's kernel be this interpreter, whatever kernels its user has registered, and find surgeon."""
        # One thread: the pages' models are too small to gain from two, and two that wait for a busy core cost minutes.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ["SURGEON_SITE"] = "1"  # surgeon.instruments.live asks: the site has its own scripts, and no widgets
        _put_first("PYTHONPATH", WITHIN)
        _put_first("PYTHONPATH", ROOT)
        if forks():
            self.folder = tempfile.mkdtemp(prefix="surgeon-")  # a socket's path must be short
            os.environ["SURGEON_KERNELS"] = self.folder  # surgeon.book.quiet asks there
            command = forking(self.folder)
        else:
            os.environ.pop("SURGEON_KERNELS", None)
            command = [sys.executable, *OPTIONS, "-m", "ipykernel_launcher"]
        if os.name == "posix":
            jupyter_client.AsyncKernelManager = Local  # where the notebook client looks for it
        if os.name == "posix":  # elsewhere files are locked in other ways
            # surgeon.book.once keeps there what several pages ask; whoever names a folder keeps it beyond the build.
            if not os.environ.get("SURGEON_ONCE"):
                self.results = Path(app.doctreedir, "results")
                shutil.rmtree(self.results, ignore_errors=True)
                os.environ["SURGEON_ONCE"] = str(self.results)
            Path(os.environ["SURGEON_ONCE"]).mkdir(parents=True, exist_ok=True)
        kernels = Path(app.doctreedir, "kernels")
        register(kernels, command)
        _put_first("JUPYTER_PATH", kernels)

    def start(self, pages: Iterable[str]) -> None:
        """Start importing what the texts of pages import; whoever asks for a kernel meanwhile, waits."""
        if forks() and self.server is None:
            texts = list(pages)
            named = {name for text in texts for name in IMPORTED.findall(text)}
            drawing = {"matplotlib"} if any(SPEAKS in text for text in texts) else set()
            packages = sorted(named & PRELOADED | drawing)
            if "torch" in packages and len(texts) > FEW:
                packages += LATER
            command = serving(self.folder, packages)
            # In a session of its own it outlives what kills the build, long enough to end the kernels.
            self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self, app: Sphinx, exception: Exception | None) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait()
            self.server = None
        elif forks():
            Path(self.folder).rmdir()
        if self.results is not None:
            shutil.rmtree(self.results, ignore_errors=True)


def serving(folder: str, packages: list[str]) -> list[str]:
    """The command of a fork server; it finds its modules by PYTHONPATH."""
    return [sys.executable, *OPTIONS, "-c", f"import forkserver; forkserver.serve({folder!r}, {packages!r})"]


def forking(folder: str) -> list[str]:
    """The command that asks the fork server for a kernel."""
    return [sys.executable, "-I", "-S", str(WITHIN / "kernel.py"), folder]


def register(data: Path, command: list[str]) -> None:
    """Let a folder of Jupyter's data say what kernels are started by."""
    command = [*command, "-f", "{connection_file}", "--log-level=ERROR"]  # it warns of every connection over TCP
    folder = data / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))


def _put_first(variable: str, path: Path) -> None:
    others = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry not in ("", str(path))]
    os.environ[variable] = os.pathsep.join([str(path), *others])


KERNELS = Kernels()


def setup(app: Sphinx) -> None:
    app.connect("config-inited", name_repository)
    app.connect("builder-inited", KERNELS.prepare)
    app.connect("build-finished", KERNELS.stop)
