"""The book's own part of Sphinx: what runs again, what is remembered, what a failure does, where a figure goes.

A page leaves some things in Sphinx's environment, which is kept from build to build: a fingerprint of what it was made
from (`fingerprints`), its claims (`ledger`), the names of surgeon that it uses (`usage`) and, by MyST-NB, how long it
ran (`colophon`). Some leave more: the modules that they show (`api`), the terms that they define (`glossary`).
"""

from collections.abc import Callable, Iterable
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from surgeon_book import checkout, nodes, sources
from surgeon_book.execution import failures, fingerprints, kernels, rewriting
from surgeon_book.page import (
    corners,
    downloads,
    elements,
    entries,
    equations,
    figures,
    folds,
    glossary,
    openings,
    operating_fixtures,
    upfront,
)
from surgeon_book.reference import api, colophon, docstrings, ledger, overview, parts, usage
from surgeon_book.site import address, cards, description, entrances, pages, search
from surgeon_book.theme import slim, styles

SUBJECTS = (
    checkout,
    nodes,
    kernels,
    fingerprints,
    rewriting,
    failures,
    ledger,
    figures,
    corners,
    entries,
    elements,
    operating_fixtures,
    colophon,
    usage,
    docstrings,
    api,
    overview,
    glossary,
    address,
    pages,
    upfront,
    openings,
    description,
    cards,
    entrances,
    downloads,
    search,
    folds,
    equations,
    slim,
    styles,
    parts,
)
KEPT: tuple[Callable[[BuildEnvironment], dict[str, Any]], ...] = tuple(subject.kept for subject in (fingerprints,))


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    for kept in KEPT:
        kept(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment) -> None:
    for kept in KEPT:
        kept(env).update({docname: kept(other)[docname] for docname in docnames if docname in kept(other)})


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    for subject in SUBJECTS:
        subject.setup(app)
    return {
        "version": "1",
        "env_version": int(sources.digest(sources.reading())[:8], 16),  # another extension reads every page anew
        "parallel_read_safe": True,
        "parallel_write_safe": False,  # V8, which sets the equations, does not survive a fork
    }
