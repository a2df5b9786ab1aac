"""A reader on Binder: JupyterLab started as the image starts it, and pages opened, run and read in a real browser."""

import asyncio
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
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
from binder_image import ROOT, dockerfile, server
from chromium import QUIET, chromium
from playwright.async_api import Page, async_playwright
from playwright.async_api import Request as PlaywrightRequest
from small_book import environment

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import kernels

MIB = 2**20
AT_ONCE = 2  # pages; each has a kernel, with one thread
PATIENCE = 300  # seconds for any one thing
GONE = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)  # a process has ended meanwhile

# What a notebook shows once it has run. Errors in a cell, and in the prose, carry these types.
LOOK = """(expressions) => {
    const notebook = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
    const all = (selector) => [...notebook.querySelectorAll(selector)];
    const errors = ["error", "stderr"].map((kind) => `[data-mime-type="application/vnd.jupyter.${kind}"]`).join();
    return {
        kernel: notebook.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status,
        prompts: all(".jp-CodeCell .jp-InputPrompt").map((prompt) => prompt.textContent),
        errors: all(errors).map((output) => output.textContent),
        figures: all("figure.measured img").filter((image) => image.complete && image.naturalWidth > 0).length,
        claims: all("p.claim").length,
        instruments: all(".surgeon-instrument").filter((one) => one.querySelector(".panel, .ops")).length,
        widgets: all('[data-mime-type="application/vnd.jupyter.widget-view+json"]').length,
        literals: all(".jp-MarkdownCell .jp-RenderedMarkdown code, .jp-MarkdownCell .myst code")
            .map((code) => code.textContent).filter((text) => expressions.includes(text)),
    };
}"""


# What JupyterLab does for a path in its address, without being loaded anew.
TURN_TO = """async (path) => {
    for (const widget of [...window.jupyterapp.shell.widgets("main")]) widget.dispose();
    await window.jupyterapp.commands.execute("docmanager:open", {path});
}"""


@dataclass
class Ran:
    """What a page showed after all of its cells had run."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  # addresses elsewhere that the browser asked
    cells: int = 0
    unrun: int = 0
    unfilled: list[str] = field(default_factory=list)  # expressions of the prose that show themselves, not their value
    figures: int = 0
    claims: int = 0
    instruments: int = 0  # that a reader can handle
    memory: int = 0  # bytes at the peak: the kernel and what it starts, and the server
    seconds: float = 0


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
    paths = os.pathsep.join(map(str, (kernels.WITHIN, given["PYTHONPATH"], Path(__file__).parent, ROOT / ".ci")))
    command = kernels.serving(folder, [*sorted(kernels.PRELOADED), *kernels.LATER])
    server = subprocess.Popen(command, env=given | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, cwd=data)
    try:
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def started(place: Path, *, forked: bool, once: Path | None = None, noted: Path | None = None) -> Iterator[Lab]:
    """JupyterLab on a copy of the repository: binder/postBuild has run, and the image's own command starts it.

    Only pip is missing from postBuild, and nothing that this machine's user has configured is read. Unless kernels are
    `forked`, which saves each page the seconds of its imports, they are started as the image starts them. `once` has
    what pages have trained elsewhere. With a folder `noted`, forked kernels ask every claim's counter-example too, and
    note there what came of it.
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
    if forked and noted:
        given["SURGEON_NOTED"] = str(noted)
        startup = home / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "first.py").write_text("from counter_examples import max, min\n")
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


