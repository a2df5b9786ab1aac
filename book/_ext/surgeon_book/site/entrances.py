"""Ways in: the address of the whole site, a page for addresses that lead nowhere, a map for search engines."""

from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from sphinx.application import Sphinx

from surgeon_book.nodes import in_order
from surgeon_book.page.openings import describe, kept
from surgeon_book.site import cards

ENTRANCE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{book}</title>
<meta name="description" content="{description}"/>
{canonical}<meta http-equiv="refresh" content="0; url={first}"/>
<link rel="icon" href="_static/mark.svg"/>
</head>
<body><main><h1>{book}</h1><p>{description}</p><p><a href="{first}">Open the book</a></p></main></body>
</html>
"""

# A host shows this page for addresses of any depth, so it holds all that it needs. Its links begin at the host's root:
# with the book's path, where the address has it, and without, where somebody serves the site from their own machine.
LOST = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="robots" content="noindex"/>
<title>No such page — {book}</title>
<style>
html {{ color-scheme: light dark; }}
body {{ background: {paper}; color: {ink}; font: 1.125rem/1.6 Georgia, "Liberation Serif", serif; margin: 0; }}
main {{ margin: 18vh auto 0; max-width: 34rem; padding: 0 1.25rem; }}
svg {{ height: 4rem; width: 4rem; }}
h1 {{ font-size: 2.25rem; line-height: 1.2; margin: 1.5rem 0 0.5rem; }}
h1::after {{ background: {vermilion}; content: ""; display: block; height: 3px; margin: 1rem 0; width: 3.5rem; }}
a {{ color: {blue}; }}
form {{ display: flex; gap: 0.5rem; margin: 1.5rem 0; }}
input, button {{ border: 1px solid {grey}; border-radius: 0.3rem; font: inherit; padding: 0.4rem 0.75rem; }}
input {{ background: transparent; color: inherit; flex: 1; min-width: 0; }}
button {{ background: {blue}; border-color: {blue}; color: {paper}; cursor: pointer; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: {night}; color: {pale}; }}
  a {{ color: {sky}; }}
}}
</style>
</head>
<body>
<main>
{mark}
<h1>There is nothing here</h1>
<p>This address leads to no page of <em>{book}</em>. It may have been cut out, or it was never there.</p>
<form action="{prefix}search.html" role="search">
<input type="search" name="q" aria-label="Search this book" placeholder="Search this book"/><button>Search</button>
</form>
<p><a href="{prefix}{first}">Begin at the beginning</a></p>
</main>
<script>
if (!location.pathname.startsWith("{prefix}")) {{
  for (const [selector, name] of [["a", "href"], ["form", "action"]]) {{
    for (const it of document.querySelectorAll(selector)) {{
      it.setAttribute(name, it.getAttribute(name).replace("{prefix}", "/"));
    }}
  }}
}}
</script>
</body>
</html>
"""

MAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{entries}
</urlset>
"""


def write(app: Sphinx, exception: Exception | None) -> None:
    """The map needs absolute addresses, as its format asks; a book that has none gets no map."""
    if exception or app.builder.format != "html":
        return
    out, address, root = Path(app.outdir), app.config.html_baseurl, app.config.root_doc
    pages = [page for page in in_order(app.env) if page in app.env.found_docs]
    first, book = app.builder.get_target_uri(root), app.config.html_title
    said = {"book": escape(book), "first": escape(first)}
    if first != "index.html" and root in kept(app.env):
        canonical = f'<link rel="canonical" href="{escape(address + first)}"/>\n' if address else ""
        description = escape(describe(kept(app.env)[root], book, book))
        (out / "index.html").write_text(
            ENTRANCE.format(canonical=canonical, description=description, **said), encoding="utf8"
        )
    mark = (cards.STATIC / "mark.svg").read_text(encoding="utf8").replace("<svg ", '<svg aria-hidden="true" ')
    prefix = urlsplit(address).path or "/"
    (out / "404.html").write_text(
        LOST.format(mark=mark.strip(), prefix=escape(prefix), **said, **cards.colours()), encoding="utf8"
    )
    robots, sitemap = ["User-agent: *", "Allow: /"], out / "sitemap.xml"
    if address:
        entries = [f"<url><loc>{escape(address + app.builder.get_target_uri(page))}</loc></url>" for page in pages]
        sitemap.write_text(MAP.format(entries="\n".join(entries)), encoding="utf8")
        robots.append(f"Sitemap: {address}sitemap.xml")
    else:
        sitemap.unlink(missing_ok=True)
    (out / "robots.txt").write_text("\n".join(robots) + "\n", encoding="utf8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write)
