"""Tables that can be searched, in use: the zoo's bugs, and the symptoms that lead to them."""

import re
from itertools import groupby

import pytest
from contents import PAGES, parsed
from survey import AXE

from surgeon.ablations.bug_starts import load_starts, tiers
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES, title

ZOO_PAGE = "book/ablations/bug-zoo"
SYMPTOMS = "book/ablations/zoo/symptoms"
LEDGER = "book/reference/claims"
PARTS = [page for page in PAGES if page.startswith(f"{LEDGER}/")]


@pytest.fixture
def open_table(visit):
    """The page, and its table when it can be searched."""

    def open_table(name=ZOO_PAGE, **reader):
        page = visit(name, **reader)
        element = page.locator("search-table[ready]")
        element.wait_for()
        return page, element

    return open_table


def names(element):
    """What the shown rows begin with."""
    return [row.locator(":scope > *").first.inner_text().split("\n")[0] for row in shown(element)]


def shown(element):
    return element.locator("tbody tr:not([hidden])").all()


def column(element, n):
    return element.locator(f"tbody tr:not([hidden]) > :nth-child({n + 1})").all_inner_texts()


def said(element):
    return element.locator("[role=status]").inner_text()


def groups(element, measure="gap"):
    """Of the shown rows, the group that sixteen starts put each in; none of what was not tried."""
    group, faults = tiers(load_starts(), measure), {title(fault): name for name, fault in ZOO.items()}
    titles = element.locator("tbody tr:not([hidden]) th a").all_inner_texts()
    return [group.get(faults[name]) for name in titles]


def test_every_bug_has_a_row_that_leads_to_its_card(open_table, visit):
    page, element = open_table()
    links = element.locator("tbody th a")
    assert sorted(links.all_inner_texts()) == sorted(map(title, ZOO.values()))
    blocks = [words for words, _ in groupby(column(element, 2))]
    assert len(blocks) == len(set(blocks))
    assert (blocks[0], blocks[-2], blocks[-1]) == ("nothing", "impossible", "not tried")
    assert said(element) == f"{len(ZOO)} of {len(ZOO)} bugs."
    links.filter(has_text=re.compile("^Viewed heads$")).click()
    page.wait_for_url("**/zoo/heads.html#bug-viewed-heads")
    assert page.locator("#bug-viewed-heads h2, #bug-viewed-heads + h2, #bug-viewed-heads + section h2").count()


def test_words_filters_and_the_way_back(open_table):
    _, element = open_table()
    element.get_by_label("Search", exact=True).fill("Scores NaN")
    few = said(element)
    assert 1 <= len(shown(element)) < 10
    assert few == f"{len(shown(element))} of {len(ZOO)} bugs."
    element.get_by_label("Search", exact=True).fill("")
    element.get_by_label("family", exact=True).select_option("scale")
    assert len(shown(element)) == len(FAMILIES["scale"].faults)
    element.get_by_label("training shows", exact=True).select_option("nothing")
    assert element.locator("tbody tr:not([hidden]) a").all_inner_texts() == ["Scaled too late"]
    assert said(element) == f"1 of {len(ZOO)} bugs."
    element.get_by_label("found by", exact=True).select_option("mask obeyed")
    assert (len(shown(element)), said(element)) == (0, f"0 of {len(ZOO)} bugs.")
    element.get_by_role("button", name="Show all").click()
    assert len(shown(element)) == len(ZOO)
    assert element.get_by_role("button", name="Show all").is_hidden()
    assert element.get_by_label("Search", exact=True).evaluate("e => e === document.activeElement")


def test_a_bug_is_found_by_the_name_that_it_has_in_code_and_by_its_thread(open_table):
    _, element = open_table()
    for search in ("CausalInTrainingOnly", "kronos199"):
        element.get_by_label("Search", exact=True).fill(search)
        assert element.locator("tbody tr:not([hidden]) a").all_inner_texts() == ["Causal in training only"]


