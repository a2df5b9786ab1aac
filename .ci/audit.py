"""Measure the built site as a reader's browser has it, against the limits below. Called by `make audit`.

python .ci/audit.py [page ...]; without pages: the index, an ordinary chapter, the heaviest page and, where there is
one, the theatre. The site is served with gzip and with the caching that a static host gives it. Lighthouse comes from
npm, once, into _build/audit; Chromium is the one that the tests use. Lighthouse measures twice: as a desktop, and as a
phone on a slow line.
"""

import argparse
import functools
import gzip
import http.server
import json
import mimetypes
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
TOOLS = ROOT / "_build" / "audit"
LIGHTHOUSE = "12.8.2"
SWITCHES = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CATEGORIES = ("accessibility", "best-practices", "seo", "performance")
AT_LEAST = {"desktop": (100, 100, 100, 98), "mobile": (100, 100, 100, 90)}
FIRST_VISIT, NEXT_PAGE, LAYOUT_SHIFT = 450_000, 120_000, 0.02
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 1_638_400 / 8, "uploadThroughput": 750_000 / 8}
NOTE_SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.shift += entry.value; })
  .observe({ type: "layout-shift", buffered: true });
"""


class Host(http.server.SimpleHTTPRequestHandler):
    """A static host: text compressed, files with a version in their address kept, pages asked for again."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        kind = "text/javascript" if path.suffix == ".mjs" else mimetypes.guess_type(path.name)[0] or "text/plain"
        content, zipped = path.read_bytes(), not re.match(r"font/|image/(?!svg)", kind)
        content = packed(content) if zipped else content
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache" if kind == "text/html" else "max-age=31536000")
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content)


@functools.cache
def packed(content: bytes) -> bytes:
    return gzip.compress(content, 9)


def fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(1)


def lighthouse() -> list[str]:
    """The command; installed where it is not yet."""
    if not shutil.which("npm"):
        fail(
            "Lighthouse needs Node and npm, and there is no npm: install Node 18 or newer (nodejs.org), then try again."
        )
    program = TOOLS / "node_modules" / "lighthouse"
    there = json.loads((program / "package.json").read_text())["version"] if program.is_dir() else None
    if there != LIGHTHOUSE:
        TOOLS.mkdir(parents=True, exist_ok=True)
        print(f"Installing Lighthouse {LIGHTHOUSE} into {TOOLS.relative_to(ROOT)} (once) ...", file=sys.stderr)
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(TOOLS)]
        if subprocess.run([*install, f"lighthouse@{LIGHTHOUSE}"]).returncode:
            fail(f"npm could not install lighthouse@{LIGHTHOUSE}; it needs the network the first time.")
    return ["node", str(program / "cli" / "index.js")]


def chromium() -> str:
    found = subprocess.run(["sh", str(ROOT / ".ci" / "browser"), "--find"], capture_output=True, text=True)
    if found.returncode or not found.stdout.strip():
        fail("There is no Chromium: install one, or name it with CHROMIUM=/path/to/chromium.")
    return found.stdout.strip()


def weight(page: Path) -> int:
    """A page with its figures, compressed."""
    text = page.read_text(encoding="utf8")
    figures = {(page.parent / name).resolve() for name in re.findall(r'<img[^>]* src="([^"]+)"', text)}
    return sum(len(packed(file.read_bytes())) for file in (page, *figures) if file.is_file())


def pages() -> list[str]:
    every = sorted(SITE.glob("book/**/*.html"), key=weight)
    chosen = [
        "book/index.html",
        "book/anatomy/softmax.html",
        str(every[-1].relative_to(SITE)),
        "book/reference/theatre.html",
    ]
    return [page for page in dict.fromkeys(chosen) if (SITE / page).is_file()]


def scores(command: list[str], address: str, form: str, browser: str) -> tuple[list[int], float]:
    """Lighthouse's four scores and its layout shift; the better performance of two runs, since machines are noisy."""
    runs = []
    for _ in range(2):
        preset = ["--preset=desktop"] if form == "desktop" else []
        flags = ["--quiet", "--output=json", f"--only-categories={','.join(CATEGORIES)}"]
        done = subprocess.run(
            [*command, address, *preset, *flags, f"--chrome-flags={' '.join(SWITCHES)}"],
            capture_output=True, text=True, env=os.environ | {"CHROME_PATH": browser},
        )  # fmt: skip
        if done.returncode:
            fail(f"Lighthouse failed on {address}: {done.stderr.strip()[-500:]}")
        report = json.loads(done.stdout)
        runs.append(([round(100 * (report["categories"][name]["score"] or 0)) for name in CATEGORIES], report))
        TOOLS.joinpath(f"{Path(address).stem}-{form}.json").write_text(done.stdout)
        if all(score >= least for score, least in zip(runs[-1][0], AT_LEAST[form], strict=True)):
            break
    best, report = max(runs, key=lambda run: run[0][3])
    return best, report["audits"]["cumulative-layout-shift"]["numericValue"]


def transferred(browser: Browser, addresses: list[str], slow: bool = False) -> tuple[int, float]:
    """Bytes that came over the line for the last of these pages, opened one after the other, and its layout shift."""
    context = browser.new_context(
        viewport={"width": 1350, "height": 940} if not slow else {"width": 412, "height": 823}
    )
    page = context.new_page()
    page.add_init_script(NOTE_SHIFTS)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    if slow:
        session.send("Network.emulateNetworkConditions", SLOW)
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    for address in addresses:
        received.clear()
        page.goto(address, wait_until="networkidle")
    shift = page.evaluate("window.shift")
    context.close()
    return round(sum(received)), shift


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="addresses below _build/html, such as book/index.html")
    asked = parser.parse_args().pages
    if not (SITE / "book" / "index.html").is_file():
        fail("There is no site yet: run 'make book' first.")
    command, browser = lighthouse(), chromium()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here, broken = f"http://127.0.0.1:{server.server_port}/", 0
    line = "{:<34} {:<24} {:>10} {:>10}  {}"
    print(line.format("page", "what", "measured", "limit", ""))

    def tell(page: str, what: str, value: float, limit: float, good: bool) -> None:
        nonlocal broken
        broken += not good
        shown = [f"{n:.4f}" if isinstance(n, float) else f"{n:,}" for n in (value, limit)]
        print(line.format(page, what, *shown, "" if good else "FAILS"), flush=True)

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser, args=SWITCHES[1:])
        for page in asked or pages():
            other = "book/index.html" if page != "book/index.html" else "book/anatomy/softmax.html"
            first, shift = transferred(chrome, [here + page])
            following, _ = transferred(chrome, [here + other, here + page])
            _, slow_shift = transferred(chrome, [here + page], slow=True)
            tell(page, "bytes, first visit", first, FIRST_VISIT, first <= FIRST_VISIT)
            tell(page, "bytes, as the next page", following, NEXT_PAGE, following <= NEXT_PAGE)
            for form, least in AT_LEAST.items():
                found, seen = scores(command, here + page, form, browser)
                for name, score, limit in zip(CATEGORIES, found, least, strict=True):
                    tell(page, f"{form} {name}", score, limit, score >= limit)
                shift = max(shift, seen)
            shift = float(max(shift, slow_shift))
            tell(page, "layout shift", shift, LAYOUT_SHIFT, shift <= LAYOUT_SHIFT)
        chrome.close()
    print(f"{broken} of these fail." if broken else "All of these hold.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
