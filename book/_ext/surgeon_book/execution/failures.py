"""A build that failed fails again, and a build that was killed is right the next time.

Sphinx skips a page that it has read, whatever it said about it. So a page with a warning is forgotten when the build
ends, and read again by the next. A build that does not get that far leaves a mark; the next one trusts nothing that was
made after the mark, and writes every page.
"""

import logging
import re
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging as sphinx_logging

from surgeon_book.order import Finished

LOGGER = sphinx_logging.getLogger(__name__)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def unfinished(app: Sphinx) -> Path:
    return Path(app.doctreedir, "unfinished")


class Failures(logging.Handler):
    """Hears every warning and forgets the pages that they are about."""

    def __init__(self, app: Sphinx) -> None:
        super().__init__(logging.WARNING)
        self.app = app
        self.pages: set[str] = set()
        self.elsewhere = False  # a warning that is about no page: read everything again

    def emit(self, record: logging.LogRecord) -> None:
        kind, subtype = getattr(record, "type", ""), getattr(record, "subtype", "")
        if sphinx_logging.is_suppressed_warning(kind, subtype, self.app.config.suppress_warnings):
            return
        docname = self._page(getattr(record, "location", None))
        if docname is None:
            self.elsewhere = True
        else:
            self.pages.add(docname)

    def _page(self, location: object) -> str | None:
        """The page of a location, which may be a page, (page, line), a node or 'file:line'."""
        env = getattr(self.app, "env", None)  # not there while the configuration is read
        if env is None:
            return None
        if isinstance(location, nodes.Node):
            location = sphinx_logging.get_node_location(location)
        if isinstance(location, tuple):
            location = location[0]
        file = re.sub(r":(\d+|docstring of.*)?(:.*)?$", "", str(location))
        return next((docname for docname in (file, env.path2doc(file)) if docname in env.found_docs), None)

    def begin(self, app: Sphinx) -> None:
        mark = unfinished(app)
        if mark.exists():
            since = mark.stat().st_mtime_ns
            for doctree in Path(app.doctreedir).rglob("*.doctree"):
                if doctree.stat().st_mtime_ns >= since:
                    doctree.unlink()
            for half in (".buildinfo", "index.html"):  # Sphinx would believe either, even empty
                Path(app.outdir, half).unlink(missing_ok=True)
        else:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def finish(self, app: Sphinx, exception: Exception | None) -> None:
        if exception:
            return  # Sphinx has dropped its environment, and the mark stays
        for docname in self.pages:
            Path(app.doctreedir, f"{docname}.doctree").unlink(missing_ok=True)
        if self.elsewhere:
            Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
        unfinished(app).unlink(missing_ok=True)


def place(app: Sphinx, node: nodes.Node | None) -> tuple[str, int | None]:
    """The page being read, and the line where a node's cell begins (MyST-NB says two lines further down)."""
    while node is not None and (not isinstance(node, nodes.Element) or node.get("nb_element") != "cell_code"):
        node = node.parent
    docname = app.env.docname
    lines = app.env.metadata[docname].get("source_map", [])
    return docname, lines[node["cell_index"]] if node is not None and lines else None


def name_failing_cell(app: Sphinx, doctree: nodes.document) -> None:
    """Say which cell failed, where it stands in the page, and with what; MyST-NB names the page alone."""
    run = NbMetadataCollector.get_exec_data(app.env, app.env.docname)
    if run is None or run["succeeded"]:
        return
    cells = [node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"]
    raised = [
        cell for cell in cells if any("traceback" in node["classes"] for node in cell.findall(nodes.literal_block))
    ]
    failed = raised or [cell for cell in cells if cell["exec_count"]]  # out of time: the last that was begun
    said = f"it ran for more than {app.config.nb_execution_timeout} s"
    if run["error"] == "CellExecutionError":
        said = COLOUR.sub("", run["traceback"] or "").strip().splitlines()[-1]
    message = f"The cell that begins here fails, and with it the page: {said}"
    LOGGER.warning(message, location=place(app, failed[-1] if failed else None), type="surgeon", subtype="cell")


def remove_report(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """MyST-NB writes a report of each failure into the site, and leaves it there."""
    Path(app.outdir, "reports", f"{docname}.err.log").unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    failures = Failures(app)
    logging.getLogger(sphinx_logging.NAMESPACE).addHandler(failures)
    app.connect("builder-inited", failures.begin)
    app.connect("env-purge-doc", remove_report)
    app.connect("doctree-read", name_failing_cell)
    app.connect("build-finished", failures.finish, priority=Finished.BELIEVED)