def test_a_column_sorts_up_and_down_and_as_it_was(open_table):
    _, element = open_table()
    before = names(element)
    loss = element.get_by_role("button", name="loss", exact=True)
    head = element.locator("thead th").nth(3)
    loss.click()
    up = groups(element)
    assert up[:-2] == sorted(up[:-2])
    assert (up[-2:], column(element, 3)[-2:]) == ([None, None], ["–", "–"])
    assert head.get_attribute("aria-sort") == "ascending"
    assert said(element).endswith("bugs, by loss.")
    loss.click()
    down = groups(element)
    assert down[:-2] == sorted(down[:-2], reverse=True)
    assert down[-2:] == [None, None]
    assert head.get_attribute("aria-sort") == "descending"
    assert said(element).endswith("bugs, by loss, downwards.")
    loss.click()
    assert names(element) == before
    assert head.get_attribute("aria-sort") is None
    family = element.get_by_role("button", name="family", exact=True)
    family.click()
    assert column(element, 1) == sorted(column(element, 1))
    assert element.locator("[aria-sort]").count() == 1


def test_keys_alone_search_filter_sort_and_follow(open_table):
    page, element = open_table()
    press = page.keyboard.press
    element.get_by_label("Search", exact=True).focus()
    page.keyboard.type("mask")
    assert len(shown(element)) < len(ZOO)
    press("Enter")  # sends nothing
    assert page.url.endswith("bug-zoo.html")
    press("Tab")
    page.keyboard.type("pad")  # chooses from the first filter
    assert {text.strip() for text in column(element, 1)} == {"padding"}
    for _ in range(4):  # two filters, the button, the first head
        press("Tab")
    press("Space")
    assert element.locator("[aria-sort=ascending]").inner_text().startswith("bug")
    for _ in range(6):
        press("Tab")
    assert page.evaluate(
        "document.activeElement.closest('tr') === document.querySelector('search-table tbody tr:not([hidden])')"
    )
    press("Enter")
    page.wait_for_url("**/zoo/padding.html#bug-*")


def test_a_pasted_message_finds_its_row_and_says_when_it_is_the_nearest(open_table):
    _, element = open_table(SYMPTOMS)
    search = element.get_by_label("Search", exact=True)
    for pasted, cause in (
        ("RuntimeError: shape '[8, 128, 12, 60]' is invalid for input of size 786432", "the width of the model"),
        ("loss 0.0 after one epoch", "Targets not shifted"),
        ("generates the same token", "Top left causal"),
        ("loss is nan", "Dead rows nan"),
    ):
        search.fill(pasted)
        assert cause in element.locator("tbody").inner_text(), pasted
        assert 1 <= len(shown(element)) <= 6, pasted
    search.fill("my loss is nan after a restart of training")
    assert shown(element)
    assert said(element).endswith("None has every word; these have most.")
    search.fill("")
    element.get_by_label("seen in").select_option("heat map")
    assert set(column(element, 1)) == {"heat map"}


# ---- A table whose rows are on several pages -------------------------------------------------------------------------


@pytest.fixture
def open_ledger(visit):
    """The ledger, and its table when the reader has come to it."""

    def open_ledger(**reader):
        page = visit(LEDGER, **reader)
        page.locator("search-table").scroll_into_view_if_needed()
        element = page.locator("search-table[ready]")
        element.wait_for()
        return page, element

    return open_ledger


def claims(folder, page):
    return parsed(folder / f"{page}.html").select("table.ledger tbody tr")


def test_the_rows_of_other_pages_come_when_a_reader_does(visit, folder):
    page = visit(LEDGER)
    table = page.locator("search-table")
    own = len(claims(folder, LEDGER))
    page.wait_for_load_state("networkidle")
    assert (table.locator("tbody tr").count(), page.locator("search-table[ready]").count()) == (own, 0)
    table.scroll_into_view_if_needed()
    page.locator("search-table[ready]").wait_for()
    every = own + sum(len(claims(folder, part)) for part in PARTS)
    assert table.locator("tbody tr").count() == every
    assert said(table) == f"{every} of {every} claims."
    told = [row.th.a.get_text() for one in (LEDGER, *PARTS) for row in claims(folder, one)]
    assert table.locator("tbody th a").all_text_contents() == told


