"""The instruments wherever notebooks are shown: what a reader does is read in Python, and what Python says is drawn."""

import pytest
from alone import Alone
from handled import handle_the_heads, handle_the_table
from notebooks import INTERFACES, Notebook
from tabs import Ran, note_foreign


@pytest.fixture(scope="module", params=INTERFACES)
def opened(request, lab, reader):
    """The notebook, with a table and heads in it; nothing is asked of anywhere else."""
    ran = Ran()
    tab = reader.wait(reader.tabs.get())
    requested = lambda request: note_foreign(ran, lab, request)
    found = Notebook(tab, lab, INTERFACES[request.param], f"{request.param}.ipynb")

    # What is asked of a tab is asked in its own thread; what two threads ask at once is answered to neither.
    async def begin() -> None:
        tab.on("request", requested)
        await found.open_late()

    async def end() -> None:
        tab.remove_listener("request", requested)
        found.close()
        reader.tabs.put_nowait(tab)

    try:
        reader.wait(begin())
        yield found
    finally:
        reader.wait(end())
    assert ran.foreign == []


def test_the_operating_table_both_ways(opened, reader):
    reader.wait(handle_the_table(opened))


def test_the_head_explorer_both_ways(opened, reader):
    reader.wait(handle_the_heads(opened))


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


@pytest.mark.parametrize("handle", [handle_the_table, handle_the_heads])
def test_an_instrument_needs_of_its_host_what_anywidget_promises_and_no_more(reader, handle):
    """What VS Code and Colab show it by as well: neither runs here."""

    async def drive() -> None:
        async with Alone.opened(reader.browser) as page:
            await handle(page)

    reader.wait(drive())
