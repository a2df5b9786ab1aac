"""Of an exercise and its solution, the environment keeps the title: nobody asks it for more.

sphinx-exercise keeps the nodes themselves, and with each its whole page, which every build would read and write.
"""

from docutils import nodes
from sphinx.application import Sphinx


def lighten(app: Sphinx, doctree: nodes.document) -> None:
    for entry in getattr(app.env, "sphinx_exercise_registry", {}).values():
        if entry["docname"] == app.env.docname:
            node = entry["node"]
            light = node.copy()
            light.document = None
            light += [child.deepcopy() for child in node.children[:1]]
            entry["node"] = light


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", lighten)
