"""What a reader does with the instruments in a notebook, whatever shows it: by mouse, by keys and from Python."""

from typing import TYPE_CHECKING

import torch
from playwright.async_api import expect

from surgeon import stable_softmax
from surgeon.instruments.operating import draw_inputs, operate, permissions

if TYPE_CHECKING:
    from notebooks import Runs

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
table.vectors = torch.eye(5, 3), torch.eye(5, 3), torch.ones(5, 6)""",
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


def expected(mask, flipped=(), **how):
    return operate(*draw_inputs(SENTENCE, 16, 0), permissions(mask, 5, 2, flipped), **how)


async def handle_the_table(opened: "Runs") -> None:
    """What is done by hand is read in Python, and what Python says is drawn."""
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
    vectors = torch.eye(5, 3).double(), torch.eye(5, 3).double(), torch.ones(5, 6).double()
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


async def handle_the_heads(opened: "Runs") -> None:
    """The same of the head explorer."""
    generator = torch.Generator().manual_seed(0)
    weights = [stable_softmax(3 * torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]

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
    await tab.mouse.move(0, 0)  # what is pointed at is shown, whatever was chosen
    await opened.run(5)
    await element.locator('.to button:nth-of-type(5)[aria-pressed="true"]').wait_for()
    shown = [f"{weight:.2f}" for weight in weights[0][0, 1, :, 4].tolist()]
    await expect(element.locator(".from .weight", has_text=".")).to_have_text(shown, timeout=20_000)
    assert await element.get_by_label("Sentence").input_value() == "0"
