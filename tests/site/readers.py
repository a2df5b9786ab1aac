"""What a reader has: a screen, a scheme of colours, fingers or a mouse; and who serves the site to them."""

from http.server import SimpleHTTPRequestHandler

from playwright.sync_api import Browser

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many files

    def log_message(self, *arguments: object) -> None:
        pass


def new_context(browser: Browser, *, width="desktop", scheme="light", touch=False, scripts=True, reduced_motion=False):
    return browser.new_context(
        viewport=SIZES[width],
        color_scheme=scheme,
        has_touch=touch,
        java_script_enabled=scripts,
        reduced_motion="reduce" if reduced_motion else "no-preference",
        permissions=["clipboard-read", "clipboard-write"],
    )
