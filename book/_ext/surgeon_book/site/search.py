"""Search finds the glossary's terms as what they are, ahead of pages that mention them, and no word that is gone."""

import json
from collections.abc import Iterable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain

from surgeon_book import kept

IMPORTANT = 0  # Sphinx's own scale: before objects of the default priority, 1; its own -1 leaves terms out


def forget_words(app: Sphinx) -> Iterable[tuple]:
    """Sphinx takes a changed page out of its index, and leaves the words that stood on no other."""
    indexer = getattr(app.builder, "indexer", None)
    for pages_of in (indexer._mapping, indexer._title_mapping) if indexer else ():
        for word in [word for word, pages in pages_of.items() if not pages]:
            del pages_of[word]
    return ()


def recall_entries(app: Sphinx) -> Iterable[tuple]:
    """Of pages that are not written Sphinx's index loses the entries, which the glossary's terms are."""
    indexer, file = getattr(app.builder, "indexer", None), Path(app.doctreedir, "entries.json")
    if indexer:
        before = {
            page: [tuple(entry) for entry in found] for page, found in json.loads(kept.get(file) or b"{}").items()
        }
        every = {
            page: found for page, found in {**before, **indexer._index_entries}.items() if page in app.env.found_docs
        }
        indexer._index_entries = dict(sorted(every.items()))
        kept.put(file, json.dumps(indexer._index_entries).encode())
    return ()


def setup(app: Sphinx) -> None:
    StandardDomain.object_types["term"].attrs["searchprio"] = IMPORTANT
    app.connect("html-collect-pages", recall_entries)
    app.connect("html-collect-pages", forget_words)  # the last before the index is written
