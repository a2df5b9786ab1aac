"""Icons: those that the pages use, as masks in the style, instead of a megabyte of script that draws any.

The theme writes Font Awesome's names. The drawings are GitHub's Octicons, which come with sphinx-design.
"""

import re
from urllib.parse import quote

from sphinx.errors import ExtensionError
from sphinx_design.icons import get_octicon

ICONS = {
    "angle-left": "chevron-left",
    "angle-right": "chevron-right",
    "arrow-up": "arrow-up",
    "bars": "three-bars",
    "chevron-down": "chevron-down",
    "circle-half-stroke": "device-desktop",
    "code": "code",
    "download": "download",
    "expand": "screen-full",
    "file": "file",
    "file-pdf": "paste",
    "github": "mark-github",
    "infinity": "infinity",
    "lightbulb": "light-bulb",
    "list": "list-unordered",
    "magnifying-glass": "search",
    "moon": "moon",
    "pencil-alt": "pencil",
    "rocket": "rocket",
    "sun": "sun",
}
FOLD = "chevron-right"
SAFE = " =:/'.,()-"  # needs no escape between double quotes
NAME = re.compile(r"fa-(?!solid$|regular$|brands$|lg$|sm$)[\w-]+")


def mask(octicon: str) -> str:
    svg = re.sub(r"<svg[^>]*>", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">', get_octicon(octicon))
    return f'url("data:image/svg+xml,{quote(svg, safe=SAFE)}")'


def style(classes: set[str]) -> str:
    """A rule for each icon that stands on some page."""
    asked = sorted(name for name in classes if NAME.fullmatch(name))
    unknown = [name for name in asked if name.removeprefix("fa-") not in ICONS]
    if unknown:
        raise ExtensionError(f"Pages use icons that icons.py does not know: {', '.join(unknown)}.")
    rules = [f".{name}{{--icon:{mask(ICONS[name.removeprefix('fa-')])}}}" for name in asked]
    return f":root{{--icon-fold:{mask(FOLD)}}}" + "".join(rules)
