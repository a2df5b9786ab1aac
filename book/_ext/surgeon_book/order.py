"""When each part of the extension has its turn: Sphinx calls the smallest number first, and 500 where nothing is said.

One list for each event at which an order matters; between two names of a list come all those that say nothing.
"""

from enum import IntEnum


class Configured(IntEnum):
    """`config-inited`: by 500 the repository has its name and the hash of what shapes the site is taken."""

    PATHS_ARE_FOUND = 400
    THEME_IS_KNOWN = 450
    ADDRESS_FOLLOWS = 600  # from the repository's name


class Begun(IntEnum):
    """`builder-inited`: at 500 a build leaves its mark, which stays if it is killed."""

    MARK_OF_THE_LAST_IS_SEEN = 400


class Docstring(IntEnum):
    """`autodoc-process-docstring`: at 500 Napoleon rewrites it."""

    AS_WRITTEN = 400
    REWRITTEN = 600


class Read(IntEnum):
    """`doctree-read`: by 500 everyone has found the outputs of cells where they were made."""

    MOVED = 900
    LEFT_OUT = 950  # what stands by itself without what made it


class Updated(IntEnum):
    """`env-updated`: by 500 the list of sources is made."""

    SOURCES_ARE_CITED = 900


class Resolved(IntEnum):
    """`doctree-resolved`: by 500 links stand where they will."""

    WHOLE = 950


class Page(IntEnum):
    """`html-page-context`: by 500 the theme and the extensions have added theirs."""

    COMPLETE = 900


class Finished(IntEnum):
    """`build-finished`: by 500 the theme has written its style, and pictures and entrances are there."""

    STYLE = 800
    UNUSED_IS_GONE = 900  # what no page, nor the style, asks for
    FIXTURES = 950  # which no page asks for
    WRITTEN = 990
    BELIEVED = 999  # after all that may still warn or write
