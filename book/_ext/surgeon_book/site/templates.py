"""The site's own templates. What is put into one is escaped; what it asks for and nobody gives ends the build."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "templates"


@cache
def templates() -> Environment:
    options: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined, "keep_trailing_newline": True}
    return Environment(loader=FileSystemLoader(FOLDER, encoding="utf8"), **options)


def render(template: str, **given: Any) -> str:
    return templates().get_template(template).render(given)
