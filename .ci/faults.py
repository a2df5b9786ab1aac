"""Small faults for a module, one at a time, and how each is written down. `mutants.py` puts them in.

mutmut's operators make the faults: another number, another operator, an argument gone, None in place of a value.
"""

import ast
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice


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


def _end(node: ast.stmt) -> int:
    """The last line of a statement; of one with a body, the last line of its head."""
    body = getattr(node, "body", None)
    return max(node.lineno, body[0].lineno - 1) if body else node.end_lineno


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


@dataclass(frozen=True)
class Fault:
    """One fault of a module: the statement, what becomes of it, its lines, and the whole module with the fault."""

    module: str
    line: str
    becomes: str
    lines: range
    code: str

    @property
    def is_called(self) -> bool:
        """Whether it stands in a function's body: nothing of it happens before somebody calls that."""
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        bodies = [node for node in ast.walk(ast.parse(self.code)) if isinstance(node, functions)]
        return any(node.body[0].lineno <= self.lines.start <= (node.end_lineno or 0) for node in bodies)


class Module:
    """A module's text, and all the faults that mutmut would put into it."""

    def __init__(self, name: str, code: str) -> None:
        import libcst
        from mutmut.mutation.file_mutation import MutationVisitor
        from mutmut.mutation.mutators import mutation_operators
        from mutmut.mutation.pragma_handling import IgnoredCode

        class Everywhere(MutationVisitor):
            """Decorated functions too, which mutmut leaves alone because it keeps all mutants in one module."""

            def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
                decorated = isinstance(node, libcst.FunctionDef) and node.decorators
                return False if decorated else super()._skip_node_and_children(node)

        self.name, self.code = name, code
        self.whole = [(written, range(node.lineno, _end(node) + 1)) for node, written in _walk(ast.parse(code))]
        visitor = Everywhere(mutation_operators, IgnoredCode(set(), set(), set()))
        self.tree = libcst.MetadataWrapper(libcst.parse_module(code)).visit(visitor)
        self.mutations = visitor.mutations

    def fault(self, number: int) -> Fault | None:
        """One of `mutations`; none where Python cannot read what came of it, or reads the same as before."""
        from mutmut.mutation.file_mutation import deep_replace

        mutation = self.mutations[number]
        code = deep_replace(self.tree, mutation.original_node, mutation.mutated_node).code
        try:
            compile(code, self.name, "exec")
        except SyntaxError:
            return None
        before, after = [written for written, _ in self.whole], statements(code)
        start = next((n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), None)
        if start is None:
            return None
        same = 0
        while same < min(len(before), len(after)) - start and before[-1 - same] == after[-1 - same]:
            same += 1
        old, new = before[start : len(before) - same], after[start : len(after) - same]
        if not old:
            return None
        return Fault(self.name, "; ".join(old), "; ".join(new), self.whole[start][1], code)

    def faults(self, numbers: Iterable[int]) -> Iterator[Fault]:
        """Faults by their numbers, no two alike."""
        seen = set()
        for number in numbers:
            fault = self.fault(number)
            if fault and fault.code not in seen:
                seen.add(fault.code)
                yield fault


def sample(module: Module, number: int, seed: int) -> Iterator[Fault]:
    """So many of a module's faults, drawn at random; all of them, if there are no more."""
    numbers = list(range(len(module.mutations)))
    random.Random(f"{seed} {module.name}").shuffle(numbers)
    return islice(module.faults(numbers), number)


def shares(sizes: dict[str, int], number: int) -> dict[str, int]:
    """Split a number by size: at least one each, as long as there are so many, and no more than there are."""
    total = sum(sizes.values())
    if number >= total:
        return dict(sizes)
    exact = {name: number * size / total for name, size in sizes.items()}
    given = {name: min(sizes[name], max(1, int(share))) for name, share in exact.items()}
    surplus = lambda name: (given[name] - exact[name], name)
    while sum(given.values()) < number:
        given[min((name for name in given if given[name] < sizes[name]), key=surplus)] += 1
    while sum(given.values()) > number:
        given[max((name for name in given if given[name] > 1), key=surplus, default=max(given, key=given.get))] -= 1
    return given
