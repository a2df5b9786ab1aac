"""Words that the book does without: a reader meets the field's own, or the thing itself."""

import re
from pathlib import Path

import pytest
from small_book import ROOT

# What is not said, and what is said instead.
WORDS = {
    "the brief": (r"\b(?:the|this|that|our|its) briefs?\b|\bbrief['’]s\b", "the assignment"),
    "strangers": (r"\bstrangers?\b", "independent"),
    "loudness": (r"\bloud(?:ness|er|est)\b|\bloud (?:word|token|key|quer)", "length"),
    "taking turns": (r"\btak(?:e|es|en|ing) turns\b|\btook turns\b|\brepeated in turns\b", "the order itself"),
    "pairs for key-value heads": (
        r"\b(?:key-value|kv) pairs?\b|\bpairs? of (?:a )?keys? and (?:a )?values?\b",
        "key-value heads",
    ),
    "half true": (r"\bhalf[- ]true\b", "which half holds"),
}
ALLOWED = {"book/reference/assignment.md"}  # somebody else's words
KINDS = {".md", ".py", ".pyi", ".css", ".mjs", ".js", ".toml"}
SPOKEN = [
    ROOT / "README.md",
    *(
        path
        for folder in ("book", "surgeon", "benchmarks", "experiments", ".ci")
        for path in sorted((ROOT / folder).rglob("*"))
    ),
]
FILES = [
    path.relative_to(ROOT).as_posix()
    for path in SPOKEN
    if path.suffix in KINDS and "_vendor" not in path.parts and ".ipynb_checkpoints" not in path.parts
]


def said(text: str) -> list[str]:
    """The words in it that are not said, each with those beside it; a line's end is a blank."""
    flat = re.sub(r"\s+(?:# )?", " ", text)
    found = [match for pattern, _ in WORDS.values() for match in re.finditer(pattern, flat, re.IGNORECASE)]
    return [flat[max(match.start() - 30, 0) : match.end() + 30] for match in found]


@pytest.mark.parametrize("file", [file for file in FILES if file not in ALLOWED])
def test_a_word_that_is_not_said_is_not_written(file):
    assert said((ROOT / file).read_text(encoding="utf8")) == []


def test_no_test_is_named_after_one():
    names = [path.stem for path in (ROOT / "tests").rglob("test_*.py")]
    for path in (ROOT / "tests").rglob("*.py"):
        names += re.findall(r"^def (test_\w+)", path.read_text(encoding="utf8"), re.MULTILINE)
    assert not [name for name in names if name != "test_no_test_is_named_after_one" and said(name.replace("_", " "))]


@pytest.mark.parametrize(
    "text",
    [
        "as the brief says",
        "the\nbrief",
        "The brief's table",
        "two strangers",
        "its loudness",
        "the loudest key",
        "heads take\n# turns",
        "three key-value pairs",
        "pairs of keys and values",
        "That is half true.",
        "a half-true story",
    ],
)
def test_it_is_found(text):
    assert len(said(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "in brief",
        "a brief look at it",
        "pairs of sentences, num_pairs",
        "a pair of a query and a key",
        "Read the row aloud.",
        "it turns scores into weights",
        "strange",
        "half of it is true",
    ],
)
def test_other_uses_are_not(text):
    assert said(text) == []


PAGES = sorted((ROOT / "book").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT / "book").as_posix())
def test_a_page_that_speaks_of_the_assignment_leads_to_it_once_or_twice(page: Path):
    text = page.read_text(encoding="utf8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = len(re.findall(r"\]\((?:[\w./]*/)?assignment\.md\b|\{doc\}`[^`]*assignment", prose))
    assert links <= 2
    if re.search(r"\bthe \[?assignment\b", prose, re.IGNORECASE) and page.name != "assignment.md":
        assert links >= 1
