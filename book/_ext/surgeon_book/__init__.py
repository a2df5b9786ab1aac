"""The book's own part of Sphinx: what runs again, what is remembered, what a failure does, where a figure goes.

A page leaves some things in Sphinx's environment, which is kept from build to build: a fingerprint of what it was made
from (`fingerprints`), its claims (`ledger`), the names of surgeon that it uses (`usage`) and, by MyST-NB, how long it
ran (`colophon`). Some leave more: the modules that they show (`api`), the terms that they define (`glossary`).
"""

from typing import Any

from sphinx.application import Sphinx

from surgeon_book import checkout, installed, nodes, sources
from surgeon_book.execution import asking, failures, fingerprints, kernels, reading, rewriting, writing
from surgeon_book.page import (
    calls,
    checked,
    downloads,
    elements,
    entries,
    equations,
    exercises,
    figures,
    folds,
    frames,
    glossary,
    launches,
    openings,
    operating_fixtures,
    outward,
    sections,
    upfront,
)
from surgeon_book.reference import api, colophon, docstrings, ledger, overview, parts, usage
from surgeon_book.site import address, cards, contents, description, entrances, pages, search, templates
from surgeon_book.theme import slim, styles

SUBJECTS = (
    checkout,
    installed,
    nodes,
    kernels,
    asking,
    fingerprints,
    reading,
    rewriting,
    writing,
    failures,
    ledger,
    figures,
    frames,
    entries,
    elements,
    operating_fixtures,
    outward,
    colophon,
    usage,
    docstrings,
    api,
    overview,
    glossary,
    address,
    pages,
    contents,
    templates,
    upfront,
    calls,
    checked,
    openings,
    description,
    cards,
    entrances,
    downloads,
    launches,
    sections,
    search,
    folds,
    equations,
    exercises,
    slim,
    styles,
    parts,
)


def setup(app: Sphinx) -> dict[str, Any]:
    for subject in SUBJECTS:
        subject.setup(app)
    return {
        "version": "1",
        "env_version": int(sources.digest(sources.reading())[:8], 16),  # another extension reads every page anew
        "parallel_read_safe": True,
        "parallel_write_safe": False,  # V8, which sets the equations, does not survive a fork
    }
