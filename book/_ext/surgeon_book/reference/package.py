"""What is public in the package: what `surgeon` hands on, and what else is documented in full.

In full is with its parameters, or with what it returns.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from surgeon_book.checkout import ROOT

PACKAGE = "surgeon"
DOCUMENTED = re.compile(r"^(Parameters|Returns)\n-+$", re.MULTILINE)


class Entry(NamedTuple):
    name: str  # what one imports, "surgeon.attention"
    origin: str  # where it is defined, "surgeon.anatomy.dot_product.attention"
    kind: str  # "function", "class" or "exception"


def load() -> ModuleType:
    """This checkout's package, though another may be installed."""
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(PACKAGE)


def public(package: ModuleType) -> dict[str, list[Entry]]:
    """Every module with public names, and these."""
    walk = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    names = [module.name for module in walk if not module.ispkg and not module.name.endswith(".__main__")]
    found = {name: list(entries(package, importlib.import_module(name))) for name in names}
    return {name: every for name, every in found.items() if every}


def entries(package: ModuleType, module: ModuleType) -> Iterator[Entry]:
    """What is public in a module, in the order of its file."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", "") != module.__name__:
            continue
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        kind = "function" if inspect.isfunction(thing) else "class"
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            kind = "exception"
        origin = f"{module.__name__}.{name}"
        if name in package.__all__ and getattr(package, name) is thing:
            yield Entry(f"{PACKAGE}.{name}", origin, kind)
        elif kind == "exception" or in_full(inspect.getdoc(thing)):
            yield Entry(origin, origin, kind)


def in_full(docstring: str | None) -> bool:
    return DOCUMENTED.search(docstring or "") is not None
