"""The scripts and styles of the site's instruments, joined for elsewhere.

A notebook's cell and a saved file load no module, so what the site's pages
import is put into one text.
"""

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
DARK_SITE = 'html[data-theme="dark"]'
DARK = '.surgeon-instrument[data-theme="dark"]'


@cache
def read(path: str) -> str:
    """A file beside this one."""
    return (HERE / path).read_text(encoding="utf8")


def element_script(name: str) -> str:
    """The script of one of the site's elements, which it leaves undefined.

    What it imports from beside it stands before it.
    """
    lines, before = [], ""
    for line in read(f"static/{name}/{name}.mjs").splitlines(keepends=True):
        if line.startswith("import "):
            module = line.split('"./')[1].split('"')[0]
            before += read(f"static/{name}/{module}")
        elif "customElements" not in line:
            lines.append(line)
    return before + "".join(lines)


def head_explorer_script() -> str:
    """The head explorer with the weights at hand; a function places it."""
    return element_script("head-explorer") + read(
        "notebook/head-explorer.mjs"
    )


def style(name: str) -> str:
    """The style of an element, and of what is around it."""
    own = read(f"static/{name}/{name}.css").replace(DARK_SITE, DARK)
    return read("notebook/around.css") + own
