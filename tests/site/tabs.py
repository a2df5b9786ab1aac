"""Pages opened, run and read in JupyterLab, in a real browser."""

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
from chromium import QUIET, chromium
from lab import PATIENCE, ROOT, Lab, weigh
from playwright.async_api import Error, Page, Request, async_playwright

AT_ONCE = 2  # pages; each has a kernel, with one thread
SHOWING = ".jp-NotebookPanel:not(.lm-mod-hidden)"
IDLE = f'{SHOWING} .jp-Notebook-ExecutionIndicator[data-status="idle"]'

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


# The same for whoever waited in vain, in any kind of notebook.
SHOWN = """() => {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((one) => one.innerText.trim());
    const focus = document.activeElement;
    return {
        title: document.title,
        kernel: [...document.querySelectorAll(".jp-Notebook-ExecutionIndicator, #kernel_indicator_icon")]
            .map((icon) => icon.dataset.status || icon.className),
        prompts: texts(".jp-CodeCell .jp-InputPrompt, .code_cell .input_prompt"),
        errors: texts('[data-mime-type$="jupyter.error"], [data-mime-type$="jupyter.stderr"], .output_error'),
        dialogs: texts(".jp-Dialog, .modal-dialog"),
        focus: `${focus?.localName}.${focus?.className}`,
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


def expressions(page: str) -> tuple[list[str], Counter[str]]:
    """What a page's prose evaluates, and what it shows as code."""
    text = re.sub(r"^```\{code-cell\}.*?^```$", "", (ROOT / f"{page}.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    evaluated = [" ".join(expression.split()) for expression in re.findall(r"\{eval\}`([^`]+)`", text)]
    return evaluated, Counter(re.findall(r"(?<!\})`([^`\n]+)`", text))


@asynccontextmanager
async def telling(tab: Page) -> AsyncIterator[None]:
    """Whoever waits in vain hears what the page showed, and not only for how long."""
    try:
        yield
    except Error as error:  # Playwright's: a time-out, or a tab that is gone
        try:
            shown = await asyncio.wait_for(tab.evaluate(SHOWN), 20)
        except (Error, TimeoutError) as silence:
            shown = f"nothing, {silence!r}"
        raise AssertionError(f"{error.message}\nThe page showed: {shown}") from error


async def connected(tab: Page, lab: Lab, path: str, idle: str) -> str:
    """The id of a notebook's kernel, once that is idle and the page is connected to it.

    JupyterLab's indicator says idle as soon as the notebook is shown, before there is a session; what is run then is
    dropped without a word. So the server is asked first whether the page has come to the kernel.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        session = await asyncio.to_thread(lab.session, path)
        kernel = (session or {}).get("kernel")
        if kernel and kernel["execution_state"] == "idle" and kernel["connections"] and await tab.locator(idle).count():
            return kernel["id"]
        if time.monotonic() > deadline:
            raise AssertionError(f"{path} is not ready: {session}\nThe page showed: {await tab.evaluate(SHOWN)}")
        await asyncio.sleep(0.2)


async def opened(tab: Page, lab: Lab, page: str, urlpath: str) -> psutil.Process:
    """Open a page where its launch button leads; returns its kernel once that is ready and the prose is there.

    jupyterlab-myst fills no expression of a paragraph that runs before it has been shown, which a slow machine and a
    fast reader can bring about; running it again fills it.
    """

    path, deadline, (evaluated, _) = urlpath.removeprefix("lab/tree/"), time.monotonic() + PATIENCE, expressions(page)
    tab.set_default_timeout(1000 * PATIENCE)
    if tab.url.startswith(f"{lab.address}/lab") and lab.forks:
        await tab.evaluate(TURN_TO, path)
    else:  # reset: as on a new machine, no other tab is open
        await tab.goto(f"{lab.address}/{urlpath}?token={lab.token}&reset")
    await tab.wait_for_selector(f"{SHOWING} .jp-CodeCell")
    kernel = await connected(tab, lab, path, IDLE)
    while unseen := Counter(evaluated) - Counter((await tab.evaluate(LOOK, evaluated))["literals"]):
        assert time.monotonic() < deadline, f"{path} does not show all of its prose: {unseen}"
        await asyncio.sleep(0.2)
    return lab.kernel(kernel)


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
            raise AssertionError(f"{page} is not done: {ran}\nThe page showed: {await tab.evaluate(SHOWN)}")


async def visited(tab: Page, lab: Lab, page: str, urlpath: str, then: Callable | None) -> Ran:
    ran = Ran()
    requested = partial(note_foreign, ran, lab)
    tab.on("request", requested)
    try:
        async with telling(tab):
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


def note_foreign(ran: Ran, lab: Lab, request: Request) -> None:
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
