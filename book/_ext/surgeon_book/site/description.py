"""What a page says of itself to those who do not open it: title, description, card, icon.

A card (Open Graph, Twitter) needs absolute addresses, and so a book that has one: see `address`.
"""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.page.openings import describe, kept
from surgeon_book.site import cards


def add(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if app.builder.format != "html":
        return
    book, title = app.config.html_title, context.get("title", "")
    tags = [_link("apple-touch-icon", context["pathto"](cards.ICON, 1))]
    opening = kept(app.env).get(pagename)
    if opening is None:  # search and the like
        tags.append(_meta("name", "robots", "noindex"))
        context["metatags"] = context.get("metatags", "") + "\n".join(tags)
        return
    title = app.env.titles[pagename].astext()
    first = pagename == app.config.root_doc
    if first:  # its title is the book's
        context["docstitle"] = ""
        context["theme_logo"] = {**(context.get("theme_logo") or {}), "text": book}
    description = describe(opening, title, book)
    tags.append(_meta("name", "description", description))
    for name, value in {
        "title": title,
        "description": description,
        "type": "website" if first else "article",
        "site_name": book,
        "locale": "en_GB",
    }.items():
        tags.append(_meta("property", f"og:{name}", value))
    tags.append(_meta("name", "twitter:card", "summary_large_image" if app.config.html_baseurl else "summary"))
    if app.config.html_baseurl:
        image = app.config.html_baseurl + cards.path(app, pagename)
        tags.append(_meta("property", "og:url", context.get("pageurl", "")))
        tags.append(_meta("property", "og:image", image))
        tags.append(_meta("property", "og:image:width", str(cards.WIDTH)))
        tags.append(_meta("property", "og:image:height", str(cards.HEIGHT)))
        tags.append(_meta("property", "og:image:alt", f"{title}. {opening.question}".strip()))
    context["metatags"] = context.get("metatags", "") + "\n".join(tags) + "\n"


def _meta(kind: str, name: str, content: str) -> str:
    return f'<meta {kind}="{name}" content="{escape(content)}"/>'


def _link(rel: str, address: str) -> str:
    return f'<link rel="{rel}" href="{escape(address)}"/>'


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", add)
