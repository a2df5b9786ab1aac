"""The instruments in JupyterLab, by mouse and by keys: what the reader does is read, and what Python says is drawn."""

import asyncio
import json
from pathlib import Path

import pytest
import torch
from lab import PATIENCE
from tabs import IDLE, Ran, connected, note_foreign, telling

from surgeon import stable_softmax
from surgeon.instruments.operating import draw_inputs, operate, permissions

SENTENCE = ["the", "surgeon", "cut", "the", "wire"]
QUERIES = ["who", "cut", "it"]
SHAPES = [(2, 3, 3, 5), (2, 3, 5, 3)]

CELLS = [
    """import json, torch
from surgeon import OperatingTable, explore, stable_softmax
table = OperatingTable("the surgeon cut the wire".split(), d_k=16, stages=["scores", "mask", "weights"])
table""",
    """names = "mask", "scale", "flipped", "tokens", "query", "key", "given"
print(json.dumps({name: getattr(table, name) for name in names} | {"weights": table.weights.tolist()}))""",
    """table.mask, table.scale, table.query, table.key = "reverse", True, 1, 2
table.vectors = torch.eye(5, 3), torch.eye(5, 3), torch.ones(5, 4)""",
    f"""generator = torch.Generator().manual_seed(0)
weights = [stable_softmax(3 * torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in {SHAPES}]
sentence, others = "the surgeon cut the wire".split(), "who cut it".split()
heads = explore(weights, [sentence, others], queries=[others, sentence])
heads""",
    """print(json.dumps([heads.text, heads.layer, heads.head, heads.mode, heads.token, heads.weights.tolist()]))""",
    """heads.text, heads.layer, heads.head = 0, 0, 1
heads.mode = "to"
heads.token = 4""",
    """from surgeon.book.operating_table import operating_table
operating_table("cut once".split(), "Two words.", stages=["weights"]);""",
    """from IPython.display import HTML
HTML(heads._repr_html_())""",
]


