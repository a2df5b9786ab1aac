"""Links in what a cell puts out lead to files, which JupyterLab opens, or to where the book is published.

On the site they lead to its own pages.
"""

import posixpath
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from surgeon_book.nodes import rewrite_outputs

LINK = re.compile(r'(?<=<a href=")(?![a-z]+:|[#/])(?P<page>[^"#]+)\.md(?:#(?P<label>[^"]*))?(?=")')
# As a check-up's report has it, which is shown in notebooks that are not the book's.
PAGE = re.compile(r'<a data-page="(?P<page>[^"]+)" href="[^"]+"')
logger = logging.getLogger(__name__)


def lead(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A label that nothing on its page has, or a page that is not there, is a warning, as it is in prose."""
    labels = app.env.domaindata["std"]["anonlabels"]

    def address(link: re.Match) -> str:
        page = posixpath.normpath(posixpath.join(posixpath.dirname(docname), link["page"]))
        place, anchor = labels.get(link["label"], ("", ""))
        if page not in app.env.found_docs or (link["label"] and place != page):
            logger.warning("an output links to %s, which is not there", link[0], location=docname)
            return link[0]
        uri = app.builder.get_relative_uri(docname, page)
        return f"{uri}#{anchor}" if anchor else uri

    def named(link: re.Match) -> str:
        page = f"book/{link['page']}"
        if page not in app.env.found_docs:
            logger.warning("an output names the page %s, which is not there", link["page"], location=docname)
            return link[0]
        return f'<a href="{app.builder.get_relative_uri(docname, page)}"'

    rewrite_outputs(doctree, LINK, address)
    rewrite_outputs(doctree, PAGE, named)


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", lead)