def expressions(page: str) -> tuple[list[str], Counter[str]]:
    """What a page's prose evaluates, and what it shows as code."""
    text = re.sub(r"^```\{code-cell\}.*?^```$", "", (ROOT / f"{page}.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    evaluated = [" ".join(expression.split()) for expression in re.findall(r"\{eval\}`([^`]+)`", text)]
    return evaluated, Counter(re.findall(r"(?<!\})`([^`\n]+)`", text))


async def opened(tab: Page, lab: Lab, page: str, urlpath: str) -> psutil.Process:
    """Open a page where its launch button leads; returns its kernel once that is ready and the prose is there.

    jupyterlab-myst fills no expression of a paragraph that runs before it has been shown, which a slow machine and a
    fast reader can bring about; running it again fills it.
    """

    path, deadline, (evaluated, _) = urlpath.removeprefix("lab/tree/"), time.monotonic() + PATIENCE, expressions(page)
    tab.set_default_timeout(1000 * PATIENCE)
    if tab.url.startswith(lab.address) and lab.forks:
        await tab.evaluate(TURN_TO, path)
    else:  # reset: as on a new machine, no other tab is open
        await tab.goto(f"{lab.address}/{urlpath}?token={lab.token}&reset")
    await tab.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
    while True:
        session = await asyncio.to_thread(lab.session, path)
        status = await tab.get_attribute(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator", "data-status")
        unseen = Counter(evaluated) - Counter((await tab.evaluate(LOOK, evaluated))["literals"])
        if session and session["kernel"]["execution_state"] == "idle" and status == "idle" and not unseen:
            return lab.kernel(session["kernel"]["id"])
        assert time.monotonic() < deadline, f"{path} is not ready: {session}, {status}, {unseen}"
        await asyncio.sleep(0.2)


async def run_all(tab: Page, lab: Lab, kernel: psutil.Process, page: str, ran: Ran) -> None:
    """Run > Run All Cells, and wait until cells and prose are done, or one of them has failed."""
    evaluated, literals = expressions(page)
    await tab.click('.lm-MenuBar-item:has-text("Run")')
    await tab.click('.lm-Menu-item[data-command="runmenu:run-all"]')
    begun, settled = time.monotonic(), 0
    while settled < 2:  # twice in a row: prose is filled after its cell
        await asyncio.sleep(0.5)
        ran.memory = max(ran.memory, await asyncio.to_thread(weigh, lab, kernel))
        look = await tab.evaluate(LOOK, evaluated)
        numbered = [bool(re.fullmatch(r"\[\d+\]:", prompt)) for prompt in look["prompts"]]
        ran.unfilled = list((Counter(look["literals"]) - literals).elements())
        ran.errors, ran.figures, ran.claims = look["errors"], look["figures"], look["claims"]
        ran.cells, ran.unrun, ran.seconds = len(numbered), numbered.count(False), time.monotonic() - begun
        ran.instruments = look["instruments"]
        done = look["kernel"] == "idle" and "[*]:" not in look["prompts"] and ran.unrun == 0 and not ran.unfilled
        done = done and ran.instruments >= look["widgets"]
        settled = settled + 1 if done or (ran.errors and look["kernel"] == "idle") else 0
        if ran.seconds > PATIENCE:
            return


async def visited(tab: Page, lab: Lab, page: str, urlpath: str, then: Callable | None) -> Ran:
    ran = Ran()
    requested = partial(note_foreign, ran, lab)
    tab.on("request", requested)
    try:
        kernel = await opened(tab, lab, page, urlpath)
        await run_all(tab, lab, kernel, page, ran)
        if then:
            await then(tab, lab, kernel, ran)
    finally:
        tab.remove_listener("request", requested)
        session = lab.session(urlpath.removeprefix("lab/tree/"))
        if session:
            lab.ask(f"sessions/{session['id']}", "DELETE")
    return ran


def note_foreign(ran: Ran, lab: Lab, request: PlaywrightRequest) -> None:
    if request.url.startswith(("http:", "https:", "ws:", "wss:")) and not request.url.startswith(lab.address):
        ran.foreign.append(request.url)


class Reader:
    """Chromium, and pages opened in it side by side, in a thread of its own: another test's browser may hold this one's
    event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.playwright = self.wait(async_playwright().start())
        self.browser = self.wait(self.playwright.chromium.launch(executable_path=chromium(), args=QUIET))
        # Tabs are used again, so that JupyterLab's own code is loaded and compiled once.
        self.tabs: asyncio.LifoQueue[Page] = asyncio.LifoQueue()
        for _ in range(AT_ONCE):
            self.tabs.put_nowait(self.wait(self.browser.new_page(viewport={"width": 1280, "height": 900})))

    def begin(self, lab: Lab, page: str, urlpath: str, then: Callable | None = None) -> Future[Ran]:
        """Open a page, named and by its launch button's path, as soon as it is its turn, and run it."""

        async def taking_turns() -> Ran:
            tab = await self.tabs.get()
            try:
                return await visited(tab, lab, page, urlpath, then)
            finally:
                self.tabs.put_nowait(tab)

        return asyncio.run_coroutine_threadsafe(taking_turns(), self.loop)

    def wait(self, coroutine: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        self.wait(self.browser.close())
        self.wait(self.playwright.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
