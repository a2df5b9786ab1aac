"""What is promised of the weights and widths of the site, as `make limits` measures it; times are told there."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits

# A limit that is not met yet; what meets it takes the mark away.
ahead = pytest.mark.xfail(strict=False, raises=AssertionError, reason="not met yet")


def broken(rows) -> list[str]:
    return [f"{what}: {measured}, and at most {limit}" for what, limit, measured, holds in rows if holds is False]


@ahead
def test_a_first_visit_and_the_next_page_are_light(folder):
    assert broken(limits.weight(folder)) == []


@pytest.mark.parametrize("row", [pytest.param(limits.width, marks=ahead), limits.words], ids=["width", "words"])
def test_code_fits_and_what_everybody_reads_is_short(browser, folder, row):
    with ThreadPoolExecutor(1) as thread:  # the other browser's event loop is this thread's
        assert thread.submit(lambda: broken(row(folder))).result() == []
