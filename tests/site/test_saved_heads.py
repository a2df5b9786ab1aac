"""A file of heads, opened from disk by who has no network: by mouse and keyboard, and by who has no scripts."""

import re

import pytest
import torch
from playwright.sync_api import expect
from survey import AXE

from surgeon import explore, stable_softmax

GERMAN, ENGLISH = ["die", "Katze", "sass", "auf", "der", "alten", "Matte"], ["the", "cat", "sat", "on", "a", "mat"]
OTHER = ["wir", "gehen", "heim"], ["now", "we", "are", "going", "home"]


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, len(queries), len(keys)) for keys, queries in ((GERMAN, ENGLISH), OTHER)]
    return [stable_softmax(3 * torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


@pytest.fixture
def open_file(browser, tmp_path, weights):
    """The file in a browser that is off the network; what it complains of or asks for fails the test."""
    view = explore(weights, [GERMAN, OTHER[0]], queries=[ENGLISH, OTHER[1]], layer=1, head=2)
    file = view.save(tmp_path / "heads.html", title="A cat, twice")
    heard, contexts = [], []

    def open_file(**reader):
        context = browser.new_context(
            viewport={"width": reader.pop("width", 1100), "height": 900}, offline=True, **reader
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: request.url == file.as_uri() or heard.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert heard == []


def shown(page, side):
    return [text for text in page.locator(f".{side} .weight").all_inner_texts() if text]


def column(page, side, n):
    return page.locator(f".{side} button").nth(n)


def test_queries_and_keys_of_different_texts_by_mouse(open_file, weights):
    page = open_file()
    expect(page.locator("h1")).to_have_text("A cat, twice")
    one = weights[0][1, 2]
    assert page.locator(".from .token").all_inner_texts() == ENGLISH
    assert page.locator(".to .token").all_inner_texts() == GERMAN
    column(page, "from", 4).hover()
    assert [float(text) for text in shown(page, "to")] == pytest.approx(one[4].tolist(), abs=0.006)
    column(page, "to", 6).hover()
    assert [float(text) for text in shown(page, "from")] == pytest.approx(one[:, 6].tolist(), abs=0.006)
    page.locator(".heads button").nth(1).click()
    page.locator(".cells rect").nth(5 * len(GERMAN) + 6).click()
    expect(page.locator(".reading")).to_contain_text(f"“mat” gives “Matte” {weights[0][0, 1, 5, 6]:.2f}")
    assert page.locator(".cells rect").count() == len(GERMAN) * len(ENGLISH)
    expect(page.get_by_label("where a token looks")).to_be_checked()
    column(page, "to", 6).click()  # no query has that number
    page.get_by_label("where a token looks").check()
    expect(column(page, "from", 5)).to_have_attribute("aria-pressed", "true")
    assert not re.search("before|after|itself", page.locator(".note").inner_text())


def test_by_keys_alone_and_another_text(open_file, weights):
    page = open_file()
    page.get_by_label("Sentence").select_option("1")
    page.get_by_label("Head", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    for _ in range(7):
        page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("home looks at “")
    assert [float(text) for text in shown(page, "to")] == pytest.approx(weights[1][0, 2, 4].tolist(), abs=0.006)
    page.keyboard.press("ArrowRight")  # five queries, three keys: to the last
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("heim is looked at by “")
    page.keyboard.press("Enter")
    expect(page.get_by_label("who looks at it")).to_be_checked()


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (360, "dark")])
def test_axe_finds_nothing_and_nothing_sticks_out(open_file, width, scheme):
    page = open_file(width=width, color_scheme=scheme)
    column(page, "from", 3).click()
    page.evaluate(AXE)
    result = page.evaluate("axe.run({ preload: false })")
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in result["violations"]] == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_without_scripts_the_file_says_what_is_missing(open_file):
    page = open_file(java_script_enabled=False)
    expect(page.get_by_text("It has not run.")).to_be_visible()
    expect(open_file().get_by_text("It has not run.")).to_have_count(0)
