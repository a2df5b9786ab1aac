"""The built site in a real browser.

`visit` opens a page and watches it; `seen` holds what every page shows in four views. SITE=folder tests a site that
is built already: `SITE=_build/html python -m pytest tests/site`.
"""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from built import book
from chromium import chromium
from contents import parsed
from covering import VISITED
from playwright.sync_api import BrowserContext, Page
from readers import SIZES, Readers, new_context, served
from survey import Findings, Trouble, survey, watched

if TYPE_CHECKING:
    from tabs import Ran


@pytest.fixture(scope="session")
def folder(request) -> Path:
    """The folder of the built site."""
    return Path(os.environ["SITE"]) if "SITE" in os.environ else request.getfixturevalue("site")[0]


@pytest.fixture(scope="session")
def trained(folder, pytestconfig, tmp_path_factory) -> Path:
    """Where `surgeon.book.once` has kept what the pages trained as this run of the tests built them."""
    kept = tmp_path_factory.mktemp("trained") if "SITE" in os.environ else book(pytestconfig).once
    kept.mkdir(exist_ok=True)  # where no page had to run, there is nothing
    return kept


@pytest.fixture(scope="session")
def address(folder) -> Iterator[str]:
    """Where the site is served, without a slash at the end."""
    with served(folder) as address:
        yield address


@pytest.fixture(scope="session")
def readers(browser, address) -> Iterator[Readers]:
    readers = Readers(browser, address)
    yield readers
    readers.close()


@pytest.fixture
def visit(readers, address) -> Iterator[Callable[..., Page]]:
    """`visit("book/anatomy/softmax", width="phone", scheme="dark", touch=True, scripts=True, reduced_motion=True)`.

    Opens the page as a reader who has stored nothing, so that no test finds what another one left; `context=` (a
    page's `.context`) opens it as a further page of the same reader. When the test is over, whatever a page complained
    about (errors, failed and foreign requests) fails it.
    """
    contexts: list[BrowserContext] = []
    troubles: list[Trouble] = []

    def visit(name: str, *, context: BrowserContext | None = None, **reader) -> Page:
        if context is None:
            context = readers.come(**reader)
            contexts.append(context)
        page, trouble = watched(context, address)
        troubles.append(trouble)
        page.goto(f"{address}/{name}.html" if "." not in name else f"{address}/{name}", wait_until="load")
        return page

    yield visit
    for context in contexts:
        readers.leave(context)
    assert [complaint for trouble in troubles for complaint in trouble] == []


@pytest.fixture(scope="session")
def seen(browser, address, folder) -> Iterator[Callable[[str, str], Findings]]:
    """`seen(page, view)`: what a page of PAGES showed in a view of VIEWS, looked at once for all tests."""
    contexts = {width: new_context(browser, width=width) for width in SIZES}
    for context in contexts.values():
        context.set_default_timeout(120_000)  # axe takes its time on a long page

    well: dict[str, set[str]] = {}

    @functools.cache
    def views_of(name: str) -> dict[str, Findings]:
        return survey(contexts, address, name, well, folder)

    yield lambda name, view: views_of(name)[view]
    for context in contexts.values():
        context.close()


# JupyterLab, and pages that run in it


@pytest.fixture(scope="session")
def launch(folder):
    """Where a page's launch button leads, from the site."""

    def path(page: str) -> str:
        links = {link["href"] for link in parsed(folder / f"{page}.html").select("a[href*='mybinder.org']")}
        ours = {link for link in links if page in link}
        assert len(ours) == 1, f"{page} has the launch buttons {sorted(links)}"
        (query,) = (urlsplit(link).query for link in ours)
        return parse_qs(query)["urlpath"][0]

    return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory, trained):
    from lab import kernels, started

    if not chromium():
        pytest.skip("NO_BROWSER=1 asks for no browser.")
    with started(tmp_path_factory.mktemp("binder"), forked=kernels.CAN_FORK, once=trained) as lab:
        yield lab


@pytest.fixture(scope="session")
def reader():
    from tabs import Reader

    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def begun(request, lab, reader, launch):
    """From a page to what it shows once it has run. A process that runs all tests begins all pages at once; where there
    are several, each has its pages, as they come."""
    running = [item for item in request.session.items if {"ran", "made"} & {*item.fixturenames}]
    wanted = [page for item in running if (page := item.callspec.params["page"]) in VISITED]
    alone = not hasattr(request.config, "workerinput")
    begin = functools.cache(lambda page: reader.begin(lab, page, launch(page)))
    for page in wanted if alone else ():
        begin(page)
    return begin


@pytest.fixture
def ran(begun, page) -> "Ran":
    return begun(page).result()
