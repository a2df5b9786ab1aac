"""A notebook whose cells a reader runs, and what an interface calls its parts."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from handled import CELLS
from lab import PATIENCE, Lab
from playwright.async_api import Locator, Page, Route
from tabs import IDLE, connected, telling


class Interface(NamedTuple):
    """Where it shows a notebook, and what the parts of one are called there."""

    address: str
    cell: str
    prompt: str
    editor: str
    output: str
    error: str
    idle: str


LAB = Interface(
    address="{server}/lab/tree/{name}?token={token}&reset",
    cell=".jp-CodeCell",
    prompt=".jp-InputPrompt",
    editor=".cm-content",
    output=".jp-OutputArea",
    error='[data-mime-type="application/vnd.jupyter.error"]',
    idle=IDLE,
)
# JupyterLab hears keys after an instrument has, and Notebook 7 before.
INTERFACES = {"Notebook 7": LAB._replace(address="{server}/notebooks/{name}?token={token}"), "JupyterLab": LAB}


class Runs:
    """Something whose cells can be run."""

    async def run(self, n: int) -> Locator:
        raise NotImplementedError

    async def read(self, n: int, until: Callable[[Any], Any] = lambda found: True) -> Any:
        """What a cell prints, run again until it says what is waited for."""
        for _ in range(50):
            found = json.loads(await (await self.run(n)).inner_text())
            if until(found):
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(found)


class Notebook(Runs):
    def __init__(self, tab: Page, lab: Lab, interface: Interface, name: str) -> None:
        self.tab, self.lab, self.interface, self.name = tab, lab, interface, name
        Path(lab.process.cwd(), name).write_text(written())

    async def open(self) -> None:
        address = self.interface.address.format(server=self.lab.address, name=self.name, token=self.lab.token)
        self.tab.set_default_timeout(1000 * PATIENCE)
        async with telling(self.tab):
            await self.tab.goto(address)
            await self.tab.wait_for_selector(self.interface.cell)
            await connected(self.tab, self.lab, self.name, self.interface.idle)

    async def open_late(self) -> None:
        """Open it where a kernel comes long after the cells, as on a busy machine; what opens it has to wait."""
        asked, go = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            if route.request.method == "POST":
                asked.set()
                await go.wait()
            await route.continue_()

        await self.tab.route(re.compile(r"/api/sessions(\?|$)"), hold)
        opening = asyncio.create_task(self.open())
        await asyncio.wait([opening, asyncio.create_task(asked.wait())], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([opening], timeout=1)
        early = opening.done()
        go.set()
        await opening
        await self.tab.unroute_all(behavior="wait")
        assert not early, "A notebook without a kernel was taken for one that runs cells."

    async def run(self, n: int) -> Locator:
        """Run a cell; its outputs, once they are there."""
        cell = self.tab.locator(self.interface.cell).nth(n)
        prompt = cell.locator(self.interface.prompt).first
        async with telling(self.tab):
            before = await prompt.text_content()
            await cell.locator(self.interface.editor).first.click()
            await self.tab.keyboard.press("Control+Enter")
            await self.tab.wait_for_function(
                r"([prompt, before]) => /\[\d+\]/.test(prompt.textContent) && prompt.textContent !== before",
                arg=[await prompt.element_handle(), before],
            )
        assert await cell.locator(self.interface.error).all_inner_texts() == []
        return cell.locator(self.interface.output).first

    def close(self) -> None:
        session = self.lab.session(self.name)
        if session:
            self.lab.ask(f"sessions/{session['id']}", "DELETE")


def written() -> str:
    """The notebook, as a file."""
    cells = [
        {"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        for n, code in enumerate(CELLS)
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": spec, "nbformat": 4, "nbformat_minor": 5})
