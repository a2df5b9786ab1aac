"""Where the book will be read: the address that canonical links, cards and the sitemap name.

It is `html.baseurl` of _config.yml where that is set, and else where GitHub Pages publishes the repository. A book
without either has no address: its pages then name none, and there is no sitemap.
"""

import re

from sphinx.application import Sphinx
from sphinx.config import Config

from surgeon_book.order import Configured


def of_repository(url: str) -> str:
    """GitHub Pages' address of a repository, or "" for a repository elsewhere."""
    repository = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+?)(\.git)?/?", url)
    if not repository:
        return ""
    host = f"{repository[1].lower()}.github.io"
    return f"https://{host}/" if repository[2].lower() == host else f"https://{host}/{repository[2]}/"


def settle(app: Sphinx, config: Config) -> None:
    """Sphinx writes a canonical link into every page of a book that has an address."""
    address = config.html_baseurl or of_repository(config.html_theme_options.get("repository_url", ""))
    config.html_baseurl = f"{address.rstrip('/')}/" if address else ""


def setup(app: Sphinx) -> None:
    app.connect("config-inited", settle, priority=Configured.ADDRESS_FOLLOWS)
