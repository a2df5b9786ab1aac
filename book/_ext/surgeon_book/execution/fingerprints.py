"""Which pages run again: those whose text changed, or anything that their run read.

What a run reads is seen while it runs, see `within/sitecustomize.py`: the files of the checkout, in its kernel and in
every Python that the kernel starts, and the packages that its code imports, with what these import. A page's
fingerprint holds the text, a checksum of each file as it was when the build began, and the packages' versions.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from surgeon_book.checkout import ROOT
from surgeon_book.installed import distributions
from surgeon_book.memory import Memory

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PASSED_OVER = ("_build", ".git", ".venv")  # as in `within/sitecustomize.py`, which imports nothing of ours
CELLS = "__main__"  # as which pages' code imports


@dataclass(frozen=True)
class Fingerprint:
    text: str
    files: dict[str, str] = field(default_factory=dict)  # path in the checkout -> checksum, "" if it is not there
    packages: dict[str, str] = field(default_factory=dict)  # distribution -> version
    around: tuple[str, ...] = ()  # Python, and the repository's name, which pages show


class Known(Memory[Fingerprint]):
    """The fingerprint of what a page was made from."""

    store = "surgeon_fingerprints"


def around() -> tuple[str, ...]:
    return PYTHON, os.environ.get("GITHUB_REPOSITORY", ""), os.environ.get("SURGEON_BRANCH", "")


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Checkout:
    """The files of the checkout as they are when first asked for. What changes meanwhile, the next build sees."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[str, str] = {}

    def see(self) -> None:
        """Look at everything a page may read, before any runs."""
        for folder, folders, names in os.walk(self.root):
            place = os.path.relpath(folder, self.root)
            passed = PASSED_OVER if place == "." else ()
            folders[:] = [name for name in folders if name not in (*passed, "__pycache__", "node_modules")]
            for name in names:
                self.of(os.path.normpath(os.path.join(place, name)).replace(os.sep, "/"))

    def of(self, path: str) -> str:
        """The checksum of a file, "" where there is none; of a folder (its path ends in a slash), that of its names."""
        if path not in self.known:
            self.known[path] = self._of(path)
        return self.known[path]

    def _of(self, path: str) -> str:
        try:
            if path.endswith("/"):
                names = sorted(name for name in os.listdir(self.root / path) if name != "__pycache__")
                return checksum("\0".join(names).encode())
            return checksum((self.root / path).read_bytes())
        except OSError:
            return ""


class Trace:
    """What the runs of a page noted."""

    def __init__(self, lines: Iterable[str]) -> None:
        noted = [line.split(" ", 1) for line in lines]
        self.files = {rest for kind, rest in noted if kind == "F"} | {f"{rest}/" for kind, rest in noted if kind == "L"}
        self.imports: dict[str, set[str]] = {}
        for caller, imported in (rest.split(" ") for kind, rest in noted if kind == "I"):
            self.imports.setdefault(caller, set()).add(imported)
        self.imports.setdefault(CELLS, set()).update(rest for kind, rest in noted if kind == "D")

    def packages(self, ours: Iterable[str]) -> Iterator[str]:
        """What pages' code and the checkout's own modules import, and what is imported for that."""
        waiting, seen = [CELLS, "__mp_main__", *ours], set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                yield name
                waiting += self.imports.get(name, ())


class Fingerprints:
    """Compares, then remembers."""

    def begin(self, app: Sphinx) -> None:
        self.checkout = Checkout(ROOT)
        self.folder = Path(app.doctreedir, "traces")
        self.distributions: dict[str, list[str]] = {}
        self.texts: dict[str, str] = {}
        self.version = cache(version_of)  # each is looked up once a build, not once a page

    def outdated(self, app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
        return [page for page in env.found_docs - added - changed if not self.holds(env, page)]

    def holds(self, env: BuildEnvironment, page: str) -> bool:
        """Whether everything is as it was when the page ran."""
        before = Known.of(env).get(page)
        text = Path(env.doc2path(page)).read_text("utf-8-sig")  # as Sphinx reads it
        if before is None or before.text != checksum(text.encode()):
            return False
        return (
            before.around in ((), around())
            and all(self.checkout.of(path) == known for path, known in before.files.items())
            and all(self.version(name) == known for name, known in before.packages.items())
        )

    def prepare(self, app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
        """Before the first page runs: see all files, and which distribution has which package."""
        if pages:
            self.checkout.see()
            self.distributions = distributions(Path(app.doctreedir, "distributions.json"))
            self.folder.mkdir(parents=True, exist_ok=True)

    def follow(self, app: Sphinx, page: str, content: list[str]) -> None:
        """Let the page's run note what it reads."""
        self.texts[page] = checksum(content[0].encode())
        trace = self.trace(page)
        trace.unlink(missing_ok=True)
        os.environ["SURGEON_TRACE"] = str(trace)

    def trace(self, page: str) -> Path:
        return self.folder / f"{page.replace('/', '-')}.txt"

    def remember(self, app: Sphinx, doctree: object) -> None:
        env, page, trace = app.env, app.env.docname, self.trace(app.env.docname)
        text = self.texts[page]
        if not trace.exists():
            Known.of(env)[page] = Fingerprint(text)
            return
        seen = Trace(trace.read_text(encoding="utf8").splitlines())
        ours = {path.split("/")[0].removesuffix(".py") for path in seen.files if "/" in path or path.endswith(".py")}
        names = {name for package in seen.packages(ours) for name in self.distributions.get(package, ())}
        Known.of(env)[page] = Fingerprint(
            text,
            {path: self.checkout.of(path) for path in sorted(seen.files)},
            {name: self.version(name) for name in sorted(names)},
            around(),
        )


def version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def setup(app: Sphinx) -> None:
    fingerprints = Fingerprints()
    app.add_env_collector(Known)
    app.connect("builder-inited", fingerprints.begin)
    app.connect("env-get-outdated", fingerprints.outdated)
    app.connect("env-before-read-docs", fingerprints.prepare)
    app.connect("source-read", fingerprints.follow)
    app.connect("doctree-read", fingerprints.remember)
