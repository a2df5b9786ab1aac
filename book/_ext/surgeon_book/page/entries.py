"""An entry of the list of sources is an item of a list. Docutils gives it a role that only publishers' formats know."""

from typing import Any

from sphinx.application import Sphinx


def mend(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", mend)
