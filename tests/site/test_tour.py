"""The theatre's tour: a beginning, steps that set the table, and an end; by keyboard, for eyes and ears."""

import re

import pytest
from playwright.sync_api import expect
from survey import AXE

THEATRE = "book/reference/theatre"
STEPS = 20


@pytest.fixture
def tour(visit):
    """The page, the tour on it, and the table's knobs."""

    def tour(**reader):
        page = visit(THEATRE, **reader)
        page.locator("operating-table").scroll_into_view_if_needed()
        page.locator("operating-table .ops").wait_for()
        there = page.locator("theatre-tour")
        expect(there.get_by_role("button", name="Take the tour")).to_be_visible()
        return page, there, lambda: page.locator("operating-table").evaluate("(t) => t.settings")

    return tour


def said(there, start: str) -> None:
    expect(there.locator("p[aria-live=polite]")).to_have_text(re.compile(f"^{re.escape(start)}"))


def test_it_goes_from_its_beginning_to_its_end_by_keyboard(tour):
    page, there, knobs = tour()
    start = knobs()
    there.get_by_role("button", name="Take the tour").press("Enter")
    seen = []
    for step in range(1, STEPS + 1):
        said(there, f"Step {step} of {STEPS}")
        expect(there.get_by_role("button", name="Finish" if step == STEPS else "Next")).to_be_focused()
        seen.append(there.locator("p").inner_text())
        page.keyboard.press("Enter")
    assert len(set(seen)) == STEPS
    expect(there.locator("p")).to_be_empty()
    expect(there.get_by_role("button", name="Take the tour")).to_be_focused()
    assert knobs() == start


def test_a_step_sets_the_table_and_says_what_it_shows(tour):
    page, there, knobs = tour()
    there.get_by_role("button", name="Take the tour").click()
    for _ in range(2):
        there.get_by_role("button", name="Next").click()
    said(there, f"Step 3 of {STEPS}, item 1. ")
    assert (knobs()["scale"], knobs()["d_k"]) == (False, 1024)
    shown = page.locator("operating-table [data-sign=largest] dd b").inner_text()
    expect(there.locator("p")).to_contain_text(f"Largest weight {shown}")
    expect(page.locator("operating-table .ops [data-tour]")).to_have_count(2)
    there.get_by_role("button", name="Back").click()
    said(there, f"Step 2 of {STEPS}, item 1. ")
    assert (knobs()["scale"], knobs()["d_k"]) == (False, 64)
    page.keyboard.press("Escape")
    assert knobs()["scale"]
    expect(page.locator("operating-table .ops [data-tour]")).to_have_count(0)


def test_each_item_shows_itself_on_the_table(tour):
    page, there, _ = tour(reduced_motion=True)
    ways = page.locator("#things-to-try > ol > li .tour-way")
    expect(ways).to_have_count(7)
    for item in (0, 5):
        ways.nth(item).click()
        expect(there.locator("p")).to_contain_text(f", item {item + 1}. ")
        expect(page.locator("operating-table .ot-signs")).to_be_in_viewport()
        there.get_by_role("button", name="End the tour").click()
        expect(ways.nth(item)).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_and_reached_on_a_phone(tour, scheme):
    page, there, _ = tour(width="phone", touch=True, scheme=scheme)
    there.get_by_role("button", name="Take the tour").tap()
    there.get_by_role("button", name="Next").tap()
    said(there, f"Step 2 of {STEPS}")
    expect(there.locator("p")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(AXE)
    found = page.evaluate("axe.run('theatre-tour').then((result) => result.violations.map((one) => one.id))")
    assert found == []


def test_without_scripts_nothing_is_offered(visit):
    page = visit(THEATRE, scripts=False)
    expect(page.get_by_role("button", name="Take the tour")).to_have_count(0)