def test_brought_rows_are_chosen_from_and_sorted_with_the_others_and_lead_where_they_did(open_ledger, folder):
    page, element = open_ledger()
    kind, of = element.get_by_label("Kind", exact=True), element.get_by_label("Page", exact=True)
    kind.select_option("identity")
    every = [row for one in (LEDGER, *PARTS) for row in claims(folder, one)]
    assert len(shown(element)) == sum(row.find_all("td")[1].get_text() == "identity" for row in every)
    kind.select_option("")
    element.get_by_role("button", name="Page", exact=True).click()
    titles = element.locator("tbody tr > :nth-child(2)").all_text_contents()
    assert titles == sorted(titles, key=str.casefold)
    assert len(set(titles)) > len(PARTS)
    of.select_option("Bugs of heads and batches")
    element.locator("tbody tr:not([hidden]) a").first.click()
    page.wait_for_url("**/book/ablations/zoo/heads.html#claim-*")
    assert page.locator("p.claim:target").count() == 1


def test_a_table_says_so_when_rows_did_not_come(visit, folder):
    page = visit(LEDGER)
    page.route(f"**/{PARTS[1]}.html", lambda route: route.fulfill(body="<p>The network's page of welcome</p>"))
    page.locator("search-table").scroll_into_view_if_needed()
    element = page.locator("search-table[ready]")
    element.wait_for()
    came = sum(len(claims(folder, one)) for one in (LEDGER, *PARTS) if one != PARTS[1])
    assert said(element) == f"{came} of {came} claims. Others did not come: the links above lead to them."
    assert page.locator(f'.ledger-parts a[href="{PARTS[1].removeprefix("book/reference/")}.html"]').is_visible()


@pytest.mark.parametrize("part", PARTS)
def test_without_scripts_each_part_is_a_whole_table_and_the_ledger_leads_to_it(visit, folder, part):
    page = visit(LEDGER, scripts=False)
    page.locator(f'.ledger-parts a[href="{part.removeprefix("book/reference/")}.html"]').click()
    rows = page.locator("search-table tbody tr")
    assert rows.count() == len(claims(folder, part)) > 0
    assert rows.last.is_visible()


@pytest.mark.parametrize("name", [ZOO_PAGE, SYMPTOMS])
def test_without_scripts_it_is_the_whole_table(visit, name):
    page = visit(name, scripts=False)
    rows = page.locator("search-table tbody tr")
    assert rows.count() >= len(ZOO)
    assert all(row.is_visible() for row in rows.all())
    assert page.locator("search-table :is(form, button)").count() == 0


@pytest.mark.parametrize("name", [ZOO_PAGE, SYMPTOMS])
@pytest.mark.parametrize(("width", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_axe_finds_nothing_and_nothing_sticks_out(open_table, name, width, scheme):
    """Once it has been used; every page is looked at as it opens."""
    page, element = open_table(name, width=width, scheme=scheme)
    element.locator("thead button").nth(1).click()
    element.get_by_label("Search", exact=True).fill("mask")
    assert 0 < len(shown(element)) < element.locator("tbody tr").count() / 2
    page.evaluate(AXE)
    result = page.evaluate("axe.run('search-table', { preload: false })")
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in result["violations"]] == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert element.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_on_a_phone_a_row_says_what_its_cells_are_and_stays_a_row(open_table):
    _, element = open_table(width="phone")
    row = element.locator("tbody tr").first
    assert row.get_attribute("role") == "row"
    label = "c => getComputedStyle(c, '::before').content"
    assert [cell.evaluate(label) for cell in row.locator("td").all()][:2] == ['"family: "', '"training shows: "']
    assert [cell.get_attribute("role") for cell in row.locator("td").all()] == ["cell"] * 5
    assert row.bounding_box()["width"] <= 360
