"""Ways in: the address of the whole site, a page for addresses that lead nowhere, a map for search engines."""

from pathlib import Path
from urllib.parse import urlsplit

from sphinx.application import Sphinx

from surgeon_book.nodes import in_order
from surgeon_book.page.openings import Openings, describe
from surgeon_book.site import cards, pages
from surgeon_book.site.templates import render

MAP = "sitemap.xml"


def write(app: Sphinx) -> None:
    """The map needs absolute addresses, as its format asks; a book that has none gets no map."""
    address, root = app.config.html_baseurl, app.config.root_doc
    first, book = app.builder.get_target_uri(root), app.config.html_title
    made = {"404.html": lost(address, book, first), "robots.txt": robots(address)}
    if first != "index.html" and root in Openings.of(app.env):
        description, canonical = describe(Openings.of(app.env)[root], book, book), address and address + first
        told = {"book": book, "first": first, "description": description, "canonical": canonical}
        made["index.html"] = render("entrance.html", **told)
    if address:
        listed = [page for page in in_order(app.env) if page in app.env.found_docs]
        made[MAP] = render(MAP, addresses=[address + app.builder.get_target_uri(page) for page in listed])
    else:
        Path(app.outdir, MAP).unlink(missing_ok=True)
    for name, text in made.items():
        Path(app.outdir, name).write_text(text, encoding="utf8")


def lost(address: str, book: str, first: str) -> str:
    mark = (cards.STATIC / "mark.svg").read_text(encoding="utf8").replace("<svg ", '<svg aria-hidden="true" ').strip()
    prefix = urlsplit(address).path or "/"
    return render("lost.html", book=book, first=first, prefix=prefix, mark=mark, colours=cards.colours())


def robots(address: str) -> str:
    lines = ["User-agent: *", "Allow: /", *([f"Sitemap: {address}{MAP}"] if address else [])]
    return "\n".join(lines) + "\n"


def setup(app: Sphinx) -> None:
    app.connect("build-finished", pages.if_written(write))
