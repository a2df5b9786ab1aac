"""The operating table on real pages: by mouse, keyboard and touch, for eyes and ears, with scripts and without."""

import re

import pytest
from playwright.sync_api import expect
from survey import AXE

from surgeon.instruments.operating import (
    draw_inputs,
    operate,
    permissions,
    vital_signs,
)

THEATRE = "book/reference/theatre"
PAGES = [
    "book/anatomy/scores",
    "book/anatomy/softmax",
    "book/anatomy/scaling",
    "book/anatomy/masking",
    "book/anatomy/attention",
    "book/ablations/no-scale",
    THEATRE,
]


@pytest.fixture
def open_table(visit):
    """A page and the table on it, ready."""

    def open_table(name=THEATRE, **reader):
        page = visit(name, **reader)
        table = page.locator("operating-table")
        table.scroll_into_view_if_needed()
        table.locator(".ops").wait_for()
        table.scroll_into_view_if_needed()
        return page, table

    return open_table


def expected(table, **changes):
    """What surgeon makes of the table's attributes, with changes."""
    given = table.evaluate("(t) => Object.fromEntries([...t.attributes].map((a) => [a.name, a.value]))") | changes
    words = given["tokens"].split()
    flipped = [tuple(map(int, cell.split(","))) for cell in given["flipped"].split()]
    may_look = permissions(given["mask"], len(words), int(given["padded"]), flipped)
    done = operate(
        *draw_inputs(words, int(given["d-k"]), int(given["seed"])),
        may_look,
        scale=given["scale"] == "on",
        stable=given["stable"] == "on",
        temperature=float(given["temperature"]),
        precision=given["precision"],
    )
    return words, done, vital_signs(done.weights, may_look)


def sign(table, name):
    return table.locator(f"[data-sign={name}] b")


def short(x):
    """A number as a readout writes it."""
    return f"{x:.{0 if abs(x) >= 100 else 1 if abs(x) >= 10 else 2}f}".replace("-", "−")


def readout(table, stage):
    return table.locator(f"[data-stage={stage}] .ot-readout")


def point_of(table, stage, row, column):
    """The middle of a cell, in the page."""
    return table.evaluate(
        """(t, [stage, row, column]) => {
            const card = t.cards.find((one) => one.name === stage);
            card.grid.scrollIntoView({ block: "center" });
            const box = card.grid.getBoundingClientRect();
            return [box.left + card.left + (column + 0.5) * card.width, box.top + card.top + (row + 0.5) * card.height];
        }""",
        [stage, row, column],
    )


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label')")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_at_the_start_what_its_figure_shows(open_table, name):
    _, table = open_table(name)
    words, done, signs = expected(table)
    asked = table.get_attribute("stages").split()
    shown = [one for one in asked if one != "tokens"]
    assert table.locator("[data-stage]").evaluate_all("(all) => all.map((one) => one.dataset.stage)") == shown
    assert not table.locator("figure").is_visible()
    last, first = words[-1], words[0]
    if "scores" in shown:
        expect(readout(table, "scores")).to_have_text(f"{last} → {first}: q · k = {short(done.scores[-1, 0])}")
    if sign(table, "largest").count():
        expect(sign(table, "largest")).to_have_text(f"{signs['largest']:.3f}")
        expect(sign(table, "entropy")).to_have_text(f"{signs['entropy']:.2f}")


def test_the_mouse_points_at_a_cell_and_every_stage_answers(open_table):
    page, table = open_table()
    words, done, _ = expected(table)
    page.mouse.move(*point_of(table, "weights", 5, 2))
    expect(readout(table, "weights")).to_have_text(
        re.compile(f"{words[5]} → {words[2]}: .* = {done.weights[5, 2]:.3f}$")
    )
    expect(readout(table, "scores")).to_have_text(f"wire → cut: q · k = {short(done.scores[5, 2])}")
    expect(readout(table, "mask")).to_have_text(f"wire → cut: open, {short(done.scaled[5, 2])}")
    assert table.locator(".ot-words [data-query]").inner_text() == "wire"
    page.mouse.move(0, 0)
    expect(readout(table, "scores")).to_contain_text("waited → the")


