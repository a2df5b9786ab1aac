"""What a build imports, but for our own extension: once, in the process that small books' builds are forked from."""

import gc
import sys
from importlib import import_module, metadata

# A checker of addresses that JupyterLab brings takes as long to import as all of Sphinx; jsonschema can do without.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

for name in (
    *import_module("sphinx.application").builtin_extensions,
    "bs4",
    "docutils.languages.en",
    "fontTools.misc.loggingTools",
    "ipykernel.kernelspec",
    "jupyter_book.cli.main",
    "jupyter_book.sphinx",
    "jupyter_client.manager",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "myst_nb.sphinx_ext",
    "nbclient",
    "nbformat.v4",
    "PIL.PngImagePlugin",
    "psutil",
    "py_mini_racer",
    "pygments.lexers.python",
    "sphinx_book_theme",
    "sphinx_comments",
    "sphinx_copybutton",
    "sphinx.ext.linkcode",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_design.extension",
    "sphinx_exercise",
    "sphinx_external_toc",
    "sphinx_jupyterbook_latex",
    "sphinx_multitoc_numbering",
    "sphinx_thebe",
    "sphinx_togglebutton",
    "sphinxcontrib.bibtex",
    "tinycss2",
):
    import_module(name)

# What is installed stays as it is while tests run: a quarter of a second of each build goes into looking it up.
INSTALLED = metadata.packages_distributions()
metadata.packages_distributions = lambda: INSTALLED

# What is here, each build would look through for a collector of Sphinx's, and copy in its collections of garbage.
gc.collect()
gc.freeze()
