"""What a reader has: a screen, a scheme of colours, fingers or a mouse; and who serves the site to them."""

import functools
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many files

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """A site's address, without a slash at the end, for as long as it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def new_context(browser: Browser, *, width="desktop", scheme="light", touch=False, scripts=True, reduced_motion=False):
    return browser.new_context(
        viewport=SIZES[width],
        color_scheme=scheme,
        has_touch=touch,
        java_script_enabled=scripts,
        reduced_motion="reduce" if reduced_motion else "no-preference",
        permissions=["clipboard-read", "clipboard-write"],
    )


class Readers:
    """Readers who have stored nothing yet. Half of what a first page takes is a new context's empty cache: so contexts
    are used again; what a reader stored goes, and the files that all pages share stay.
    """

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address = browser, address
        self.gone: dict[tuple, list[BrowserContext]] = defaultdict(list)
        self.kinds: dict[BrowserContext, tuple] = {}

    def come(self, **reader) -> BrowserContext:
        kind = tuple(sorted(reader.items()))
        if self.gone[kind]:
            return self.gone[kind].pop()
        context = new_context(self.browser, **reader)
        context.set_default_timeout(10_000)
        self.kinds[context] = kind
        return context

    def leave(self, context: BrowserContext) -> None:
        for page in context.pages:
            page.goto("about:blank")  # what a page stores as it is left is stored
            devtools = context.new_cdp_session(page)
            devtools.send("Storage.clearDataForOrigin", {"origin": self.address, "storageTypes": "all"})
            page.close()
        context.clear_cookies()
        self.gone[self.kinds[context]].append(context)

    def close(self) -> None:
        for context in self.kinds:
            context.close()
