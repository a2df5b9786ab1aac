"""What stands behind a claim: its kind, where its bound comes from, what would break it, and what other draws gave.

The first three are written by hand in `book/claims/<page>.toml` (see `.ci/claims.py`), the draws by `make seeds` in
`book/claims/<page>.draws.json`. Both are read here for the ledger; pages do not need them.
"""

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from surgeon_book.checkout import ROOT

KINDS = {"finding": "findings", "identity": "identities", "timing": "timings"}
BOUNDS = ("theorem", "closed form", "rounding", "exact", "draws", "one run")
CLAIMS = ROOT / "book" / "claims"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A cell that judges an answer, and has none yet.
ASKED = re.compile(r'(?::[^\n]*\n)*\n?from surgeon import check\n\ncheck\("[\w-]+", \.\.\.\)\n')


class Behind(NamedTuple):
    """In words; each is empty where nothing is known."""

    kind: str = ""
    bound: str = ""
    breaks: str = ""
    draws: str = ""


def behind(page: str, words: str) -> Behind:
    """What stands behind a claim of a page, which Sphinx names, "book/anatomy/softmax"."""
    written = next((entry for entry in entries(page) if words.startswith(entry["says"])), {})
    found = draws(page)
    drawn = next((each for said, each in found.get("claims", {}).items() if words.startswith(said)), {})
    told = "" if not drawn or found["draws"] else "none"
    if drawn and found["draws"]:
        told = f"{drawn['held']} of {drawn['runs']}"
        told += f", nearest {drawn['nearest']:.3g}" if "nearest" in drawn else ""
    return Behind(written.get("kind", ""), written.get("bound", ""), written.get("breaks", ""), told)


def entries(page: str) -> list[dict[str, Any]]:
    """What a page's table has for its claims."""
    file = of(page, ".toml")
    return _table(file, _when(file)).get("claim", []) if file.exists() else []


def draws(page: str) -> dict[str, Any]:
    """What `make seeds` found when it last ran a page."""
    file = of(page, ".draws.json")
    return _found(file, _when(file)) if file.exists() else {}


def of(page: str, suffix: str) -> Path:
    return CLAIMS / (page.removeprefix("book/") + suffix)


def told(pages: Iterable[str]) -> str:
    """When other draws were made, how many and by what; nothing if none were."""
    made = [found for found in map(draws, pages) if found.get("draws")]
    if not made:
        return ""
    dates, numbers = sorted({found["date"] for found in made}), sorted({found["draws"] for found in made})
    held = sum(each["held"] == each["runs"] for found in made for each in found["claims"].values())
    claims = sum(len(found["claims"]) for found in made)
    versions = ", ".join(sorted({f"{name} {value}" for found in made for name, value in found["versions"].items()}))
    return (
        f"Pages that were run with other seeds: {len(made)}, each with {_span(numbers)} ({_span(dates)}; {versions})."
        f" Of their {claims} claims, {held} held each time. “Nearest” is the value that came nearest to its bound."
    )


def _span(ordered: list[Any]) -> str:
    return f"{ordered[0]}" if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def older(page: str) -> list[str]:
    """The files that compute something else than when the page's draws were made."""
    files = draws(page).get("files", {})
    return [name for name, had in files.items() if not (ROOT / name).exists() or digest(ROOT / name) != had]


def standing() -> str:
    """Changes with anything that is read here, and with the code of any file whose age is told."""
    files = [*CLAIMS.rglob("*.*"), *(ROOT / "surgeon").rglob("*.py"), *(ROOT / "book").rglob("*.md")]
    told = hashlib.sha256()
    for file in sorted(files) if CLAIMS.exists() else ():
        content = "\n".join(_cells(file)).encode() if file.suffix == ".md" else file.read_bytes()
        told.update(file.as_posix().encode() + content)
    return told.hexdigest()[:24]


def digest(file: Path) -> str:
    """What a file computes: a module without its comments and docstrings, a page without its prose.

    Nor do a page's exercises compute anything, until somebody answers.
    """
    return _digest(file, _when(file))


@cache
def _digest(file: Path, when: tuple[int, int]) -> str:
    code = _text(file, when) if file.suffix == ".py" else "\n".join(_cells(file))
    return hashlib.sha256(_bare(code).encode()).hexdigest()[:12]


def _cells(page: Path) -> list[str]:
    return [cell for cell in CELL.findall(_text(page, _when(page))) if not ASKED.fullmatch(cell)]


@cache
def _table(file: Path, when: tuple[int, int]) -> dict[str, Any]:
    return tomllib.loads(_text(file, when))


@cache
def _found(file: Path, when: tuple[int, int]) -> dict[str, Any]:
    return json.loads(_text(file, when))


@cache
def _text(file: Path, when: tuple[int, int]) -> str:
    return file.read_text(encoding="utf8")


def _when(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@cache
def _bare(code: str) -> str:
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
