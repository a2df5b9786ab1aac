"""Small faults for a module, one at a time, and how each is written down. `mutants.py` puts them in.

mutmut's operators make the faults: another number, another operator, an argument gone, None in place of a value.
"""

import ast
from collections.abc import Iterator


def statements(code: str) -> list[str]:
    """A module's statements in order, each on one line as Python itself writes it; of one with a body, its head.

    No formatter changes them, so an argument about a statement outlives a change of the line's width.
    """
    return [written for _, written in _walk(ast.parse(code))]


def _walk(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child, _head(child)
        yield from _walk(child)


def _head(node: ast.stmt) -> str:
    bodies = [name for name in ("body", "orelse", "finalbody", "handlers", "cases") if getattr(node, name, None)]
    if not bodies:
        return ast.unparse(node)
    held = {name: getattr(node, name) for name in bodies}
    for name in bodies:
        setattr(node, name, [])
    try:
        return " ".join(ast.unparse(node).split("\n"))
    finally:
        for name, body in held.items():
            setattr(node, name, body)


def written(line: str) -> str:
    """A statement as `statements` has it, however somebody wrote it."""
    for text in (line, f"{line}\n    pass"):
        try:
            (statement,) = ast.parse(text).body
            return _head(statement)
        except (SyntaxError, ValueError):
            continue
    raise ValueError(f"line must be one statement of Python, or the head of one, got {line!r}.")
