"""What a build imports, but for our own extension: once, in the process that small books' builds are forked from."""

import gc
import sys
from importlib import import_module, metadata

import importlib_metadata as backport

# A checker of addresses that JupyterLab brings takes as long to import as all of Sphinx; jsonschema can do without.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# What is installed stays as it is while tests run: half a second of each build goes into looking it up.
INSTALLED = metadata.packages_distributions()
metadata.packages_distributions = lambda: INSTALLED
for library in (metadata, backport):
    library.entry_points = library.entry_points().select

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

# What is made when it is first used: patterns of selectors, styles of code, fonts.
import_module("soupsieve").compile("li.a > details, a[href^='b']:not(.c)")
list(import_module("pygments.styles").get_all_styles())
FIGURE = import_module("matplotlib.figure").Figure(figsize=(1, 1))
for style in ("normal", "italic"):
    FIGURE.text(0, 0, "Small", family="DejaVu Serif", style=style)
import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(FIGURE).draw()

# What is here, each build would look through for a collector of Sphinx's, and copy in its collections of garbage.
gc.collect()
gc.freeze()
