"""What is promised of the weights and widths of the site, as `make limits` measures it; times are told there."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from contents import parsed
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits

# Pages that are beyond the limit of a next page, should there be some. What becomes light enough must leave this list.
TOO_HEAVY: set[str] = set()
CLAIMS = 1_000  # so many the ledger must hold


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


def test_the_ledger_would_be_light_with_as_many_claims_as_it_must_hold(looked, folder):
    """Each part as much longer as the whole: nothing is gained by how a page is compressed now."""
    ledger = {page: after for page, (_, after) in limits.weights(folder).items() if "/reference/claims" in page}
    claims = sum(len(parsed(folder / page).select("table.ledger tbody tr")) for page in ledger)
    assert len(ledger) > 1
    assert {page: after for page, after in ledger.items() if after * max(1, CLAIMS / claims) > limits.NEXT_PAGE} == {}


@pytest.mark.parametrize("row", [limits.width, limits.words, limits.screens], ids=["width", "words", "screens"])
def test_nothing_scrolls_sideways_and_what_everybody_reads_is_short(looked, folder, row):
    rows = list(row(folder))
    assert [f"{what}: {measured}, and at most {limit}" for what, limit, measured, holds in rows if holds is False] == []
