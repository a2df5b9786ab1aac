"""Every head in the reader's hands: by mouse, keyboard and touch, on the page that has them."""

import json
import re

import pytest
from survey import AXE

PAGE = "book/imaging/specimen"
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@pytest.fixture
def open_explorer(visit):
    """The page, scrolled to the explorer, when its numbers have come; and the explorer."""

    def open_explorer(**reader):
        page = visit(PAGE, **reader)
        element = page.locator("head-explorer")
        element.scroll_into_view_if_needed()
        element.locator(".panel:not([inert])").wait_for()
        return page, element

    return open_explorer


@pytest.fixture
def measured(folder):
    """The weights of a head as the page's file has them: `measured(element, text, layer, head)`."""

    def measured(element, text, layer, head):
        name = element.get_attribute("src").rpartition("/")[2]
        found = json.loads((folder / "_images" / name).read_text())[text]
        T, digits = len(found["tokens"]), found["weights"]
        start = (12 * layer + head) * T * T
        values = [
            (64 * DIGITS.index(digits[2 * n]) + DIGITS.index(digits[2 * n + 1])) / 4095
            for n in range(start, start + T * T)
        ]
        return found["tokens"], [values[T * i : T * (i + 1)] for i in range(T)]

    return measured


def loaded(page):
    """The files of weights that the page has asked for."""
    return page.evaluate(
        "performance.getEntriesByType('resource').map((e) => e.name).filter((n) => /_images.*json$/.test(n))"
    )


def column(element, side):
    return element.locator(f".{side} button")


def numbers(element, side):
    return [text for text in column(element, side).locator(".weight").all_inner_texts() if text]


def reading(element):
    return element.locator(".reading").inner_text()


def test_the_weights_are_asked_for_when_the_reader_comes_near_and_once(visit):
    page = visit(PAGE)
    element = page.locator("head-explorer")
    element.locator(".panel[inert]").wait_for()
    assert loaded(page) == []
    element.scroll_into_view_if_needed()
    element.locator(".panel:not([inert])").wait_for()
    page.evaluate("scrollTo(0, 0)")
    element.scroll_into_view_if_needed()
    element.locator(".heads button").first.hover()
    assert len(loaded(page)) == 1


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_nothing_moves_when_the_weights_come(visit, width):
    page = visit(PAGE, width=width)
    element = page.locator("head-explorer")
    element.locator(".panel[inert]").wait_for()
    before = element.bounding_box()["height"]
    element.scroll_into_view_if_needed()
    element.locator(".panel:not([inert])").wait_for()
    assert element.bounding_box()["height"] == pytest.approx(before, abs=1)


def test_it_opens_at_the_head_of_the_pages_cell_with_the_shares_of_its_keys(open_explorer, measured):
    _, element = open_explorer()
    tokens, weights = measured(element, 0, 2, 7)
    assert column(element, "to").locator(".token").all_inner_texts() == tokens
    shares = [sum(row[j] for row in weights) / len(tokens) for j in range(len(tokens))]
    assert numbers(element, "to") == [f"{share:.2f}" for share in shares]
    assert numbers(element, "from") == []
    assert element.locator(".lines line").count() == sum(w >= 0.02 for row in weights for w in row)
    assert element.locator(".heads button").count() == 72
    assert element.locator(".note").inner_text().startswith("Layer 2, head 7: 0.")


def test_a_mouse_points_and_the_weights_stand_where_it_looks(open_explorer, measured):
    _, element = open_explorer()
    element.locator(".heads button").nth(12 * 1 + 8).click()
    assert element.get_by_label("Layer", exact=True).input_value() == "1"
    assert element.get_by_label("Head", exact=True).input_value() == "8"
    tokens, weights = measured(element, 0, 1, 8)
    i = tokens.index("wire")
    column(element, "from").nth(i).hover()
    assert numbers(element, "to") == [f"{weight:.2f}" for weight in weights[i]]
    assert element.locator(".lines line").count() == sum(weight >= 0.02 for weight in weights[i])
    assert reading(element).startswith(f"“wire” looks at “,” {weights[i][i + 1]:.2f}")
    column(element, "to").nth(i).hover()
    assert numbers(element, "from") == [f"{row[i]:.2f}" for row in weights]
    assert reading(element).startswith("“wire” gets 0.")
    element.locator(".note").hover()
    assert reading(element).startswith("Beside each key")


def test_a_mouse_on_a_cell_reads_its_weight_and_a_click_keeps_the_row(open_explorer, measured):
    _, element = open_explorer()
    tokens, weights = measured(element, 0, 2, 7)
    T, (i, j) = len(tokens), (5, 0)
    cell = element.locator(".cells rect").nth(T * i + j)
    cell.hover()
    assert reading(element).startswith(f"“{tokens[i]}” gives “{tokens[j]}” {weights[i][j]:.2f}.")
    cell.click()
    element.locator(".note").hover()
    assert column(element, "from").nth(i).get_attribute("aria-pressed") == "true"
    assert element.get_by_label("where a token looks").is_checked()
    assert numbers(element, "to") == [f"{weight:.2f}" for weight in weights[i]]


