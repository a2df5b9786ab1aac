"""What is installed stays as it is while a book is built: it is looked up once, and not for every page and source.

Each look goes through the metadata of every package of the environment.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pybtex.plugin
from sphinx.application import Sphinx

from surgeon_book import kept, sources

# Who asks for the entry points of packages while a book is built.
ASKING = (
    "jupyter_client.provisioning.factory",
    "myst_nb.core.render",
    "pybtex.plugin",
    "sphinx.registry",
    "sphinx.theming",
    "sphinxcontrib.bibtex.plugin",
)


def remembered(entry_points: Callable[[], Any]) -> Callable[..., Any]:
    """`importlib.metadata.entry_points`, or the function of that name in its backport, that looks but once."""
    every = _every(entry_points)
    return cache(lambda **asked: every().select(**asked))


@cache
def _every(entry_points: Callable[[], Any]) -> Callable[[], Any]:
    """Shared by all who ask through the same function."""
    return cache(entry_points)


def distributions(memory: Path) -> dict[str, list[str]]:
    """Which distributions bring a package. It is kept for the next build, unless any has come, gone or changed."""
    names = sorted(_installed())
    there = sources.digest([sys.version, *names])
    before, found = json.loads(kept.get(memory) or "[null, {}]")
    if before != there:
        found = {package: sorted(set(names)) for package, names in packages_distributions().items()}
        kept.put(memory, json.dumps([there, found]).encode())
    return found


def _installed() -> list[str]:
    """The folders with packages' metadata, and when each was last written to."""
    places = dict.fromkeys(place or "." for place in sys.path)
    found = [entry for place in places if os.path.isdir(place) for entry in os.scandir(place)]
    infos = [entry for entry in found if entry.name.endswith((".dist-info", ".egg-info"))]
    return [f"{entry.path} {entry.stat().st_mtime_ns}" for entry in infos]


def setup(app: Sphinx) -> None:
    for module in (sys.modules[name] for name in ASKING if name in sys.modules):
        module.entry_points = remembered(module.entry_points)  # type: ignore[attr-defined]
    pybtex.plugin._load_entry_point = cache(pybtex.plugin._load_entry_point)
