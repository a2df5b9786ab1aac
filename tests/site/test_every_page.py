"""Every page, on a desktop and on a phone, light and dark."""

import pytest
from contents import parsed
from survey import PAGES, VIEWS, limits

INDEX, LEDGER = "book/index", "book/reference/claims"
CLAIMS = 1_000  # so many the ledger must hold

everywhere = pytest.mark.parametrize(("page", "view"), [(page, view) for page in PAGES for view in VIEWS])


@everywhere
def test_a_page_complains_of_nothing_and_asks_nothing_of_another_host(seen, page, view):
    assert seen(page, view).trouble == []


@everywhere
def test_axe_finds_no_violation(seen, page, view):
    assert seen(page, view).violations == []


@everywhere
def test_a_page_does_not_scroll_sideways(seen, page, view):
    assert seen(page, view).sideways == []


@everywhere
def test_every_equation_is_typeset(seen, page, view):
    assert seen(page, view).raw_equations == []


@everywhere
def test_every_figure_is_there(seen, page, view):
    assert seen(page, view).unloaded == []


BOOK = [page for page in PAGES if page != "search"]
AROUND = list(zip(BOOK, [None, *BOOK], [*BOOK[1:], None], strict=False))


@pytest.mark.parametrize(("page", "before", "after"), AROUND, ids=BOOK)
def test_previous_and_next_lead_through_the_book_in_its_order(seen, address, page, before, after):
    found = seen(page, "desktop, light")
    assert found.previous == (before and f"{address}/{before}.html")
    assert found.next == (after and f"{address}/{after}.html")


# What is promised of weights and widths, as `make limits` measures it. Times are told there.


@pytest.fixture
def measured(seen, page):
    return {f"{name}.html": seen(name, "desktop, light").measured for name in {INDEX, page}}


@pytest.mark.parametrize("page", BOOK)
def test_a_first_visit_is_light_and_the_next_page_lighter(measured, folder, page):
    first, following = limits.weights(measured, folder)[f"{page}.html"]
    assert first <= limits.FIRST_VISIT
    assert following <= limits.NEXT_PAGE


PARTS = [page for page in BOOK if page.startswith(LEDGER)]


@pytest.mark.parametrize("page", PARTS)
def test_the_ledger_would_be_light_with_as_many_claims_as_it_must_hold(measured, folder, page):
    """Each part as much longer as the whole: nothing is gained by how a page is compressed now."""
    _, following = limits.weights(measured, folder)[f"{page}.html"]
    claims = sum(len(parsed(folder / f"{part}.html").select("table.ledger tbody tr")) for part in PARTS)
    assert len(PARTS) > 1
    assert following * max(1, CLAIMS / claims) <= limits.NEXT_PAGE


@pytest.mark.parametrize("page", BOOK)
def test_nothing_scrolls_sideways_and_what_everybody_reads_is_short(measured, page):
    mine = {f"{page}.html": measured[f"{page}.html"]}
    rows = [row for measure in (limits.width, limits.words, limits.screens) for row in measure(mine)]
    assert [f"{what}: {found}, and at most {limit}" for what, limit, found, holds in rows if holds is False] == []
