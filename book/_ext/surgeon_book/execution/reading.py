"""Pages are read, and so run, side by side: those first that take longest.

Sphinx would cut the sorted list into a few long runs. Here every page with cells is a task of its own, and those that
run nothing are one together. What each leaves in the environment is merged in the pages' order, whoever is done first,
so that the site is the same however many run at once.
"""

import gc
import logging
import pickle
import re
import sys
import time
from pathlib import Path

import nbformat
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.environment import BuildEnvironment
from sphinx.util import logging as sphinx_logging
from sphinx.util.parallel import ParallelTasks
from tqdm import tqdm

from surgeon_book.execution.kernels import KERNELS, jobs
from surgeon_book.execution.within.forkserver import end_with_parent

LOGGER = sphinx_logging.getLogger(__name__)
CELL = "{code-cell}"
# Of a book that was never built, nobody knows how long its pages take: those that use the last rooms take longest.
ROOMS = ("anatomy", "imaging", "procedures", "book", "checkup", "models", "zoo", "practice", "ablations")
USES = re.compile(r"surgeon\.(\w+)")


class FirstIn(dict):
    """Tasks start in the order in which they were added; Sphinx starts the latest first."""

    def popitem(self) -> tuple:
        first = next(iter(self))
        return first, self.pop(first)


class Tasks(ParallelTasks):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._precvsWaiting = FirstIn()


class Progress:
    """One line a page: what it took, how many are left; on a terminal, a bar."""

    def __init__(self, pages: int, side_by_side: int) -> None:
        self.left, self.side_by_side, self.began = pages, side_by_side, time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = tqdm(total=pages, unit="page", desc="running pages", leave=False) if terminal and pages else None

    def done(self, page: str, seconds: float | None) -> None:
        if seconds is None:
            return
        self.left -= 1
        if self.bar is not None:
            self.bar.set_postfix_str(f"{page} {seconds:.1f} s", refresh=False)
            self.bar.update()
        else:
            LOGGER.info("ran %s in %.1f s, %s left", page, seconds, self.left or "none")

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()


class Reading:
    """Takes the place of Sphinx's own loops over the pages to be read."""

    def begin(self, app: Sphinx) -> None:
        builder = app.builder
        builder._read_serial = lambda pages: self.read(builder, pages)  # type: ignore[method-assign]
        self.taken: dict[str, float] = {}
        if not app.verbosity:
            for handler in logging.getLogger(sphinx_logging.NAMESPACE).handlers:
                handler.addFilter(Chatter())

    def recall(self, app: Sphinx, env: object, pages: list[str]) -> None:
        """How long each page ran when it last did, before that is forgotten."""
        runs = {page: NbMetadataCollector.get_exec_data(app.env, page) for page in app.env.found_docs}
        self.taken = {page: run["runtime"] for page, run in runs.items() if run and run["runtime"]}

    def read(self, builder: Builder, pages: list[str]) -> None:
        env, app = builder.env, builder.app
        for page in pages:
            app.emit("env-purge-doc", env, page)
            env.clear_doc(page)
        texts = {page: Path(env.doc2path(page)).read_text("utf-8-sig") for page in pages}
        run = [page for page in pages if CELL in texts[page]]
        rest = [page for page in pages if page not in run]
        if run:
            KERNELS.start(texts[page] for page in run)
        progress = Progress(len(run), jobs())
        try:
            if jobs() == 1 or len(run) + bool(rest) < 2:
                for page in pages:
                    builder.read_doc(page)
                    progress.done(page, seconds(env, page))
            else:
                tasks = sorted(([page] for page in run), key=lambda task: -self.expected(task[0], texts[task[0]]))
                # Those without cells are read while the kernels' server imports what the others wait for.
                self.side_by_side(builder, [rest, *tasks] if rest else tasks, progress)
        finally:
            progress.end()

    def expected(self, page: str, text: str) -> float:
        """Seconds that a page will take, or a guess that sorts those of which nothing is known."""
        room = max((ROOMS.index(name) for name in USES.findall(text) if name in ROOMS), default=-1)
        return self.taken.get(page, 3.0 + 2.0 * room + len(text) / 1e5)

    def side_by_side(self, builder: Builder, tasks: list[list[str]], progress: Progress) -> None:
        env, app = builder.env, builder.app
        found: dict[str, BuildEnvironment] = {}

        def read(pages: list[str]) -> bytes:
            end_with_parent(15)
            env.app = app
            for page in pages:
                builder.read_doc(page, _cache=False)
            return pickle.dumps(env, pickle.HIGHEST_PROTOCOL)

        def keep(pages: list[str], answer: bytes) -> None:
            other = pickle.loads(answer)
            for page in pages:
                found[page] = other
                progress.done(page, seconds(other, page))

        nbformat.v4.new_notebook()  # makes what notebooks are checked by: once here, not once in each process
        gc.collect()
        gc.freeze()  # a collection in a process of a page would copy all that it shares with the others
        parallel = Tasks(jobs())
        for task in tasks:
            parallel.add_task(read, task, keep)
        parallel.join()
        gc.unfreeze()
        for page, other in sorted(found.items()):
            env.merge_info_from([page], other, app)


def seconds(env: BuildEnvironment, page: str) -> float | None:
    run = NbMetadataCollector.get_exec_data(env, page)
    return run["runtime"] if run else None


class Chatter(logging.Filter):
    """What MyST-NB says of every page, in two lines; the book's own line says it in one."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or getattr(record, "type", None) != "mystnb"


def setup(app: Sphinx) -> None:
    reading = Reading()
    app.connect("builder-inited", reading.begin)
    app.connect("env-before-read-docs", reading.recall)
