"""Every page, on a desktop and on a phone, light and dark."""

import pytest
from survey import PAGES, VIEWS

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
