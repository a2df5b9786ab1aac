"""Which pages run again: those that read what changed, whoever read it for them, and no others."""

import pickle
import shutil
import sys
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import fingerprints

PACKAGE = {
    "__init__.py": "import surgeon.softmax\n",
    "softmax.py": "def stable():\n    return 'stable'\n",
    "heads.py": "from surgeon.softmax import stable\n\n\ndef heads():\n    return stable() + ' heads'\n",
    "data/table.csv": "1\n",
    "table.py": (
        "import pathlib\n\n\ndef table():\n"
        "    return pathlib.Path(__file__).with_name('data').joinpath('table.csv').read_text()\n"
    ),
    "program.py": "from surgeon.helper import said\nprint(said)\n",
    "helper.py": "said = 'said'\n",
    "unused.py": "",
}
RUN = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'surgeon.program'], capture_output=True).stdout"
PAGES = {
    "bare": cell("1 + 1"),
    "soft": cell("from surgeon.softmax import stable\nstable()"),
    "head": cell("from surgeon.heads import heads\nheads()"),
    "data": cell("from surgeon.table import table\ntable()"),
    "note": cell("open('note.txt').read()"),
    "made": cell("open('../made.txt', 'w').write('made')"),
    "list": cell("import os\nlen(os.listdir('../things'))"),
    "lack": cell("import os\ntry:\n    open('../lacking.txt')\nexcept OSError:\n    print('not there')"),
    "runs": cell(RUN),
    "pack": cell("import cycler"),
    "text": "No cell.\n",
}
READ = {  # what is changed, and the pages that must run again
    "surgeon/softmax.py": ["data", "head", "runs", "soft"],  # the package itself imports it
    "surgeon/heads.py": ["head"],
    "surgeon/table.py": ["data"],
    "surgeon/data/table.csv": ["data"],
    "surgeon/program.py": ["runs"],
    "surgeon/helper.py": ["runs"],
    "surgeon/unused.py": [],
    "book/note.txt": ["note"],
    "book/other.txt": [],
    "made.txt": [],
    "things/new": ["list"],
    "lacking.txt": ["lack"],
    "surgeon/new.py": [],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    book = SmallBook(
        tmp_path_factory.mktemp("read"), {name: f"# {name}\n\n{text}" for name, text in PAGES.items()}, PACKAGE
    )
    for path in ("book/note.txt", "book/other.txt", "things/one"):
        book.write(path, "something")
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    book.ran()
    return book


@pytest.fixture(autouse=True)
def same_surroundings(request, monkeypatch):
    """The build named the repository and the branch to its pages."""
    if "built" in request.fixturenames:
        env = pickle.loads((request.getfixturevalue("built").root / "_build/.doctrees/environment.pickle").read_bytes())
        _, repository, branch = fingerprints.Known.of(env)["book/bare"].around
        monkeypatch.setenv("GITHUB_REPOSITORY", repository)
        monkeypatch.setenv("SURGEON_BRANCH", branch)


def would_run(book: SmallBook, monkeypatch) -> list[str]:
    """The pages that the next build would run, as the book lies there; only the text of a page is left to Sphinx."""
    monkeypatch.setattr(fingerprints, "ROOT", book.root)
    env = pickle.loads((book.root / "_build/.doctrees/environment.pickle").read_bytes())
    env.project.srcdir = book.root
    asked = fingerprints.Fingerprints()
    asked.begin(SimpleNamespace(doctreedir=book.root / "_build/.doctrees"))
    return sorted(page.removeprefix("book/") for page in asked.outdated(None, env, set(), set(), set()))


@pytest.mark.parametrize("path", READ)
def test_what_a_run_read_and_nothing_else_makes_its_page_run_again(built, monkeypatch, path):
    assert would_run(built, monkeypatch) == []
    file = built.root / path
    before = file.read_bytes() if file.exists() else None
    try:
        built.write(path, "x = 'changed'\n")
        assert would_run(built, monkeypatch) == READ[path]
        file.unlink()
        assert would_run(built, monkeypatch) == (READ[path] if before is not None else [])
    finally:
        file.unlink(missing_ok=True) if before is None else file.write_bytes(before)


@pytest.mark.parametrize(("package", "pages"), [("cycler", ["pack"]), ("torch", []), ("nothing-of-ours", [])])
def test_another_release_of_a_package_runs_the_pages_that_import_it(built, monkeypatch, package, pages):
    real = fingerprints.version
    monkeypatch.setattr(fingerprints, "version", lambda name: "another" if name == package else real(name))
    assert would_run(built, monkeypatch) == pages


def test_another_python_and_another_repository_run_every_page_that_runs(built, monkeypatch):
    runs = sorted(name for name, text in PAGES.items() if "{code-cell}" in text)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "PYTHON", "3.99")
        assert would_run(built, monkeypatch) == runs
    monkeypatch.setenv("GITHUB_REPOSITORY", "their/fork")
    assert would_run(built, monkeypatch) == runs


def test_the_build_runs_what_has_to_run_and_shows_it(built):
    """The surgeon of these pages is the book's own, though another is installed: it alone has these names."""
    built.write("surgeon/softmax.py", "def stable():\n    return 'firm'\n")
    built.page("soft", "# Softer\n\n" + PAGES["soft"])
    built.page("text", "# text\n\n{doc}`soft`\n")
    build = built.build(*STRICT)
    assert build.code == 0, build.output
    assert built.ran() == ["data", "head", "runs", "soft"]
    assert "'firm heads'" in BeautifulSoup(built.html("head"), "html.parser").get_text()
    assert ">Softer</span>" in built.html("text")  # written again, not run


def test_a_package_is_what_its_code_imports_and_what_that_imports():
    trace = fingerprints.Trace(
        [
            "I __main__ torch",
            "I torch numpy",
            "I other scipy",
            "I surgeon matplotlib",
            "D weights",
            "F surgeon/a.py",
            "L book",
        ]
    )
    assert set(trace.packages(["surgeon"])) == {
        "__main__",
        "__mp_main__",
        "surgeon",
        "torch",
        "numpy",
        "matplotlib",
        "weights",
    }
    assert trace.files == {"surgeon/a.py", "book/"}


def test_what_changes_while_a_build_runs_is_seen_by_the_next(tmp_path):
    """A file counts as it was when the build began, though its page may have read it later."""
    checkout = fingerprints.Checkout(tmp_path)
    (tmp_path / "a.py").write_text("1")
    checkout.see()
    before = checkout.of("a.py")
    (tmp_path / "a.py").write_text("2")
    assert checkout.of("a.py") == before
    assert fingerprints.Checkout(tmp_path).of("a.py") != before
    shutil.rmtree(tmp_path)
    assert fingerprints.Checkout(tmp_path).of("a.py") == ""
