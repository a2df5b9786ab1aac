"""Which pages are written again: all of them, when anything changed.

Writing is cheap, running is not. A page shows its neighbours' titles, resolves references into them, and lists their
claims; Sphinx alone would leave what it says about a changed page as it was, a broken reference included.
"""

from importlib.metadata import version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from surgeon_book import sources
from surgeon_book.execution.failures import unfinished
from surgeon_book.order import Begun


class Rewriting:
    def begin(self, app: Sphinx) -> None:
        self.needed = unfinished(app).exists()

    def removed(self, app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
        self.needed |= bool(removed)
        return []

    def read(self, app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
        self.needed |= bool(docnames)

    def updated(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        return sorted(env.found_docs) if self.needed else []


def note_assets(app: Sphinx, config: Config) -> None:
    """Styles, scripts and all else that shapes the site are part of the configuration: Sphinx writes every page, and
    copies them, when it changes."""
    folders = [Path(app.srcdir, folder) for folder in [*config.html_static_path, *config.html_extra_path]]
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    libraries = map(version, (*sources.DRAWN_WITH, *sources.PUT_TOGETHER_WITH))
    config.surgeon_assets = sources.digest([*files, *sources.look(), *libraries])


def setup(app: Sphinx) -> None:
    rewriting = Rewriting()
    app.add_config_value("surgeon_assets", "", "html", types=[str])
    app.connect("config-inited", note_assets)
    app.connect("builder-inited", rewriting.begin, priority=Begun.MARK_OF_THE_LAST_IS_SEEN)
    app.connect("env-get-outdated", rewriting.removed)
    app.connect("env-before-read-docs", rewriting.read)
    app.connect("env-updated", rewriting.updated)
