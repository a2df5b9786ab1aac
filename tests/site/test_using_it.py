"""What a reader does on any page: switch the theme, unfold, copy, go on, read it without scripts."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

LESSON, NEXT = "book/anatomy/softmax", "book/anatomy/scaling"


def theme(page: Page) -> str:
    """What is painted, not what was asked for. A page that paints nothing is white."""
    red, green, blue, *alpha = map(
        float, re.findall(r"[\d.]+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    )
    return "dark" if alpha != [0] and red + green + blue < 384 else "light"


# The dialog of the search


def test_the_search_dialog_opens_by_a_button_and_closes_by_escape(visit):
    page = visit(LESSON)
    page.get_by_role("button", name="Search").first.click()
    field = page.locator("dialog input[type=search]")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()


# Light and dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_until_it_is_switched_and_then_stays_so(visit, scheme):
    page = visit(LESSON, scheme=scheme)
    assert theme(page) == scheme
    other = {"light": "dark", "dark": "light"}[scheme]
    switch = page.get_by_role("button", name=re.compile("colou?r mode|theme", re.IGNORECASE)).first
    for _ in range(3):
        if theme(page) == scheme:
            switch.click()
    assert theme(page) == other
    page.reload()
    assert theme(page) == other
    assert theme(visit(NEXT, context=page.context)) == other


def test_the_theme_follows_a_system_that_turns_dark_at_night(visit):
    page = visit(LESSON, scheme="light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert theme(page) == "dark"


# Finding one's way


def test_the_sidebar_of_a_phone_opens_and_closes(visit):
    page = visit(LESSON, width="phone", touch=True)
    link = page.get_by_role("link", name="Scaling", exact=True).first
    toggle = page.get_by_role(
        "button", name=re.compile("primary sidebar|contents|navigation|menu", re.IGNORECASE)
    ).first
    expect(link).not_to_be_in_viewport()
    toggle.tap()
    expect(link).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(link).not_to_be_in_viewport()
    toggle.tap()
    link.tap()
    page.wait_for_url(f"**/{NEXT}.html")
    expect(link).not_to_be_in_viewport()


def test_the_first_tab_offers_to_skip_to_the_text(visit):
    page = visit(LESSON)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to main content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_next_and_previous_go_there_and_back(visit):
    page = visit(LESSON)
    page.locator("a.right-next").click()
    page.wait_for_url(f"**/{NEXT}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"**/{LESSON}.html")


def test_a_heading_can_be_linked_to(visit):
    """The mark beside it appears under the pointer, and its address leads to the heading."""
    page = visit(LESSON)
    heading = page.locator("article h2").nth(1)
    heading.hover()
    heading.locator("a.headerlink").click()
    assert "#" in page.url
    expect(heading).to_be_in_viewport()


# Unfolding and copying


def unfolds(page: Page, control: Locator, content: Locator) -> None:
    """By keyboard alone: it opens, it closes, and the focus stays where it was."""
    expect(content).to_be_hidden()
    control.focus()
    page.keyboard.press("Enter")
    expect(content).to_be_visible()
    expect(control).to_be_focused()
    page.keyboard.press("Space")
    expect(content).to_be_hidden()


@pytest.mark.parametrize("kind", ["details.hide", "details.sd-dropdown", ".solution details"])
def test_what_is_folded_opens_by_keyboard(visit, kind):
    """Code cells, predictions and solutions."""
    page = visit(LESSON)
    folded = page.locator(f"article {kind}")
    assert folded.count() >= 1
    for details in folded.all():
        unfolds(page, details.locator("> summary"), details.locator("> :not(summary)").first)


def test_a_cell_is_copied_as_it_stands(visit):
    page = visit(LESSON)
    cell = page.locator("article .cell_input:visible").first
    cell.hover()
    cell.get_by_role("button", name=re.compile("copy", re.IGNORECASE)).click()
    code = cell.locator("pre").inner_text()
    assert page.evaluate("navigator.clipboard.readText()").strip() == code.strip()


def test_the_copy_button_can_be_seen_when_the_keyboard_reaches_it(visit):
    page = visit(LESSON)
    button = page.locator("article .cell_input:visible button.copybtn").first
    button.focus()
    page.wait_for_function("e => getComputedStyle(e).opacity >= 0.5", arg=button.element_handle(), timeout=2000)


# Without scripts


@pytest.mark.parametrize("name", ["book/index", LESSON, "book/imaging/specimen"])
def test_a_page_can_be_read_without_scripts(visit, name):
    page = visit(name, scripts=False)
    assert theme(page) == "light"
    expect(page.locator("article h1")).to_be_visible()
    for details in page.locator("article details").all():
        details.locator("> summary").press("Enter")
    for kind in ("img", ".katex-html", "p.claim"):
        shown = page.locator(f"article {kind}")
        for thing in shown.all():
            expect(thing).to_be_visible()
    assert page.eval_on_selector_all(
        "article img", "all => all.every((image) => image.complete && image.naturalWidth > 0)"
    )
