"""What a page's run opens and imports: every Python that a page starts notes it, its kernel first of all.

Python imports a module of this name when it starts, and the build puts this folder on the path of its kernels. Lines go
to the file that SURGEON_TRACE names, each once a process:

F path        a file of the checkout was read (of a module, its source)
L folder      a folder of the checkout was listed
I from to     one package imported another; pages' cells import as `__main__`
D package     code of the checkout read a data file of a package
"""

import builtins
import importlib
import os
import sys
import sysconfig
from importlib.machinery import PathFinder
from importlib.util import source_from_cache
from types import FrameType, ModuleType
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(HERE)))))
PACKAGES = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib")})
PASSED_OVER = ("_build", ".git", ".venv")  # of the checkout: made from it, or not of it
IMPORTERS = ("<frozen importlib", os.path.dirname(importlib.__file__))

ACCESS = getattr(os, "O_ACCMODE", 3)

noted: dict[str, None] = {}  # a set that keeps its order
file: int | None = None  # where lines go; nowhere yet in a process that kernels are forked from
real_import, real_import_module = builtins.__import__, importlib.import_module


def begin(path: str) -> None:
    """From now on lines go to a file, those that were noted before as well."""
    global file
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, "".join(f"{line}\n" for line in noted).encode())


def note(line: str) -> None:
    if line not in noted:
        noted[line] = None
        if file is not None:
            os.write(file, f"{line}\n".encode())


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python calls it with every event, and most of them are none of ours."""
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, (str, bytes)) and flags & ACCESS != os.O_WRONLY:
            read(os.path.abspath(os.fsdecode(path)))
    elif event in ("os.listdir", "os.scandir"):
        path = arguments[0] or "."
        if isinstance(path, (str, bytes)) and not sys._getframe(1).f_code.co_filename.startswith(IMPORTERS):
            place = inside(os.path.abspath(os.fsdecode(path)))
            if place is not None:
                note(f"L {place}")


def read(path: str) -> None:
    for packages in PACKAGES:
        if path.startswith(packages):
            if not path.endswith((".py", ".pyc", ".so")) and asked_here(sys._getframe(2)):
                note(f"D {path[len(packages) :].split(os.sep)[0]}")
            return
    if path.endswith(".pyc"):
        try:
            path = source_from_cache(path)
        except ValueError:
            return
    place = inside(path)
    if place is not None:
        note(f"F {place}")


def inside(path: str) -> str | None:
    """A path as the checkout has it; None for one that is elsewhere, or that builds make."""
    if path != ROOT and not path.startswith(ROOT + os.sep):
        return None
    parts = path[len(ROOT) + 1 :].split(os.sep)
    return None if parts[0] in PASSED_OVER else "/".join(parts)


def asked_here(frame: FrameType | None) -> bool:
    """Whether a page's cell or a module of the checkout is among the next callers."""
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "__main__" or inside(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def who(names: dict[str, Any] | None) -> str:
    """The package of a caller: a program started by its name is of that name, and not `__main__`."""
    spec = (names or {}).get("__spec__")
    return str(spec.name if spec else (names or {}).get("__name__", "")).partition(".")[0]


def note_import(names: dict[str, Any] | None, name: str) -> None:
    caller, imported = who(names), name.partition(".")[0]
    if imported != caller and imported not in sys.stdlib_module_names and caller not in sys.stdlib_module_names:
        note(f"I {caller or '?'} {imported}")


def noting_import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> ModuleType:  # noqa: A002
    if level == 0:
        note_import(globals, name)
    return real_import(name, globals, locals, fromlist, level)


def noting_import_module(name: str, package: str | None = None) -> ModuleType:
    if not name.startswith("."):
        note_import(sys._getframe(1).f_globals, name)
    return real_import_module(name, package)


def hand_on() -> None:
    """Run the `sitecustomize` that this one hides, if there is one."""
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path or ".") != HERE])
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


builtins.__import__, importlib.import_module = noting_import, noting_import_module  # type: ignore[assignment]
sys.addaudithook(watch)
if "SURGEON_TRACE" in os.environ:
    begin(os.environ["SURGEON_TRACE"])
hand_on()
