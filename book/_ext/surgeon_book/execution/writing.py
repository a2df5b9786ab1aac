"""Pages are written while the next ones are resolved.

Resolving references needs what other pages left: that is this process's work. What is resolved becomes HTML in other
processes, a few pages each. V8, which sets the equations, does not survive a fork, so none is started here before.
"""

import atexit
import gc
from collections.abc import Iterator, Sequence
from itertools import pairwise

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util import logging
from sphinx.util.build_phase import BuildPhase

from surgeon_book.execution.kernels import jobs
from surgeon_book.execution.reading import Tasks
from surgeon_book.execution.within.forkserver import end_with_parent
from surgeon_book.site import cards, search
from surgeon_book.theme import styles

LOGGER = logging.getLogger(__name__)
FEW = 6  # pages that one process writes as fast
CHUNKS = 4


def begin(app: Sphinx) -> None:
    builder = app.builder

    def write(pages: Sequence[str]) -> None:
        LOGGER.info("writing %s", f"{len(pages)} pages" if len(pages) > 1 else "one page")
        if jobs() == 1 or len(pages) < FEW:
            with logging.pending_warnings():
                for page in pages:
                    builder.write_doc(page, resolved(builder, page))
        else:
            side_by_side(builder, pages)

    builder._write_serial = write  # type: ignore[method-assign]
    # A doctree is thousands of objects that refer to each other, and none is garbage before its page is written.
    gc.set_threshold(200_000, 20, 20)


def resolved(builder: Builder, page: str) -> nodes.document:
    builder.app.phase = BuildPhase.RESOLVING
    doctree = builder.env.get_and_resolve_doctree(page, builder)
    builder.app.phase = BuildPhase.WRITING
    builder.write_doc_serialized(page, doctree)
    return doctree


def side_by_side(builder: Builder, pages: Sequence[str]) -> None:
    def write(chunk: list[tuple[str, nodes.document]]) -> None:
        end_with_parent(15)
        for page, doctree in chunk:
            builder.write_doc(page, doctree)
        if builder.format == "html":
            cards.draw_missing(builder.app, [page for page, _ in chunk])

    def prepare() -> str:
        """What depends on no page that is written: the search, and the styles as rules."""
        end_with_parent(15)
        styles.read_early(builder.app)
        return search.write(builder.app)

    def prepared(_: None, digest: str) -> None:
        builder.app.__dict__["surgeon_search"] = digest

    tasks = Tasks(jobs())  # one waits while this process resolves
    if builder.format == "html":
        cards.icon(builder.app)
        tasks.add_task(prepare, None, prepared)
    gc.freeze()  # a collection in a process that writes would copy all that it shares with this one
    for chunk in chunks(pages):
        tasks.add_task(write, [(page, resolved(builder, page)) for page in chunk])
    tasks.join()
    gc.unfreeze()


def chunks(pages: Sequence[str]) -> Iterator[Sequence[str]]:
    """Nearly equal parts, in order."""
    cuts = [len(pages) * n // CHUNKS for n in range(CHUNKS + 1)]
    yield from (pages[start:end] for start, end in pairwise(cuts))


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", begin)
    atexit.register(gc.freeze)  # Python would look for garbage among all that is left, which takes seconds, and end