def test_a_click_blocks_a_cell_and_opens_it_again(open_table):
    page, table = open_table(PAGES[3])
    expect(readout(table, "mask")).to_contain_text("open")
    for flipped in ("4,1", ""):
        page.mouse.click(*point_of(table, "mask", 4, 1))
        _, done, _ = expected(table, flipped=flipped)
        expect(readout(table, "mask")).to_contain_text("blocked" if flipped else "open")
        expect(readout(table, "weights")).to_contain_text(f"= {done.weights[4, 1]:.3f}" if not flipped else "= 0.000")


def test_the_keyboard_reaches_everything_and_walks_in_a_matrix(open_table):
    page, table = open_table()
    stops = table.evaluate(
        """(t) => [...t.querySelectorAll("input, select, button, [tabindex='0']")]
            .filter((e) => e.offsetParent).length"""
    )
    table.locator("input[type=text]").focus()
    seen = []
    for _ in range(stops):
        seen.append(page.evaluate("document.activeElement.closest('[data-stage]')?.dataset.stage"))
        page.keyboard.press("Tab")
    assert [one for one in seen if one] == [one for one in table.get_attribute("stages").split() if one != "tokens"]
    page.keyboard.press("Shift+Tab")
    assert focused(page).startswith("query waited, coordinate 1:")
    cell = table.locator("[data-stage=weights] [role=gridcell][tabindex='0']")
    cell.focus()
    for key, place in (
        ("ArrowUp", "query and, key the"),
        ("ArrowRight", "query and, key surgeon"),
        ("End", "query and, key waited"),
        ("Home", "query and, key the"),
        ("ArrowLeft", "query and, key the"),
        ("Control+End", "query waited, key waited"),
        ("PageUp", "query the, key waited"),
        ("Control+Home", "query the, key the"),
        ("ArrowDown", "query surgeon, key the"),
    ):
        page.keyboard.press(key)
        assert focused(page).startswith(f"{place}:"), key
    assert table.locator("[data-stage=weights] [role=gridcell]:visible").count() == 1
    assert cell.evaluate("(c) => [c.closest('[role=row]').ariaRowIndex, c.ariaColIndex]") == ["2", "1"]


@pytest.mark.parametrize("stable", [True, False], ids=["stable", "naive"])
def test_a_row_is_blocked_by_keyboard_and_the_signs_say_so(open_table, stable):
    page, table = open_table(PAGES[3])
    if not stable:
        table.get_by_label("subtract the maximum").uncheck()
    table.locator("[data-stage=mask] [role=gridcell][tabindex='0']").focus()
    for key in ("Enter", "Space", "Enter", "Enter", "Enter", "Space", "Enter"):
        page.keyboard.press(key)
        page.keyboard.press("ArrowRight")
    expect(sign(table, "empty")).to_have_text("1 of 7")
    expect(sign(table, "broken")).to_have_text("0 of 7" if stable else "1 of 7")
    expect(readout(table, "output")).to_contain_text("0.00" if stable else "NaN")
    expect(table.get_by_role("status")).to_contain_text("Empty rows 1 of 7")
    page.evaluate(AXE)
    found = page.evaluate(
        "axe.run('operating-table', { preload: false }).then((done) => done.violations.map((v) => v.id))"
    )
    assert found == []
    table.get_by_role("button", name="As it was").click()
    expect(sign(table, "empty")).to_have_text("0 of 7")


