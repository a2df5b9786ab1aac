"""What is installed is looked up once in a build, and again when it has changed."""

import os
import sys
from email.message import Message
from importlib import metadata

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book import installed
from surgeon_book.reference import parts


def test_entry_points_are_those_of_the_environment_and_asked_for_once():
    looks = []

    def look():
        looks.append(1)
        return metadata.entry_points()

    remembered = installed.remembered(look)
    asked = {"group": "sphinx.html_themes", "name": "sphinx_book_theme"}
    for _ in range(2):
        assert tuple(remembered(**asked)) == tuple(metadata.entry_points(**asked)) != ()
    assert set(remembered().select(group="pytest11")) == set(metadata.entry_points(group="pytest11"))
    assert tuple(remembered(group="of nobody")) == ()
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"License-Expression": "MIT OR Apache-2.0", "Classifier": "License :: Another"}, "MIT OR Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, "BSD"),
        ({"Classifier": "License :: OSI Approved :: Apache Software License"}, "Apache Software"),
    ],
)
def test_a_licence_is_the_one_that_is_stated_or_that_of_the_classifier_in_short(stated, said, monkeypatch):
    of = Message()
    of["Classifier"] = "Programming Language :: Python"
    for name, value in stated.items():
        of[name] = value
    monkeypatch.setattr(parts, "metadata", {"theirs": of}.__getitem__)
    assert parts.licence("theirs") == said


def install(place, name: str, package: str) -> None:
    folder = place / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    (folder / "top_level.txt").write_text(f"{package}\n")


def test_which_distribution_brings_a_package_is_kept_until_one_comes_or_goes_or_changes(tmp_path, monkeypatch):
    place, memory = tmp_path / "site", tmp_path / "memory"
    install(place, "first", "one")
    monkeypatch.setattr(sys, "path", [str(place), str(tmp_path / "nowhere")])
    assert installed.distributions(memory) == {"one": ["first"]}
    with monkeypatch.context() as patch:
        patch.setattr(installed, "packages_distributions", lambda: pytest.fail("looked up again"))
        assert installed.distributions(memory) == {"one": ["first"]}
    install(place, "second", "two")
    assert installed.distributions(memory) == {"one": ["first"], "two": ["second"]}
    changed = place / "second-1.0.dist-info"
    (changed / "top_level.txt").write_text("three\n")
    os.utime(changed, ns=(0, 0))
    assert installed.distributions(memory) == {"one": ["first"], "three": ["second"]}
    memory.write_bytes(memory.read_bytes()[:-1])  # by a build that was killed
    assert installed.distributions(memory) == {"one": ["first"], "three": ["second"]}