def notebook() -> str:
    cells = [
        {"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        for n, code in enumerate(CELLS)
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": spec, "nbformat": 4, "nbformat_minor": 5})


class Notebook:
    """A notebook in JupyterLab, whose cells a reader runs."""

    def __init__(self, tab, lab) -> None:
        self.tab, self.lab = tab, lab

    async def open(self, name: str) -> None:
        self.tab.set_default_timeout(1000 * PATIENCE)
        async with telling(self.tab):
            await self.tab.goto(f"{self.lab.address}/lab/tree/{name}?token={self.lab.token}&reset")
            await self.tab.wait_for_selector(".jp-CodeCell")
            await connected(self.tab, self.lab, name, IDLE)

    def cell(self, n: int):
        return self.tab.locator(".jp-CodeCell").nth(n)

    async def run(self, n: int):
        """Run a cell; its outputs, once they are there."""
        cell = self.cell(n)
        async with telling(self.tab):
            before = await cell.locator(".jp-InputPrompt").first.text_content()
            await cell.locator(".cm-content").click()
            await self.tab.keyboard.press("Control+Enter")
            await self.tab.wait_for_function(
                """([n, before]) => {
                    const prompt = document.querySelectorAll(".jp-CodeCell")[n].querySelector(".jp-InputPrompt");
                    return /\\[\\d+\\]/.test(prompt.textContent) && prompt.textContent !== before;
                }""",
                arg=[n, before],
            )
        assert await cell.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts() == []
        return cell.locator(".jp-OutputArea").first

    async def read(self, n: int, until=lambda found: True):
        """What a cell prints, run again until it says what is waited for."""
        for _ in range(50):
            found = json.loads(await (await self.run(n)).inner_text())
            if until(found):
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(found)


async def open_late(found: Notebook, name: str) -> None:
    """Open a notebook whose kernel comes long after its cells, as on a busy machine: what opens it, waits."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def hold(route) -> None:
        if route.request.method == "POST":
            asked.set()
            await go.wait()
        await route.continue_()

    await found.tab.route("**/api/sessions?*", hold)
    opening = asyncio.create_task(found.open(name))
    await asyncio.wait([opening, asyncio.create_task(asked.wait())], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([opening], timeout=1)
    early = opening.done()
    go.set()
    await opening
    await found.tab.unroute_all(behavior="wait")
    assert not early, "A notebook without a kernel was taken for one that runs cells."


@pytest.fixture(scope="module")
def opened(lab, reader):
    """The notebook, with a table and heads in it; nothing is asked of anywhere else."""
    Path(lab.process.cwd(), "instruments.ipynb").write_text(notebook())
    ran = Ran()
    tab = reader.wait(reader.tabs.get())
    requested = lambda request: note_foreign(ran, lab, request)
    tab.on("request", requested)
    found = Notebook(tab, lab)
    reader.wait(open_late(found, "instruments.ipynb"))
    yield found
    tab.remove_listener("request", requested)
    session = lab.session("instruments.ipynb")
    lab.ask(f"sessions/{session['id']}", "DELETE")
    reader.tabs.put_nowait(tab)
    assert ran.foreign == []


def expected(mask, flipped=(), **how):
    return operate(*draw_inputs(SENTENCE, 16, 0), permissions(mask, 5, 2, flipped), **how)


def test_the_operating_table_both_ways(opened, reader):
    async def drive() -> None:
        tab = opened.tab
        output = await opened.run(0)
        table = output.locator("operating-table .ops")
        await table.wait_for()
        # By mouse, to Python.
        await table.get_by_role("combobox", name="mask").select_option("causal")
        await table.get_by_label("divide by").uncheck()
        said = await opened.read(1, lambda found: found["mask"] == "causal" and not found["scale"])
        assert said["weights"] == expected("causal", scale=False).weights.tolist()
        cell = table.locator('[data-stage="mask"] .ot-grid')
        await cell.scroll_into_view_if_needed()
        x, y = await cell.evaluate(
            """(grid) => {
                const card = grid.closest("operating-table").cards.find((one) => one.grid === grid);
                return [card.left + 2.5 * card.width, card.top + 4.5 * card.height];
            }"""
        )
        await cell.click(position={"x": x, "y": y})
        said = await opened.read(1, lambda found: found["flipped"])
        assert (said["flipped"], said["query"], said["key"]) == ([[4, 2]], 4, 2)
        # By keys, which are not JupyterLab's here.
        await table.locator('[data-stage="mask"] .ot-cell:visible').focus()
        for key in ("ArrowUp", "ArrowLeft", "Enter"):
            await tab.keyboard.press(key)
        said = await opened.read(1, lambda found: len(found["flipped"]) == 2)
        assert (said["flipped"], said["query"], said["key"]) == ([[4, 2], [3, 1]], 3, 1)
        assert said["weights"] == expected("causal", said["flipped"], scale=False).weights.tolist()
        # From Python.
        await opened.run(2)
        readout = table.locator('[data-stage="weights"] .ot-readout')
        vectors = torch.eye(5, 3).double(), torch.eye(5, 3).double(), torch.ones(5, 4).double()
        weights = operate(*vectors, permissions("reverse", 5)).weights
        await readout.filter(has_text=f"= {weights[1, 2]:.3f}").wait_for()
        assert (await readout.inner_text()).startswith("surgeon → cut: ")
        assert await table.get_by_label("divide by").is_checked()
        assert (await opened.read(1))["given"]
        # What is drawn anew is no longer what was given.
        await table.get_by_role("button", name="Draw new inputs").click()
        said = await opened.read(1, lambda found: not found["given"])
        weights = operate(*draw_inputs(SENTENCE, 3, 1), permissions("reverse", 5, 2, said["flipped"])).weights
        assert said["weights"] == weights.tolist()
        assert "surgeon → cut" in await readout.inner_text()

    reader.wait(drive())


def test_the_head_explorer_both_ways(opened, reader):
    generator = torch.Generator().manual_seed(0)
    weights = [stable_softmax(3 * torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]

    async def drive() -> None:
        tab = opened.tab
        if not await opened.tab.locator("operating-table").count():
            await opened.run(0)  # its imports
        output = await opened.run(3)
        element = output.locator("head-explorer")
        await element.locator(".heads button").nth(5).click()
        await element.locator(".from button").nth(2).click()
        said = await opened.read(4, lambda found: found[3] == "from")
        assert said == [0, 1, 2, "from", 2, weights[0][1, 2].tolist()]
        await element.get_by_label("Head", exact=True).focus()
        for key in ("Tab", "ArrowUp", "ArrowLeft", "Tab", "Tab", "ArrowUp", "ArrowRight", "Enter"):
            await tab.keyboard.press(key)
        said = await opened.read(4, lambda found: found[3] == "to")
        assert said == [0, 0, 1, "to", 1, weights[0][0, 1].tolist()]
        await element.get_by_label("Sentence").select_option("1")
        said = await opened.read(4, lambda found: found[0] == 1)
        assert said[5] == weights[1][0, 1].tolist()
        await opened.run(5)
        await element.locator('.to button[aria-pressed="true"]').nth(0).wait_for()
        shown = [text for text in await element.locator(".from .weight").all_inner_texts() if text]
        assert shown == [f"{weight:.2f}" for weight in weights[0][0, 1, :, 4].tolist()]
        assert await element.locator(".to button").nth(4).get_attribute("aria-pressed") == "true"
        assert await element.get_by_label("Sentence").input_value() == "0"

    reader.wait(drive())


def test_a_pages_instrument_is_alive_there_and_a_page_within_the_page_too(opened, reader):
    async def drive() -> None:
        if not await opened.tab.locator("head-explorer").count():
            for n in (0, 3):
                await opened.run(n)
        output = await opened.run(6)
        await output.locator("operating-table .ops").wait_for()
        assert await output.locator("figure").count() == 0
        frame = (await opened.run(7)).frame_locator("iframe")
        await frame.locator(".heads button").nth(4).click()
        assert await frame.locator(".note").inner_text() != ""

    reader.wait(drive())
