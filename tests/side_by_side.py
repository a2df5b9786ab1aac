"""What a test asks for says what it is: its markers, its turn, and which tests run in one process with it."""

from pathlib import Path

import pytest

# By the fixtures that a test asks for, itself or through others. What is marked with none is a unit test.
ASKED = {"site": {"site", "folder"}, "browser": {"browser", "lab"}, "lab": {"lab"}}
ALIKE = ("ran", "seen")  # one look at a page serves all tests of it


def arrange(items: list[pytest.Item]) -> None:
    """Mark tests, group those that share something, and sort them."""
    families: list[tuple[Path, set[str]]] = []
    for item in items:
        families = joined(families, item.path, made_once(item))
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for marker in (name for name, fixtures in ASKED.items() if fixtures & asked):
            item.add_marker(marker)
        alike = next((name for name in ALIKE if name in asked), None)
        if alike:
            item.add_marker(pytest.mark.xdist_group(f"{alike}: {item.callspec.params['page']}"))
        elif mine := made_once(item):
            family = next(names for path, names in families if path == item.path and names & mine)
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}: {', '.join(sorted(family))}"))
    items.sort(key=turn)


def turn(item: pytest.Item) -> tuple[bool, bool, bool]:
    """Tests that need no site come first, while it is built, and of these, the ones that share something that takes
    long to make; then what takes longest. The sort is stable: otherwise a file's order stands."""
    needs_site, in_lab = (item.get_closest_marker(name) is not None for name in ("site", "lab"))
    return needs_site, not in_lab, item.get_closest_marker("xdist_group") is None


def made_once(item: pytest.Item) -> set[str]:
    """What a test asks for that its module makes once: tests that share it run in one process, one after the other."""
    definitions = item._fixtureinfo.name2fixturedefs if getattr(item, "fixturenames", ()) else {}
    return {name for name, found in definitions.items() if found[-1].scope == "module"}


def joined(families: list[tuple[Path, set[str]]], path: Path, names: set[str]) -> list[tuple[Path, set[str]]]:
    """Fixtures that one test asks for together belong together, and so do those that belong to either."""
    theirs = [family for family in families if family[0] == path and family[1] & names]
    others = [family for family in families if family not in theirs]
    return [*others, (path, names.union(*(family[1] for family in theirs)))] if names else families
