"""A cell that calls nothing but `source` or `where`: the site shows what they show, and not the call.

In a notebook the call is the cell, and stays.
"""

import ast

from docutils import nodes
from sphinx.application import Sphinx

from surgeon_book.order import Read

SHOWING = {"source", "where"}


def only_shows(code: str) -> bool:
    try:
        statements = ast.parse(code).body
    except SyntaxError:  # a magic, for one
        return False
    calls = [one.value for one in statements if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)]
    named = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    return 0 < len(named) == len(statements) and SHOWING.issuperset(named)


def leave_out(app: Sphinx, doctree: nodes.document) -> None:
    for cell in [node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"]:
        inputs = [part for part in cell.children if part.get("nb_element") == "cell_code_source"]
        if inputs and only_shows(inputs[0].astext()):
            cell.remove(inputs[0])
            if not cell.children:  # what it shows stands elsewhere
                cell.parent.remove(cell)


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", leave_out, priority=Read.LEFT_OUT)
