"""What a build imports, but for our own extension: once, in the process that small books' builds are forked from."""

import sys
from importlib import import_module

# A checker of addresses that JupyterLab brings takes as long to import as all of Sphinx; jsonschema can do without.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

for name in (
    "bs4",
    "jupyter_book.cli.main",
    "jupyter_book.sphinx",
    "jupyter_client.manager",
    "myst_nb.sphinx_ext",
    "nbclient",
    "nbformat.v4",
    "PIL.Image",
    "pygments.lexers.python",
    "sphinx.application",
    "sphinx.builders.html",
    "sphinx_book_theme",
    "sphinx_comments",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_exercise",
    "sphinx_external_toc",
    "sphinx_jupyterbook_latex",
    "sphinx_multitoc_numbering",
    "sphinx_thebe",
    "sphinx_togglebutton",
    "sphinxcontrib.bibtex",
):
    import_module(name)
