"""The checkout that the book belongs to, which is the source folder, unless one page is built alone."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from surgeon_book.order import Configured

ROOT = Path(__file__).resolve().parents[3]


def anchor(app: Sphinx, config: Config) -> None:
    """Read _config.yml's paths from where it is, so that `jupyter-book build book/anatomy/softmax.md` finds them."""
    for name in ("html_static_path", "html_extra_path", "bibtex_bibfiles"):
        setattr(config, name, [_found(app, path) for path in config[name]])
    config.html_favicon = _found(app, config.html_favicon)


def _found(app: Sphinx, path: str | None) -> str | None:
    if not path or Path(app.srcdir, path).exists() or not (ROOT / path).exists():
        return path
    return str(ROOT / path)


def setup(app: Sphinx) -> None:
    app.connect("config-inited", anchor, priority=Configured.PATHS_ARE_FOUND)
