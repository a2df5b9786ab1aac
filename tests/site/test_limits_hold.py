"""What is promised of the weights and widths of the site, as `make limits` measures it; times are told there."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits


@pytest.mark.parametrize(
    "row", [limits.weight, limits.width, limits.words, limits.screens], ids=["weight", "width", "words", "screens"]
)
def test_pages_are_light_nothing_scrolls_sideways_and_what_everybody_reads_is_short(browser, folder, row):
    """`browser` is asked for, and not used: it says whether there is one."""
    with ThreadPoolExecutor(1) as thread:  # the other browser's event loop is this thread's
        rows = thread.submit(lambda: list(row(folder))).result()
    assert [f"{what}: {measured}, and at most {limit}" for what, limit, measured, holds in rows if holds is False] == []
