"""The head explorer on a model with a mask: half the numbers, many layers side by side."""

import json

import pytest

PAGE = "book/imaging/language-model"
LAYERS, HEADS = 30, 9
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@pytest.fixture
def open_explorer(visit):
    def open_explorer(**reader):
        page = visit(PAGE, **reader)
        element = page.locator("head-explorer")
        element.scroll_into_view_if_needed()
        element.locator(".panel:not([inert])").wait_for()
        return page, element

    return open_explorer


def rows_of(folder, element, layer, head):
    """The tokens and the rows, up to the diagonal, that the file has for a head of the first text."""
    name = element.get_attribute("src").rpartition("/")[2]
    text = json.loads((folder / "_images" / name).read_text())[0]
    T = len(text["tokens"])
    size = T * (T + 1) // 2
    assert len(text["weights"]) == 2 * LAYERS * HEADS * size
    digits = text["weights"][2 * size * (HEADS * layer + head) :]
    values = [(64 * DIGITS.index(digits[2 * n]) + DIGITS.index(digits[2 * n + 1])) / 4095 for n in range(size)]
    return text["tokens"], [values[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2] for i in range(T)]


def test_a_row_has_the_files_numbers_and_nothing_of_the_future(open_explorer, folder):
    _, element = open_explorer()
    tokens, rows = rows_of(folder, element, 18, 6)
    i = 13
    element.locator(".from button").nth(i).hover()
    shown = [text for text in element.locator(".to .weight").all_inner_texts() if text]
    assert shown == [f"{weight:.2f}" for weight in rows[i]] + ["0.00"] * (len(tokens) - i - 1)
    cells = element.locator(".cells rect")
    assert cells.nth(len(tokens) * i + i + 1).get_attribute("fill") == "rgb(195,199,205)"
    assert cells.nth(len(tokens) * i + i).get_attribute("fill") != "rgb(195,199,205)"


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_two_blocks_of_layers_stand_side_by_side_and_fit(open_explorer, width):
    page, element = open_explorer(width=width)
    buttons = element.locator(".heads button")
    assert buttons.count() == LAYERS * HEADS

    def box(layer, head):
        return element.get_by_role("radio", name=f"Layer {layer}, head {head}:").bounding_box()

    first, beside, below, last = box(0, 0), box(15, 0), box(1, 0), box(29, 8)
    assert beside["y"] == pytest.approx(first["y"], abs=1)
    assert beside["x"] > box(0, 8)["x"]
    assert below["x"] == pytest.approx(first["x"], abs=1)
    assert last["y"] == pytest.approx(box(14, 8)["y"], abs=1)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_arrows_go_down_the_layers_across_the_blocks(open_explorer):
    page, element = open_explorer()
    element.get_by_label("Layer", exact=True).select_option("14")
    element.get_by_label("Head", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Layer 15, head 6:")


def test_texts_are_called_by_their_names(open_explorer):
    _, element = open_explorer()
    names = element.get_by_label("Sentence").locator("option").all_inner_texts()
    assert names[1].startswith("The surgeon cut the wire, and then")
    assert len(names) == 3
