"""The picture first: what a cell tagged `up-front` shows stands under its page's question, and the code comes after."""

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.order import Read

TAG = "tag_up-front"


def lift(app: Sphinx, doctree: nodes.document) -> None:
    """Only on the site: in JupyterLab, and for whoever runs the page, the order is that of its cells."""
    for cell in [node for node in doctree.findall(nodes.container) if TAG in node["classes"]]:
        # The page's own section is the outermost.
        section, around = None, cell.parent
        while around is not None:
            section = around if isinstance(around, nodes.section) else section
            around = around.parent
        shown = [node for node in cell.children if "cell_output" in node.get("classes", ())]
        paragraphs = [node for node in section or () if isinstance(node, nodes.paragraph)]
        if section is None or not paragraphs:
            continue
        code = [n for n, node in enumerate(section) if isinstance(node, nodes.section) or "cell" in node["classes"]]
        for node in shown:
            cell.remove(node)
        section[code[0] : code[0]] = shown


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", lift, priority=Read.MOVED)
