"""The pages of the book, in its order."""

from collections.abc import Iterator

import yaml
from small_book import ROOT

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())


def files(item: dict) -> Iterator[str]:
    """A page, and what stands below it."""
    yield item["file"]
    for section in item.get("sections", ()):
        yield from files(section)


PAGES = [TOC["root"], *(page for part in TOC["parts"] for chapter in part["chapters"] for page in files(chapter))]
