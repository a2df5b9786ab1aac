"""What the sidebar folds has a name. The theme draws a mark there, and says nothing to whoever does not see it."""

from typing import Any

from sphinx.application import Sphinx

from surgeon_book.order import Page


def name(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    generate = context.get("generate_toctree_html")
    if generate is None:
        return

    def named(*arguments: Any, **options: Any) -> Any:
        tree = generate(*arguments, **options)
        for fold in [] if isinstance(tree, str) else tree.select("li > details > summary"):
            fold["aria-label"] = f"Pages of {fold.find_parent('li').find('a').get_text(strip=True)}"
        return tree

    context["generate_toctree_html"] = named


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", name, priority=Page.COMPLETE)
