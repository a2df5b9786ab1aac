"""The site's own templates: what is put into one is escaped, what it asks for and nobody gives ends the build. And the
theme's: what Jinja makes of them is kept for the next build, and for whoever writes pages beside this process."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from sphinx.application import Sphinx
from sphinx.jinja2glue import BuiltinTemplateLoader

from surgeon_book import kept

FOLDER = Path(__file__).parent / "templates"


@cache
def templates() -> Environment:
    options: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined, "keep_trailing_newline": True}
    return Environment(loader=FileSystemLoader(FOLDER, encoding="utf8"), **options)


def render(template: str, **given: Any) -> str:
    return templates().get_template(template).render(given)


class Compiled(BytecodeCache):
    """What Jinja makes of a template, which it knows by a checksum of the template."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        content = kept.get(self.folder / bucket.key)
        if content:
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        kept.put(self.folder / bucket.key, bucket.bytecode_to_string())


def keep(app: Sphinx) -> None:
    theme = getattr(app.builder, "templates", None)
    if isinstance(theme, BuiltinTemplateLoader):
        theme.environment.bytecode_cache = Compiled(Path(app.doctreedir, "templates"))


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", keep)
