"""Search finds the glossary's terms as what they are, ahead of the pages that mention them."""

from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain

IMPORTANT = 0  # Sphinx's own scale: before objects of the default priority, 1; its own -1 leaves terms out


def setup(app: Sphinx) -> None:
    StandardDomain.object_types["term"].attrs["searchprio"] = IMPORTANT