def test_what_is_heard_comes_once_and_when_the_signs_have_come_to_rest(open_table):
    page, table = open_table()
    status = table.get_by_role("status")
    page.wait_for_timeout(900)
    assert status.inner_text() == ""
    page.evaluate(
        """() => {
            window.heard = [];
            const status = document.querySelector("operating-table [role=status]");
            new MutationObserver(() => heard.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    table.get_by_label("temperature").focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1500)
    (text,) = page.evaluate("heard")
    assert re.fullmatch(r"Largest weight [\d.]+\. Entropy [\d.]+ nats, \d+% of its maximum\. Gradient [\d.]+\.", text)


def test_the_width_the_scale_and_new_inputs(open_table):
    page, table = open_table(PAGES[5])
    width = table.get_by_label("width")
    width.focus()
    page.keyboard.press("End")
    assert width.get_attribute("aria-valuetext") == "1024"
    for seed, scale in ((0, "off"), (1, "off"), (1, "on")):
        _, _, signs = expected(table, **{"d-k": 1024, "seed": seed, "scale": scale})
        if seed and scale == "off":
            table.get_by_role("button", name="Draw new inputs").click()
        table.get_by_label("divide by").set_checked(scale == "on")
        expect(sign(table, "largest")).to_have_text(f"{signs['largest']:.3f}")
        expect(sign(table, "entropy")).to_have_text(f"{signs['entropy']:.2f}")
        if signs["gradient"] >= 1e-3:
            expect(sign(table, "gradient")).to_have_text(f"{signs['gradient']:.3f}")


def test_an_overflow_can_be_seen_and_is_mended_by_the_maximum(open_table):
    _, table = open_table(PAGES[1])
    _, _, signs = expected(table, stable="off", precision="float16")
    assert signs["broken"] > 0
    table.get_by_label("precision").select_option("float16")
    expect(sign(table, "broken")).to_have_text("0 of 5")
    table.get_by_label("subtract the maximum").uncheck()
    expect(sign(table, "broken")).to_have_text(f"{signs['broken']} of 5")
    table.get_by_label("subtract the maximum").check()
    expect(sign(table, "broken")).to_have_text("0 of 5")


def test_words_of_ones_own_and_thirty_two_of_them(open_table):
    page, table = open_table()
    text = table.get_by_label("words, yours")
    text.fill("no no  <b>no</b>")
    text.press("Enter")
    expect(table.locator(".ot-words li")).to_have_text(["no", "no", "<b>no</b>"])
    count = table.get_by_label("how many words")
    count.focus()
    page.keyboard.press("End")
    expect(table.locator(".ot-words li")).to_have_count(32)
    words = text.input_value().split()
    assert len(set(words)) == 31
    _, _, signs = expected(table, tokens=" ".join(words))
    expect(sign(table, "largest")).to_have_text(f"{signs['largest']:.3f}")


def test_on_a_phone_a_finger_blocks_points_and_moves_nothing_sideways(open_table):
    page, table = open_table(PAGES[3], width="phone", touch=True)
    for row, column in ((2, 1), (0, 0)):
        page.touchscreen.tap(*point_of(table, "mask", row, column))
    expect(sign(table, "empty")).to_have_text("1 of 7")
    page.touchscreen.tap(*point_of(table, "weights", 2, 0))
    expect(readout(table, "weights")).to_contain_text("dropped → the:")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_nothing_sticks_out_with_thirty_two_words(open_table):
    page, table = open_table(width="phone", touch=True)
    table.evaluate("(t) => t.count(32)")
    expect(table.locator(".ot-words li")).to_have_count(32)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert table.evaluate(
        "(t) => [...t.querySelectorAll('*')].every((e) => e.getBoundingClientRect().right <= innerWidth)"
    )


def test_the_colours_follow_the_scheme(open_table):
    """No weight is pale in the light and dark in the dark, as is the ground that it stands on."""
    page, table = open_table()
    nothing, ground = "(t) => t.colours.weights[0].rgb[0]", "(t) => getComputedStyle(t.cards[0].node).color"
    light = table.evaluate(nothing), table.evaluate(ground)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(200)
    assert table.evaluate(nothing) < 100 < light[0]
    assert table.evaluate(ground) != light[1]


def test_nothing_moves_for_who_wants_nothing_to_move(open_table):
    page, table = open_table(reduced_motion=True)
    table.get_by_role("button", name="Draw new inputs").click()
    page.wait_for_timeout(100)
    assert table.evaluate("(t) => t.getAnimations({ subtree: true }).length") == 0


def test_the_tables_script_is_asked_for_when_the_reader_comes_near(visit):
    page = visit("book/anatomy/scores")
    asked = "performance.getEntriesByType('resource').filter((e) => /operating-table\\.mjs/.test(e.name)).length"
    page.wait_for_timeout(300)
    assert page.evaluate(asked) == 0
    page.locator("operating-table").scroll_into_view_if_needed()
    page.locator("operating-table .ops").wait_for()
    assert page.evaluate(asked) == 1


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_a_figure_stands_there(visit, name):
    page = visit(name, scripts=False)
    image = page.locator("operating-table figure.measured img")
    assert image.is_visible()
    assert re.search(r"\d", image.get_attribute("alt"))
    assert page.locator("operating-table .ops").count() == 0


def test_where_the_script_does_not_come_the_figure_stands_in(browser, address):
    page = browser.new_page()
    page.route("**/*.mjs*", lambda route: route.abort())
    page.goto(f"{address}/{THEATRE}.html")
    expect(page.locator("operating-table figure.measured img")).to_be_visible()
    page.close()
