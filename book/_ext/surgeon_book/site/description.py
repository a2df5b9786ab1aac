"""What a page says of itself to those who do not open it: title, description, card, icon.

A card (Open Graph, Twitter) needs absolute addresses, and so a book that has one: see `address`. (sphinxext-opengraph
describes a page by its first 200 characters, cut in mid-word, with its equations as TeX.)
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.page.openings import Openings, describe
from surgeon_book.site import cards
from surgeon_book.site.templates import render


def add(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if app.builder.format != "html":
        return
    names, properties = {"robots": "noindex"}, {}
    if opening := Openings.of(app.env).get(pagename):  # search and the like have none
        book, title, first = app.config.html_title, app.env.titles[pagename].astext(), pagename == app.config.root_doc
        if first:  # its title is the book's
            context["docstitle"] = ""
            context["theme_logo"] = {**(context.get("theme_logo") or {}), "text": book}
        description, address = describe(opening, title, book), app.config.html_baseurl
        names = {"description": description, "twitter:card": "summary_large_image" if address else "summary"}
        properties = {
            "og:title": title,
            "og:description": description,
            "og:type": "website" if first else "article",
            "og:site_name": book,
            "og:locale": "en_GB",
        }
        if address:
            properties |= {
                "og:url": context.get("pageurl", ""),
                "og:image": address + cards.path(app, pagename),
                "og:image:width": cards.WIDTH,
                "og:image:height": cards.HEIGHT,
                "og:image:alt": f"{title}. {opening.question}".strip(),
            }
    tags = render("description.html", icon=context["pathto"](cards.ICON, 1), names=names, properties=properties)
    context["metatags"] = context.get("metatags", "") + tags


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", add)
