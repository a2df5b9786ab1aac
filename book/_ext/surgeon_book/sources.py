"""What the extension itself is made of: files that change how a page is read, and files that change its look alone.

A change of the first has every page read again, and run; a change of the second has every page written again.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

EXTENSION = Path(__file__).parent
DRAWN_WITH = ("matplotlib", "pillow")  # cards
PUT_TOGETHER_WITH = (
    *("sphinx", "jinja2", "tinycss2", "sphinx-book-theme", "pydata-sphinx-theme"),
    *("myst-nb", "sphinx-copybutton", "sphinx-design", "sphinx-exercise"),  # they bring styles
)
LOOK = ("site", "theme")  # rooms whose code looks at no page before it is written


def files() -> list[Path]:
    return sorted(file for file in EXTENSION.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def reading() -> list[Path]:
    return [file for file in files() if file.suffix == ".py" and file.relative_to(EXTENSION).parts[0] not in LOOK]


def look() -> list[Path]:
    """Templates, styles and scripts too, whatever room they are in."""
    return sorted({*files()} - {*reading()})


def digest(parts: Iterable[Path | str | bytes]) -> str:
    """A hash of files' contents and of texts; no two lists of parts give the same one by being joined."""
    return hashlib.sha256(b"".join(hashlib.sha256(_content(part)).digest() for part in parts)).hexdigest()


def _content(part: Path | str | bytes) -> bytes:
    return part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
