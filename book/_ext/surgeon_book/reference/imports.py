"""What a page's cells import from the package, by the modules that define it: read from the code, nothing is run."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from myst_nb.core.read import create_nb_reader
from myst_nb.sphinx_ import SphinxEnvType
from sphinx.errors import SphinxError


class Package:
    """A package's modules and what they hand on, read from its files as they are when first asked for."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.text, self.tree = cache(self._text), cache(self._tree)

    def path(self, module: str) -> Path | None:
        path = self.root.joinpath(*module.split("."))
        files = (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py"))
        return next((file for file in files if file.is_file()), None)

    def _text(self, module: str) -> bytes:
        path = self.path(module)
        return path.read_bytes() if path else b""

    def _tree(self, module: str) -> ast.AST:
        try:
            return ast.parse(self.text(module))
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    def imports(self, tree: ast.AST, inside: str = "") -> Iterator[tuple[str, str | None, str]]:
        """(module, name in it or None for itself, name given to it) of everything imported from the package."""
        path = self.path(inside) if inside else None
        parents = inside.split(".") if path and path.stem == "__init__" else inside.split(".")[:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == self.name:
                        yield alias.name, None, alias.asname or self.name
                        if "." in alias.name and not alias.asname:  # binds the whole package
                            yield self.name, None, self.name
            elif isinstance(node, ast.ImportFrom):
                above = parents[: len(parents) - node.level + 1] if node.level else []
                module = ".".join([*above, *([node.module] if node.module else [])])
                if module.split(".")[0] == self.name:
                    for alias in node.names:
                        yield module, None if alias.name == "*" else alias.name, alias.asname or alias.name

    def origin(self, module: str, name: str | None, seen: frozenset = frozenset()) -> tuple[str, str | None]:
        """Where a name comes from: through the `__init__` that only hands it on, to the module that has it."""
        path = self.path(module)
        if name is None or path is None or path.stem != "__init__" or (module, name) in seen:
            return module, name
        for source, original, given in self.imports(self.tree(module), module):
            if given == name and (source, original) != (module, name):
                return self.origin(source, original, seen | {(module, name)})
        return (f"{module}.{name}", None) if self.path(f"{module}.{name}") else (module, name)

    def reached(self, tree: ast.AST) -> list[str]:
        """What the code gets from the package, and the content of each module that this takes, as lines to compare."""
        names, modules = set(), {}
        waiting = [(tree, "")]
        while waiting:
            for module, name, _ in self.imports(*waiting.pop()):
                source, original = self.origin(module, name)
                names.add(f"{module}.{name} is {source}.{original}")
                if source not in modules:
                    modules[source] = hashlib.sha256(self.text(source)).hexdigest()
                    waiting.append((self.tree(source), source))
        return sorted(names) + [f"{module} {digest}" for module, digest in sorted(modules.items())]


def cells(env: SphinxEnvType, docname: str, text: str) -> ast.AST | None:
    """The page's code cells as one tree; None if it has none."""
    reader = create_nb_reader(env.doc2path(docname), env.myst_config, env.mystnb_config, text)
    if reader is None:
        return None
    try:
        notebook = reader.read(text)
    except Exception as error:  # of many kinds, and none of them names the page
        raise SphinxError(f"{env.doc2path(docname)} cannot be read: {error}") from error
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    body: list[ast.stmt] = []
    for code in codes:
        try:
            body += ast.parse(TransformerManager().transform_cell(code)).body
        except (SyntaxError, ValueError):
            continue  # such a cell fails when it runs
    return ast.Module(body, []) if codes else None
