"""The real book, built strictly once for all the tests that look at it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import QUIET, chromium
from contents import parsed
from small_book import COLOUR, ROOT, START, STRICT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before PyTorch is imported. Two threads that wait for a busy core make small models up to thirty times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def site() -> tuple[Path, str]:
    """The folder of the built site and what the build said. A warm `_build` makes it fast."""
    command = [sys.executable, "-c", START, "build", str(ROOT), *STRICT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = COLOUR.sub("", done.stdout + done.stderr)
    assert done.returncode == 0, f"The strict build fails:\n{said[-6000:]}"
    return ROOT / "_build" / "html", said


@pytest.fixture
def html(site):
    """From a page's name to what the site has there."""
    return lambda page: parsed(site[0] / f"{page}.html")


@pytest.fixture
def nothing_global() -> Iterator[None]:
    """No figure stays open and no parameter of Matplotlib's changes."""
    import matplotlib
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium, driven by Playwright: one for all tests, since a thread holds only one of Playwright's event loops."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    if not path:
        pytest.skip("NO_BROWSER=1 asks for no browser.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()
