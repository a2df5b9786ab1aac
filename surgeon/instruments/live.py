"""Whether a reader is at it, who could handle an instrument."""

import os
import sys
from importlib.util import find_spec

# Says that a cell's output goes into the site, where its scripts are.
SITE = "SURGEON_SITE"


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, and not that of a site's build.

    Examples
    --------
    >>> in_notebook()
    False
    """
    if os.environ.get(SITE) or "ipykernel" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


def can_show_widgets() -> bool:
    """Whether an instrument can be handled here: as a notebook's widget."""
    return in_notebook() and find_spec("anywidget") is not None
