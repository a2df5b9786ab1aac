"""The pages of the book, in its order, and what the site makes of one."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from small_book import ROOT

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())


def files(item: dict) -> Iterator[str]:
    """A page, and what stands below it."""
    yield item["file"]
    for section in item.get("sections", ()):
        yield from files(section)


PAGES = [TOC["root"], *(page for part in TOC["parts"] for chapter in part["chapters"] for page in files(chapter))]


@cache
def parsed(file: Path) -> BeautifulSoup:
    """A page of the built site, parsed once."""
    return BeautifulSoup(file.read_text(), "html.parser")


@cache
def anchors(file: Path) -> set[str]:
    """What an address can lead to on a page of the built site."""
    return {tag["id"] for tag in parsed(file).find_all(id=True)}
