"""What pages leave in Sphinx's environment, which is kept from build to build: each subject has a store of its own.

A page that is read again, or gone, takes with it what it left; what pages read in another process left comes over.
"""

from typing import Any, ClassVar, Generic, TypeVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors import EnvironmentCollector

Left = TypeVar("Left")


class Memory(EnvironmentCollector, Generic[Left]):
    """Page -> what it left. A subject names its store, and says in `process_doc` what a page that was read leaves,
    unless a directive, a role or an earlier event has noted it by then."""

    store: ClassVar[str]

    @classmethod
    def of(cls, env: BuildEnvironment) -> dict[str, Left]:
        return env.__dict__.setdefault(cls.store, {})

    def clear_doc(self, app: Sphinx, env: BuildEnvironment, docname: str) -> None:
        self.of(env).pop(docname, None)

    def merge_other(self, app: Sphinx, env: BuildEnvironment, docnames: Any, other: BuildEnvironment) -> None:
        theirs = self.of(other)
        self.of(env).update({docname: theirs[docname] for docname in docnames if docname in theirs})

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        pass
