"""What stands behind a claim: its kind, where its bound comes from, what would break it, and what other draws gave.

The first three are written by hand in `book/claims/<page>.toml` (see `.ci/claims.py`), the draws by `make seeds` in
`book/claims/<page>.draws.json`. Both are read here for the ledger; pages do not need them.
"""

import ast
import hashlib
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from surgeon_book.checkout import ROOT

KINDS = ("finding", "identity", "timing")
BOUNDS = ("theorem", "closed form", "rounding", "exact", "draws", "one run")
CLAIMS = ROOT / "book" / "claims"
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def entries(page: str) -> list[dict[str, Any]]:
    """What a page's table has for its claims; `page` as Sphinx names it, "book/anatomy/softmax"."""
    file = of(page, ".toml")
    return tomllib.loads(file.read_text(encoding="utf8")).get("claim", []) if file.exists() else []


def draws(page: str) -> dict[str, Any]:
    """What `make seeds` found the last time that it ran the page."""
    file = of(page, ".draws.json")
    return json.loads(file.read_text(encoding="utf8")) if file.exists() else {}


def of(page: str, suffix: str) -> Path:
    return CLAIMS / (page.removeprefix("book/") + suffix)


def digest(file: Path) -> str:
    """What a file computes: without a page's prose, without a module's comments and docstrings."""
    text = file.read_text(encoding="utf8")
    code = text if file.suffix == ".py" else "\n".join(CELL.findall(text))
    return hashlib.sha256(_bare(code).encode()).hexdigest()[:12]


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


def older(page: str) -> list[str]:
    """The files that have changed since the page's draws were made."""
    files = draws(page).get("files", {})
    return [name for name, had in files.items() if not (ROOT / name).exists() or digest(ROOT / name) != had]
