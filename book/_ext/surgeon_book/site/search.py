"""Search finds the glossary's terms as what they are, ahead of pages that mention them, and no word that is gone."""

from collections.abc import Iterable

from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain

IMPORTANT = 0  # Sphinx's own scale: before objects of the default priority, 1; its own -1 leaves terms out


def forget_words(app: Sphinx) -> Iterable[tuple]:
    """Sphinx takes a changed page out of its index, and leaves the words that stood on no other."""
    indexer = getattr(app.builder, "indexer", None)
    for pages_of in (indexer._mapping, indexer._title_mapping) if indexer else ():
        for word in [word for word, pages in pages_of.items() if not pages]:
            del pages_of[word]
    return ()


def setup(app: Sphinx) -> None:
    StandardDomain.object_types["term"].attrs["searchprio"] = IMPORTANT
    app.connect("html-collect-pages", forget_words)  # the last before the index is written
