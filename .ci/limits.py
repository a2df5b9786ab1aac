"""What the project promises of times, weights and widths, and what this machine measures now. Called by `make limits`.

python .ci/limits.py [word ...]; a word chooses the rows that it begins: units imports model pages build tests flash
weight width words screens claims fingerprints. Without one, all are measured, which takes as long as two cold builds;
`build` builds a copy and `pages` runs every page, so give them a machine that does nothing else. The tests hold what is
no time.
"""

import functools
import gzip
import http.server
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
LESSON = "book/anatomy/softmax.md"  # the page whose word is changed
# A third of what these weigh is equations, each there for the eye and once more for whoever has it read aloud.
MIB = 2**20
FIRST_VISIT, NEXT_PAGE = 200_000, 50_000  # bytes, compressed

SWIFT = {"offline": False, "latency": 1, "downloadThroughput": -1, "uploadThroughput": -1}  # ms, and no limit

Row = tuple[str, str, str, bool | None]  # what, at most, measured, whether it holds
Seen = dict[str, Any]  # what LOOK returns of a page, and the files that it asked for
Pages = dict[str, Seen]
ROWS: dict[str, Callable[[], Iterator[Row]]] = {}


def row(measure: Callable[[], Iterator[Row]]) -> Callable[[], Iterator[Row]]:
    ROWS[measure.__name__] = measure
    return measure


def python(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True} | options
    return subprocess.run([sys.executable, *arguments], **options)


