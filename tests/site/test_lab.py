"""Pages that a launch button opens: run from top to bottom in JupyterLab, as Binder starts it."""

import re

import pytest
from contents import parsed
from covering import LAUNCHED, VISITED, cover, kinds
from lab import MIB, started
from tabs import run_all


@pytest.mark.parametrize("page", VISITED)
def test_a_page_runs_where_its_button_opens_it(ran, page, record_property):
    """No error, every cell run, every number in the prose, every figure and claim that the site has, in 2 GiB."""
    source = LAUNCHED[page]
    record_property("MiB", ran.memory // MIB)
    print(f"{page}: {ran.cells} cells, {ran.seconds:.1f} s, {ran.memory / MIB:.0f} MiB at the peak")
    assert ran.errors == []
    assert ran.cells == len(re.findall(r"^```\{code-cell\}", source, re.MULTILINE))
    assert (ran.unrun, ran.unfilled) == (0, [])
    assert ran.foreign == []
    assert 150 * MIB < ran.memory <= 2048 * MIB, f"{ran.memory / MIB:.0f} MiB"


@pytest.mark.parametrize("page", VISITED)
def test_a_page_shows_its_figures_and_claims_there(ran, folder, page):
    """And in the place of a figure that the site's reader can handle, an instrument that the notebook's can."""
    article = parsed(folder / f"{page}.html").article
    handled = article.select("head-explorer, operating-table")
    still = {id(image) for instrument in handled for image in instrument.select("figure.measured img")}
    assert ran.figures == len([image for image in article.select("figure.measured img") if id(image) not in still])
    assert ran.instruments == len(handled)
    assert ran.claims == len(article.select("p.claim"))


def test_prose_follows_the_tinkerers_cell_and_an_answer_is_judged(tmp_path, reader, launch):
    """In a kernel that is started as the image starts it."""
    page = "book/anatomy/softmax"
    before, after = (f"Add {shift} to every score. No difference changed" for shift in (100, 250))

    async def tinker(tab, lab, kernel, ran):
        prose = tab.locator(".jp-MarkdownCell .jp-RenderedMarkdown, .jp-MarkdownCell .myst")
        await prose.filter(has_text=before).first.wait_for(state="attached")
        await tab.locator(".cm-line", has_text=re.compile(r"^shift = 100\.0$")).click()
        await tab.keyboard.press("End")
        await tab.keyboard.type(" + 150")
        await tab.locator(".cm-line", has_text='check("softmax-pencil", ...)').click()
        await tab.keyboard.press("End")
        for _ in "...)":
            await tab.keyboard.press("Backspace")
        await tab.keyboard.type("'1/8, 25%, 0.62')")
        await run_all(tab, lab, kernel, page, ran)
        await prose.filter(has_text=after).first.wait_for(state="attached")
        await prose.filter(has_text=before).first.wait_for(state="detached", timeout=20_000)
        assert "Right. The powers are 1, 2 and 5" in await tab.locator(".jp-OutputArea p.verdict").first.inner_text()

    with started(tmp_path, forked=False) as lab:
        ran = reader.begin(lab, page, launch(page), tinker).result()
    assert (ran.errors, ran.unrun, ran.unfilled) == ([], 0, [])


# Which pages


def test_a_page_is_opened_for_everything_that_pages_have():
    has = {page: kinds(text) for page, text in LAUNCHED.items()}
    assert set().union(*has.values()) == set().union(*(has[page] for page in VISITED))
    assert len(LAUNCHED) > 40


def test_what_a_page_has_is_read_from_its_source():
    page = """# One

By {cite:t}`vaswani2017`, {eval}`f"{x:.2f}"`.

| a |
| {eval}`x` |

```{exercise}
:label: one
Do {ref}`it`.
```

```{code-cell} ipython3
:tags: [hide-input]
import subprocess, json, pandas as pd
from surgeon.book.page import claim, K
from surgeon.models.specimen import load
from surgeon.models.grammar import Grammar
print(pd.DataFrame().style)
```
"""
    assert kinds(page) == {
        *("role: cite:t", "role: eval", "role: ref", "directive: exercise", "tag: hide-input"),
        *("expression in a paragraph", 'expression with "', "expression with {", "expression in a table"),
        *("import: subprocess", "import: pandas", "furniture: claim", "model: specimen"),
        *("a styled table", "call: print"),
    }


def test_a_cover_has_all_at_little_cost():
    has = {"dear": {1, 2, 3}, "one": {1, 2}, "rest": {3}, "rare": {4}, "idle": {1}}
    assert cover(has, {"dear": 9, "one": 1, "rest": 1, "rare": 50, "idle": 1}) == ["one", "rest", "rare"]


def test_what_is_taken_first_is_dropped_when_others_have_it_too():
    has = {"first": {1, 2, 3}, "left": {1, 2, 4}, "right": {3, 5}}
    assert cover(has, {"first": 1, "left": 2, "right": 2}) == ["left", "right"]
