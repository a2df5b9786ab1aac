"""Build what a release publishes, into dist/: the source distribution, and from that the wheel. Called by `make dist`.

python .ci/release.py [tag]

A tag must name the version that the package has, and the changelog must have a day for it. What is built must be
called after that version; nothing else may lie in dist/, since all that lies there is published.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version(root: Path) -> str:
    """As surgeon/__init__.py says it, which nothing has to import for that."""
    for statement in ast.parse((root / "surgeon/__init__.py").read_text(encoding="utf8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__version__":
            return ast.literal_eval(statement.value)
    raise SystemExit("surgeon/__init__.py must set __version__.")


def trouble(root: Path, tag: str) -> list[str]:
    """Why a tag may not be published."""
    ours, found = version(root), []
    if tag != f"v{ours}":
        found.append(f"The tag must be v{ours}, as surgeon/__init__.py has it, got {tag}.")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf8")
    newest = re.search(r"^## (.*)$", changes, re.MULTILINE)
    if not newest or not re.fullmatch(rf"{re.escape(ours)}, \d{{4}}-\d\d-\d\d", newest[1]):
        got = newest[1] if newest else "none"
        found.append(f"CHANGELOG.md must begin with the part “{ours}, <the day, as 2026-01-31>”, got “{got}”.")
    if f"\nversion: {ours}\n" not in (root / "CITATION.cff").read_text(encoding="utf8"):
        found.append(f"CITATION.cff must have the version {ours}.")
    return found


def build(root: Path) -> list[Path]:
    """With what is installed here: pip would fetch hatchling anew, and what that requires at its newest."""
    folder = root / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, root], check=True)
    return sorted(folder.iterdir())


def main(arguments: list[str]) -> int:
    for tag in arguments:
        if found := trouble(ROOT, tag):
            print(*found, sep="\n", file=sys.stderr)
            return 1
    name = f"attention_surgeon-{version(ROOT)}"
    built = build(ROOT)
    if [path.name for path in built] != [f"{name}-py3-none-any.whl", f"{name}.tar.gz"]:
        print(f"dist/ must hold {name} alone, got {[path.name for path in built]}.", file=sys.stderr)
        return 1
    print("Built:", *(path.relative_to(ROOT).as_posix() for path in built))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
