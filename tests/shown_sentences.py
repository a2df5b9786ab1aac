"""The sentences of a source file that somebody is shown."""

import ast
import re


def sentences(code):
    """Every string of a file that is shown as it is, or with something put in, as a pattern.

    Neither names nor docstrings, nor what is said to the caller by a `ValueError`.
    """
    tree, left_out = ast.parse(code), set()
    for node in ast.walk(tree):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        refused = isinstance(node, ast.Raise) and "ValueError" in ast.unparse(node)
        if docstring or refused:
            left_out |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(inner) for inner in ast.walk(node) if inner is not node}
    for node in ast.walk(tree):
        if id(node) in left_out or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        if not all(isinstance(text, str | None) for text in texts):
            continue
        whole = "".join("{}" if text is None else text for text in texts)
        if re.match(r" ?([A-Z]|\{\})", whole) and re.search(r" .*(\.|raises |: \{\}|raises \{\})$", whole):
            yield whole, "".join(".*" if text is None else re.escape(text) for text in texts)