@functools.cache
def u() -> float:
    """Median seconds of importing what pages import: what this machine is worth in these minutes."""
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        python("-c", "import torch, pandas, matplotlib.pyplot", check=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


# Times


@row
def units() -> Iterator[Row]:
    yield "u: import torch, pandas, matplotlib.pyplot", "", f"{u():.2f} s", None


@row
def imports() -> Iterator[Row]:
    code = "import time, torch; began = time.perf_counter(); import surgeon; print(time.perf_counter() - began)"
    seconds = statistics.median(float(python("-c", code, check=True).stdout) for _ in range(5))
    yield "import surgeon, beyond import torch", "0.2 s", f"{seconds:.3f} s", seconds <= 0.2


@row
def model() -> Iterator[Row]:
    code = (
        "import time, torch, tokenizers; from surgeon.models.language_model import load\n"
        "began = time.process_time(); load(); print(time.process_time() - began)"
    )
    seconds = statistics.median(float(python("-c", code, check=True).stdout) for _ in range(5))
    yield "reading the language model, seconds of a core", "3 s", f"{seconds:.1f} s", seconds <= 3


def program(page: str, root: Path = ROOT) -> str:
    """A page's cells as one script; nothing if it has none."""
    import jupytext

    cells = [cell.source for cell in jupytext.read(root / page).cells if cell.cell_type == "code"]
    return "\n\n".join(cells)


def run_page(page: str) -> tuple[float, float]:
    """Seconds that a page takes alone, as a script, and MiB at the peak, of what it starts too."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "page.py")
        script.write_text(program(page), encoding="utf8")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        began = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, script], env=environment, **quiet)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{page} fails, run as a script.")
        return time.perf_counter() - began, used.ru_maxrss * 1024 / MIB


@row
def pages() -> Iterator[Row]:
    runs = {}
    for path in sorted((ROOT / "book").rglob("*.md")):
        page = path.relative_to(ROOT).as_posix()
        if program(page):
            runs[page] = run_page(page)
            print(f"  {page}: {runs[page][0]:.1f} s, {runs[page][1]:.0f} MiB", file=sys.stderr, flush=True)
    for what, limit, number, unit in (("seconds", 20, 0, "s"), ("memory", 1536, 1, "MiB")):
        page = max(runs, key=lambda page: runs[page][number])
        most = runs[page][number]
        yield f"one page, run alone: {what}", f"{limit:,} {unit}", f"{most:,.0f} {unit} ({page})", most <= limit


def copied(folder: Path) -> None:
    """The files of this checkout as they are, and nothing that was built."""
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def built(folder: Path) -> float:
    began = time.perf_counter()
    done = python(".ci/build.py", "build", str(folder), "-W", "-n", "--keep-going", cwd=folder)
    if done.returncode:
        sys.exit(f"The strict build fails:\n{(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - began


@row
def build() -> Iterator[Row]:
    def told(what: str, limit: float, seconds: float) -> Row:
        return what, f"{limit:.0f} s", f"{seconds:.0f} s", seconds <= limit

    with tempfile.TemporaryDirectory(prefix="limits-") as place:
        folder = Path(place, "book")
        copied(folder)
        yield told("cold strict build, 60 u", 60 * u(), built(folder))
        u.cache_clear()
        yield told("nothing changed, 3 u", 3 * u(), built(folder))
        page = folder / LESSON
        page.write_text(page.read_text(encoding="utf8") + "\nOne word more.\n", encoding="utf8")
        seconds, _ = run_page(LESSON)
        yield told(f"one word changed on a page of {seconds:.1f} s, that and 5 u", seconds + 5 * u(), built(folder))


@row
def tests() -> Iterator[Row]:
    for name, limit in (("test", 900), ("unit", 120)):
        record = ROOT / "_build" / "times" / name
        if record.exists():
            seconds, status = map(int, record.read_text().split())
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.stat().st_mtime))
            failed = ", failed" if status else ""
            yield f"make {name}", f"{limit} s", f"{seconds} s ({when}{failed})", seconds <= limit and not status
        else:
            yield f"make {name}", f"{limit} s", "has not been run here", None


@row
def flash() -> Iterator[Row]:
    code = """
import json, torch
from benchmarks.__main__ import AGAINST, timed
from benchmarks.contestants import inputs
torch.set_num_threads(2)
cases = {"forward": (False, False), "causal": (True, False), "causal, forward and backward": (True, True)}
for name, (causal, gradients) in cases.items():
    tensors = inputs(8, 4096, 64, "cpu", gradients)
    seconds = timed([AGAINST, "flash"], tensors, causal, gradients, 7)
    print(json.dumps([name, seconds["flash"] / seconds[AGAINST]]))
"""
    for line in python("-c", code, check=True).stdout.splitlines():
        name, ratio = json.loads(line)
        yield f"flash_attention, {name}, against fused SDPA", "1.25 x", f"{ratio:.2f} x", ratio <= 1.25


# Weights and widths


@functools.cache
def packed(file: Path) -> int:
    """Bytes as they cross the line: fonts and pictures are compressed already."""
    content = file.read_bytes()
    return len(content) if file.suffix in (".woff2", ".png", ".jpg", ".webp") else len(gzip.compress(content, 9))


# What scrolls sideways, first as the page opens, then once all that is folded is opened: code, and whatever else has a
# box of its own to scroll in. Words of prose before the heading "Deeper", if there is one; screens of 900 pixels before
# it, and of the whole page, as the page opens.
LOOK = r"""() => {
    const article = document.querySelector("article");
    if (!article) return null;
    const line = [...article.querySelectorAll("h2")].find((h) => /^Deeper/.test(h.textContent.trim()));
    const screens = article.offsetHeight / 900;
    const above = line ? (line.getBoundingClientRect().top - article.getBoundingClientRect().top) / 900 : screens;
    let words = 0;
    for (const e of article.querySelectorAll("p, li")) {
        if (line && line.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING) continue;
        const apart = "pre, figure, table, .checkup, .claim, .exercise, .exercise + .cell, .solution, footer, .math";
        if (e.closest(apart) || e.querySelector("p")) continue;
        const text = e.cloneNode(true);
        for (const inside of text.querySelectorAll(".katex, code")) inside.replaceWith(" x ");
        words += (text.textContent.match(/[A-Za-z][\w'’-]*/g) || []).length;
    }
    const code = new Set(), wide = new Set(), aside = new Set();
    const look = () => {
        for (const e of document.body.querySelectorAll("*")) {
            const own = e.localName === "pre" && article.contains(e);
            if (e.offsetParent === null) continue;
            if (own) code.add(e);
            if (e.scrollWidth <= e.clientWidth + 2) continue;
            if (own) wide.add(e);
            else if (/auto|scroll/.test(getComputedStyle(e).overflowX) && e.clientWidth) aside.add(e);
        }
    };
    look();
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    for (const button of document.querySelectorAll("button.toggle-button-hidden")) button.click();
    look();
    const longest = (e) => e.innerText.split("\n").reduce((a, b) => (b.length > a.length ? b : a), "").slice(0, 90);
    return {
        code: code.size, wide: [...wide].map(longest), aside: [...aside].map((e) => `${e.className}: ${longest(e)}`),
        line: !!line, words, screens, above,
    };
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many files

    def log_message(self, *arguments: object) -> None:
        pass


class Visit:
    """A tab that looks at one page after the other, each as if it were the first of a site that is served here."""

    def __init__(self, tab, here: str, site: Path) -> None:
        self.tab, self.here, self.site = tab, here, site
        self.asked: list[str] = []
        self.pending: set[Any] = set()
        self.network = tab.context.new_cdp_session(tab)
        self.network.send("Network.enable")
        self.network.send("Network.setCacheDisabled", {"cacheDisabled": True})
        # A browser takes a busy machine for a slow network, and brings pictures that are further away then.
        self.network.send("Network.emulateNetworkConditions", SWIFT)
        self.events = {"request": self.hear, "requestfinished": self.end_of, "requestfailed": self.end_of}
        for event, handler in self.events.items():
            tab.on(event, handler)

    def hear(self, request: Any) -> None:
        self.asked.append(request.url)
        self.pending.add(request)

    def end_of(self, request: Any) -> None:
        self.pending.discard(request)

    def begin(self, name: str) -> None:
        self.tab.goto("about:blank")
        self.asked.clear()  # what the page before has asked for since it was unfolded
        self.pending.clear()
        self.tab.goto(f"{self.here}/{name}", wait_until="commit")

    def rest(self) -> None:
        """Wait until a loaded page has asked for nothing more in half a second. Playwright has a state for that, which
        does not come when the end of a request is not heard of, as happens on a busy machine."""
        self.tab.wait_for_load_state("load")
        known, quiet, waited = 0, 0, 0
        while quiet < 5 or (self.pending and waited < 50):
            self.tab.wait_for_timeout(100)
            known, quiet, waited = len(self.asked), quiet + 1 if len(self.asked) == known else 0, waited + 1

    def look(self) -> Seen | None:
        """What the page shows, and in `asked` the files that it needed; nothing of one without an article."""
        self.rest()
        paths = {unquote(urlsplit(url).path)[1:] for url in self.asked if url.startswith(f"{self.here}/")}
        seen = self.tab.evaluate(LOOK)
        return seen and seen | {"asked": sorted(path for path in paths if (self.site / path).is_file())}

    def end(self) -> None:
        for event, handler in self.events.items():
            self.tab.remove_listener(event, handler)
        self.network.detach()


@functools.cache
def looked(site: Path = SITE) -> Pages:
    """Every page on a desktop of 1280 pixels."""
    from playwright.sync_api import sync_playwright

    find = ["sh", str(ROOT / ".ci" / "browser"), "--find"]
    browser = subprocess.run(find, capture_output=True, text=True, check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    server.daemon_threads = True  # a connection that stands idle is not waited for
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = {}
    try:
        with sync_playwright() as playwright:
            chrome = playwright.chromium.launch(executable_path=browser.stdout.strip(), args=["--disable-gpu"])
            # One tab: what pages share is compiled once, and brought to each, as the first visit's.
            tab = chrome.new_page(viewport={"width": 1280, "height": 900})
            visit = Visit(tab, f"http://127.0.0.1:{server.server_port}", site)
            for file in sorted((site / "book").rglob("*.html")):
                visit.begin(name := file.relative_to(site).as_posix())
                if seen := visit.look():
                    found[name] = seen
            visit.end()
            chrome.close()
    finally:
        server.shutdown()
        server.server_close()
    return found


def weights(pages: Pages, site: Path = SITE) -> dict[str, tuple[int, int]]:
    """Bytes of each page on a first visit, and as the next one after the index: of all that a browser asks for.

    A picture that is far below the first screen is not asked for, and a font only by a page that shows it.
    """
    kept = set(pages["book/index.html"]["asked"])
    found = {}
    for name, seen in pages.items():
        size = {path: packed(site / path) for path in seen["asked"]}
        found[name] = sum(size.values()), sum(size[path] for path in size if path not in kept or path == name)
    return found


@row
def weight(pages: Pages | None = None, site: Path = SITE) -> Iterator[Row]:
    found = weights(pages or looked(), site)
    first, following = ({page: both[number] for page, both in found.items()} for number in (0, 1))
    for what, limit, sizes in (("first visit", FIRST_VISIT, first), ("next page", NEXT_PAGE, following)):
        yield most(f"{what}, compressed", limit, sizes, lambda size: f"{size / 1000:.0f} kB")


def most(what: str, limit: float, sizes: dict[str, float], told: Callable[[float], str]) -> Row:
    """The largest, and every page that is beyond the limit."""
    if not sizes:
        return what, told(limit), "n/a: there is no such page", None
    ordered = sorted(sizes, key=sizes.__getitem__, reverse=True)
    named = [page for page in ordered if sizes[page] > limit] or ordered[:1]
    shown = ", ".join(f"{told(sizes[page])} ({page})" for page in named)
    return what, told(limit), shown, sizes[ordered[0]] <= limit


@row
def width(pages: Pages | None = None) -> Iterator[Row]:
    found = pages or looked()
    code = sum(seen["code"] for seen in found.values())
    for what, kind, of in (("code that scrolls", "wide", f" of {code}"), ("whatever else scrolls", "aside", "")):
        lines = [f"{page}: {line}" for page, seen in found.items() for line in seen[kind]]
        named = f" ({'; '.join(lines)})" if lines else ""
        yield f"{what} sideways at 1280 pixels", "0", f"{len(lines)}{of}{named}", not lines


@row
def words(pages: Pages | None = None) -> Iterator[Row]:
    lined = {page: seen for page, seen in (pages or looked()).items() if seen["line"]}
    for what, limit, here in (("in Anatomy", 900, True), ("elsewhere", 1200, False)):
        counts = {page: seen["words"] for page, seen in lined.items() if page.startswith("book/anatomy/") == here}
        yield most(f"words above the line, {what}", limit, counts, lambda count: f"{count:,.0f}")


@row
def screens(pages: Pages | None = None) -> Iterator[Row]:
    found = pages or looked()
    anatomy = {page: seen["above"] for page, seen in found.items() if seen["line"] and page.startswith("book/anatomy/")}
    zoo = {page: seen["screens"] for page, seen in found.items() if re.match("book/ablations/(bug-)?zoo[./]", page)}
    yield most("screens above the line, in Anatomy", 8, anatomy, lambda height: f"{height:.1f}")
    yield most("screens of a page of the zoo", 12, zoo, lambda height: f"{height:.1f}")


# What nothing measures yet


@row
def claims() -> Iterator[Row]:
    import claims as tables

    said = [(page, statement) for page in tables.pages() for statement in tables.statements(page)]
    bare = [statement for page, statement in said if tables.entry(page, statement) is None]
    yield "claims without a counter-example", "0", f"{len(bare)} of {len(said)}", not bare
    yield "sentences of the check-up without a test", "0", "held by tests/checkup/test_sentences.py", None


@row
def fingerprints() -> Iterator[Row]:
    yield (
        "files that a page reads and its fingerprint does not hold",
        "0",
        "held by tests/site/test_what_pages_read.py",
        None,
    )


def chosen(asked: list[str]) -> list[str]:
    names = [name for name in ROWS if not asked or any(name.startswith(word) for word in asked)]
    unknown = [word for word in asked if not any(name.startswith(word) for name in ROWS)]
    if unknown:
        sys.exit(f"There is no row {', '.join(unknown)}; there are {', '.join(ROWS)}.")
    return names


def main(asked: list[str]) -> int:
    names = chosen(asked)
    if {"weight", "width", "words", "screens"} & set(names) and not (SITE / "book" / "index.html").is_file():
        sys.exit("There is no site yet: run 'make book' first.")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"{os.cpu_count()} cores, load {load:.1f}")
    line = "{:<62} {:>8}  {:<44} {}"
    print(line.format("what", "at most", "measured", ""))
    broken = 0
    for name in names:
        for what, limit, measured, holds in ROWS[name]():
            broken += holds is False
            print(line.format(what, limit, measured, "FAILS" if holds is False else "").rstrip(), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
