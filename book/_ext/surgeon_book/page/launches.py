"""Where a page opens besides Binder: on Colab, as the notebook that was executed.

Colab opens notebooks alone, and the repository has none. So the workflow that publishes the site also puts its
notebooks on a branch beside it, each at the place of its page.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.order import Page

BRANCH = "notebooks"
COLAB = "https://colab.research.google.com/github"


def add(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """To the theme's menu, which a page has that was executed; only GitHub's repositories are opened."""
    repository = app.config.html_theme_options.get("repository_url", "").removesuffix("/")
    name = repository.removeprefix("https://github.com/")
    menus = [menu for menu in context.get("header_buttons", []) if menu.get("label") == "launch-buttons"]
    if not context.get("ipynb_source") or name == repository:
        return
    for menu in menus:
        menu["buttons"].append(
            {
                "type": "link",
                "text": "Colab",
                "tooltip": "Launch on Colab",
                "icon": "fas fa-infinity",
                "url": f"{COLAB}/{name}/blob/{BRANCH}/{context['ipynb_source']}",
            }
        )


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", add, priority=Page.COMPLETE)  # after the theme has made its menu
