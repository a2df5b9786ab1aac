"""What is promised of the weights and widths of the site, as `make limits` measures it; times are told there."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits

# Pages that are beyond the limit of a next page, should there be some. What becomes light enough must leave this list.
TOO_HEAVY = {"anatomy/masking", "anatomy/positions", "reference/claims"}


@pytest.fixture(scope="module")
def looked(browser, folder):
    """Every page is looked at once. `browser` is asked for, and not used: it says whether there is one."""
    with ThreadPoolExecutor(1) as thread:  # the other browser's event loop is this thread's
        return thread.submit(limits.looked, folder).result()


def test_a_first_visit_is_light_and_the_next_page_lighter_but_for_those_that_are_known(looked, folder):
    found = limits.weights(folder)
    assert {page: first for page, (first, _) in found.items() if first > limits.FIRST_VISIT} == {}
    beyond = {page: after for page, (_, after) in found.items() if after > limits.NEXT_PAGE}
    assert set(beyond) == {f"book/{page}.html" for page in TOO_HEAVY}, beyond


@pytest.mark.parametrize("row", [limits.width, limits.words, limits.screens], ids=["width", "words", "screens"])
def test_nothing_scrolls_sideways_and_what_everybody_reads_is_short(looked, folder, row):
    rows = list(row(folder))
    assert [f"{what}: {measured}, and at most {limit}" for what, limit, measured, holds in rows if holds is False] == []