def test_the_choice_between_looking_and_being_looked_at(open_explorer, measured):
    _, element = open_explorer()
    tokens, weights = measured(element, 0, 2, 7)
    column(element, "from").nth(3).click()
    element.get_by_label("who looks at it").check()
    assert numbers(element, "from") == [f"{row[3]:.2f}" for row in weights]
    assert element.locator("[role=status]").inner_text().startswith(f"“{tokens[3]}” gets")
    element.get_by_label("every line").check()
    assert element.locator("[aria-pressed=true]").count() == 0


def test_another_sentence_keeps_the_head(open_explorer, measured):
    _, element = open_explorer()
    element.get_by_label("Layer", exact=True).select_option("0")
    element.get_by_label("Head", exact=True).select_option("2")
    column(element, "from").last.click()  # the last of 21 tokens is more than the next text has
    element.get_by_label("Sentence").select_option("1")
    tokens, weights = measured(element, 1, 0, 2)
    assert column(element, "from").locator(".token").all_inner_texts() == tokens
    assert numbers(element, "to") == [f"{weight:.2f}" for weight in weights[-1]]
    assert re.search(
        r"^Sentence 2[.] Layer 0, head 2: 1.00 .* the token before", element.locator("[role=status]").inner_text()
    )
    assert element.locator(".cells rect").count() == len(tokens) ** 2


def test_keys_alone_reach_every_head_and_token(open_explorer, measured):
    page, element = open_explorer()
    press = page.keyboard.press

    def focused():
        return page.evaluate("document.activeElement.getAttribute('aria-label')")

    element.get_by_label("Head", exact=True).focus()
    press("Tab")
    assert focused().startswith("Layer 2, head 7:")
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "Home", "ArrowRight", "ArrowRight"):
        press(key)
    assert focused().startswith("Layer 0, head 2: 1.00 of its weight goes to the token before")
    assert element.locator("[role=status]").inner_text() == focused()
    assert element.locator("[aria-checked=true]").count() == 1
    press("End")
    assert focused().startswith("Layer 0, head 11:")

    tokens, weights = measured(element, 0, 0, 11)
    press("Tab")  # to the choice of lines
    press("Tab")  # to the tokens: one stop for all
    for _ in range(3):
        press("ArrowDown")
    assert focused().startswith(f"{tokens[3]} looks at “")
    assert numbers(element, "to") == [f"{weight:.2f}" for weight in weights[3]]
    press("ArrowRight")
    assert focused().startswith(f"{tokens[3]} is looked at by “")
    assert numbers(element, "from") == [f"{row[3]:.2f}" for row in weights]
    press("End")
    press("Enter")
    assert column(element, "to").last.get_attribute("aria-pressed") == "true"
    press("Tab")  # away, and what was pinned stays
    assert not page.evaluate("document.querySelector('head-explorer').contains(document.activeElement)")
    assert numbers(element, "from") == [f"{row[-1]:.2f}" for row in weights]
    press("Shift+Tab")
    assert focused().startswith(f"{tokens[-1]} is looked at by")
    press("Escape")
    assert element.get_by_label("every line").is_checked()


def test_a_finger_pins_a_token_and_lets_it_go(open_explorer, measured):
    _, element = open_explorer(width="phone", touch=True)
    element.locator(".heads button").nth(12 * 3 + 11).tap()
    tokens, weights = measured(element, 0, 3, 11)
    token = column(element, "from").nth(3)
    token.tap()
    assert numbers(element, "to") == [f"{weight:.2f}" for weight in weights[3]]
    assert reading(element).startswith(f"“{tokens[3]}” looks at “")
    token.tap()
    assert reading(element).startswith("Beside each key")
    element.locator(".cells rect").nth(4 * len(tokens) + 2).tap()
    assert reading(element).startswith(f"“{tokens[4]}” gives “{tokens[2]}” {weights[4][2]:.2f}.")


@pytest.mark.parametrize(("width", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_axe_finds_nothing_and_nothing_sticks_out(open_explorer, width, scheme):
    page, element = open_explorer(width=width, scheme=scheme)
    element.locator(".heads button").nth(14).click()
    column(element, "from").nth(3).click()
    page.evaluate(AXE)
    result = page.evaluate("axe.run('head-explorer', { preload: false })")
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in result["violations"]] == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert element.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_it_is_still_where_motion_is_unwanted(open_explorer):
    page, element = open_explorer(reduced_motion=True)
    moving = "e => [...e.querySelectorAll('*')].filter((x) => getComputedStyle(x).transitionDuration !== '0s').length"
    assert element.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert element.evaluate(moving) > 0


def test_figures_stand_where_no_script_runs(visit):
    page = visit(PAGE, scripts=False)
    images = page.locator("head-explorer > figure.measured img")
    assert [images.nth(n).is_visible() for n in range(images.count())] == [True] * 3
    assert images.first.get_attribute("alt").startswith("Grid of 72 thumbnails")
    assert page.locator("head-explorer .panel").count() == 0


def test_without_its_numbers_it_says_so_and_gives_the_figures_back(visit):
    page = visit(PAGE)
    element = page.locator("head-explorer")
    page.route("**/_images/*.json", lambda route: route.fulfill(body="<p>The network's page of welcome</p>"))
    assert element.locator("figure").first.is_hidden()
    element.scroll_into_view_if_needed()
    element.get_by_text("The weights could not be loaded, so the figures stand still.").wait_for()
    assert element.locator(".panel").count() == 0
    assert all(element.locator("figure").nth(n).is_visible() for n in range(3))
