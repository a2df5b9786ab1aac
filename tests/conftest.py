"""What all tests share: the built book, a browser, and how they run side by side."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import side_by_side
from built import ROOT, book
from chromium import QUIET, chromium
from contents import parsed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A checker of addresses that JupyterLab brings takes seconds of each process to import; jsonschema can do without.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
# Before PyTorch is imported. Two threads that wait for a busy core make small models up to thirty times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """What holds neither tests nor examples is not imported to look for some: parts of it are for other processes."""
    helper = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if helper and ">>> " not in collection_path.read_text(encoding="utf8") else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Tests and what they import are a million objects that stay: to go through them for garbage, while they are
    collected and while they run, takes seconds of each process."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    side_by_side.arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Tests in their order, those with the same company in one process."""
    from xdist.scheduler import LoadScopeScheduling

    class InCompany(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return side_by_side.company(nodeid)

    config.option.loadscopereorder = False
    return InCompany(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Of several processes, the first one builds."""
    wanted = "SITE" not in os.environ and any(item.get_closest_marker("site") for item in session.items)
    first = getattr(session.config, "workerinput", {}).get("workerid", "gw0") == "gw0"
    if wanted and first and not session.config.option.collectonly:
        book(session.config).begin()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """This process may be done while another still waits for the build that it began."""
    over = exitstatus == pytest.ExitCode.INTERRUPTED or session.shouldfail or session.shouldstop
    book(session.config).end() if over else book(session.config).wait()


@pytest.fixture(scope="session")
def site(pytestconfig) -> tuple[Path, str]:
    """The folder of the built site and what the build said."""
    code, said = book(pytestconfig).build()
    if code:
        pytest.fail(f"The strict build fails:\n{said[-6000:]}", pytrace=False)
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
