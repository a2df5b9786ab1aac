"""What the book's extension promises, on books of a few pages."""

import json
import logging
import os
import shutil
import sys
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from myst_nb.core.config import NbParserConfig
from myst_parser.config.main import MdParserConfig
from small_book import ROOT, SPEAKING, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import failures, kernels
from surgeon_book.reference import ledger


@pytest.fixture
def env():
    return SimpleNamespace(
        doc2path=lambda page: f"/books/{page}.md", myst_config=MdParserConfig(), mystnb_config=NbParserConfig()
    )


# ---- Claims, figures, times ----------------------------------------------------------------------------------------

CLAIMS = """from matplotlib.figure import Figure
from surgeon.book.page import claim, figure, source
from surgeon.small import two
claim("`two` gives 2 & no more.", two(), within=(2, 2))
claim("It is <true>.", True);
"""
FIGURE = """fig = Figure(figsize=(3, 2))
fig.subplots().plot([0, two()])
figure(fig, "A line.", "A line that rises to 2.")
source(two)
"""
SHOWN = {
    "first": "# First\n\n" + cell(CLAIMS) + "\n" + cell(FIGURE),
    "ledger": "# Ledger\n\n```{claims-ledger}\n```\n",
    "second": "# Second\n\n"
    + cell("from surgeon.book.page import claim\nclaim('Three is at most four.', 3, at_most=4);"),
    "times": "# Times\n\n```{build-times}\n```\n\n```{build-machine}\n```\n",
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    package = {"__init__.py": "", **SPEAKING, "small.py": "def two():\n    return 2\n"}
    book = SmallBook(tmp_path_factory.mktemp("shown"), SHOWN, package)
    build = book.build(*STRICT, GITHUB_REPOSITORY="someone/fork")
    assert build.code == 0, build.output
    assert not build.warnings
    return book


def rows(html: str) -> list[list[str]]:
    tables = BeautifulSoup(html, "html.parser").select("article table tbody tr")
    return [[entry.get_text().strip() for entry in row.find_all("td")] for row in tables]


def listed(html: str) -> list[list[str]]:
    """What the ledger says of each claim: its words, its page, its value and its bound."""
    found = BeautifulSoup(html, "html.parser").select("article table.ledger tbody tr")
    cells = [[row.a.get_text(), *(cell.get_text().strip() for cell in row.find_all("td"))] for row in found]
    return [[words, page, value, bound] for words, page, _, value, bound, _ in cells]


def test_the_ledger_holds_every_claim_in_the_pages_order_with_links_that_lead_to_them(shown):
    html = shown.html("ledger")
    assert listed(html) == [
        ["two gives 2 & no more.", "First", "2", "between 2 and 2"],
        ["It is <true>.", "First", "true", "true"],
        ["Three is at most four.", "Second", "3", "at most 4"],
    ]
    page = BeautifulSoup(html, "html.parser")
    assert "Claims in the book: 3." in page.article.get_text()
    assert page.article.table.code.get_text() == "two"
    for link in page.select("article table a"):
        target, _, anchor = link["href"].partition("#")
        assert BeautifulSoup(shown.html(target.removesuffix(".html")), "html.parser").find(id=anchor)["class"] == [
            "claim"
        ]


def test_a_figure_is_a_file_beside_the_page_and_keeps_what_it_says(shown):
    image = BeautifulSoup(shown.html("first"), "html.parser").select_one("figure.measured img")
    assert (image["loading"], image["decoding"]) == ("lazy", "async")
    assert (image["width"], image["height"], image["alt"]) == ("288", "192", "A line that rises to 2.")
    assert image["src"].startswith("../_images/")
    assert "<svg" in (shown.root / "_build/html/book" / image["src"]).read_text()


def test_the_colophon_times_the_pages_that_run_and_names_no_path(shown):
    *pages, total = rows(shown.html("times"))[:3]
    assert [name for name, _ in pages] == ["First", "Second"]
    assert float(total[1]) == pytest.approx(sum(float(seconds) for _, seconds in pages), abs=0.11)
    machine = dict(rows(shown.html("times"))[3:])
    assert machine["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert "cores" in machine["machine"]
    assert str(shown.root) not in shown.html("times")


def test_buttons_and_sources_name_the_repository_that_builds(shown):
    links = [a["href"] for a in BeautifulSoup(shown.html("first"), "html.parser").find_all("a", href=True)]
    ours = [link for link in links if "github.com" in link or "mybinder.org" in link]
    assert len(ours) >= 4
    assert all("someone/fork" in link for link in ours)
    assert any("mybinder.org" in link and link.endswith("lab/tree/book/first.md") for link in ours)
    assert any(link.endswith("/blob/main/surgeon/small.py#L1-L2") for link in ours)


def test_a_removed_site_comes_back_whole_and_a_changed_claim_reaches_the_ledger_without_running_the_rest(shown):
    shown.ran()
    before = shown.site()
    shutil.rmtree(shown.root / "_build" / "html")
    assert shown.build(*STRICT, GITHUB_REPOSITORY="someone/fork").code == 0
    assert shown.ran() == []
    assert shown.site() == before

    changed = SHOWN["second"].replace("four", "seven").replace("at_most=4", "at_most=7")
    shown.page("second", changed)
    assert shown.build(*STRICT, GITHUB_REPOSITORY="someone/fork").code == 0
    assert shown.ran() == ["second"]
    assert listed(shown.html("ledger"))[2] == ["Three is at most seven.", "Second", "3", "at most 7"]


def test_the_ledger_says_what_stands_behind_a_claim_and_when_the_draws_are_older_than_the_code(shown):
    tables = shown.root / "book" / "claims"
    tables.mkdir()
    entry = {"kind": "identity", "bound": "exact", "breaks": "a `<false>` thing", "value": "not two()"}
    lines = "\n".join(f"{name} = {json.dumps(text)}" for name, text in entry.items())
    (tables / "first.toml").write_text("".join(f"[[claim]]\nsays = '{says}'\n{lines}\n" for says in ("It is", "`two`")))
    claims = {"It is <true>.": {"runs": 20, "held": 19}, "`two` gives": {"runs": 20, "held": 20, "nearest": 2.0}}
    made = {"date": "2001-02-03", "versions": {"torch": "2.13.0"}, "draws": 20, "claims": claims}
    (tables / "first.draws.json").write_text(json.dumps(made | {"files": {"surgeon/small.py": "another"}}))
    assert shown.build(*STRICT, GITHUB_REPOSITORY="someone/fork").code == 0
    assert shown.ran() == []
    page = BeautifulSoup(shown.html("ledger"), "html.parser")
    first, second, _ = page.select("table.ledger tbody tr")
    assert [cell.get_text() for cell in second.find_all("td")] == [
        "First",
        "identity",
        "true",
        "true exact",
        "19 of 20",
    ]
    assert second.th.small.get_text() == "Broken by a <false> thing."
    assert second.th.small.code.get_text() == "<false>"
    assert first.find_all("td")[-1].get_text() == "20 of 20, nearest 2"
    said = " ".join(text.get_text() for text in page.select("p.ledger-count, p.ledger-draws"))
    assert "They are 2 identities." in said
    assert "run with other seeds: 1, each with 20 (2001-02-03; torch 2.13.0). Of their 2 claims, 1 held each" in said
    assert "which have changed since: First." in said


def test_a_page_can_be_built_alone(shown):
    build = shown.build(page="book/first.md")
    assert (build.code, build.warnings) == (0, []), build.output
    page = BeautifulSoup((shown.root / "_build/_page/book-first/html/first.html").read_text(), "html.parser")
    assert len(page.select("p.claim")) == 2
    assert (shown.root / "_build/_page/book-first/html" / page.img["src"]).exists()


def test_a_claim_is_read_from_what_page_py_displays():
    html = '<p class="claim" id="claim-1"><span class="claim-mark">✓</span> <span class="claim-statement">A '
    (claim,) = ledger.read(html + '<code>b</code>.</span> <span class="claim-value">1</span></p><p id="x">no</p>')
    assert claim == ledger.Claim("claim-1", (("text", "A "), ("code", "b"), ("text", ".")), "1", "true")


@pytest.mark.parametrize(("variable", "name"), [("", "ours/book"), ("their/fork", "their/fork")])
def test_the_repository_is_github_s_where_it_says_and_the_configuration_s_elsewhere(monkeypatch, variable, name):
    monkeypatch.setenv("GITHUB_REPOSITORY", variable)
    monkeypatch.setenv("SURGEON_BRANCH", "")
    for branch, other in [("", 1), ("devel", 2)]:
        options = {"repository_url": "https://github.com/ours/book/", "repository_branch": branch, "other": other}
        config = SimpleNamespace(html_theme_options=options)
        kernels.name_repository(None, config)
        assert config.html_theme_options == {**options, "repository_url": f"https://github.com/{name}"}
        assert os.environ["GITHUB_REPOSITORY"] == name
        assert os.environ["SURGEON_BRANCH"] == (branch or "main")


# ---- Failures ------------------------------------------------------------------------------------------------------

IMPORT = "from surgeon.book.page import claim"
NODE = nodes.paragraph()
NODE.source, NODE.line = "/books/a.md", 7


@pytest.mark.parametrize(
    ("location", "page"),
    [
        ("a", "a"),
        (("a", 7), "a"),
        (("a", None), "a"),
        ("/books/a.md", "a"),
        ("/books/a.md:", "a"),
        ("/books/a.md:7", "a"),
        ("/books/a.md:7:<eval>", "a"),
        (NODE, "a"),
        ("/books/absent.md:7", None),
        ("/books/references.bib:7", None),
        (None, None),
    ],
)
def test_a_warning_is_about_its_page_or_else_about_the_whole_book(env, tmp_path, location, page):
    env.found_docs = {"a"}
    env.path2doc = lambda file: file.removeprefix("/books/").removesuffix(".md")
    app = SimpleNamespace(env=env, config=SimpleNamespace(suppress_warnings=["known.*"]), doctreedir=tmp_path)
    for name in ("a.doctree", "environment.pickle", "unfinished"):
        (tmp_path / name).touch()
    listener = failures.Failures(app)
    listener.emit(logging.makeLogRecord({"location": location, "type": "known", "subtype": "one"}))
    listener.finish(app, ValueError("The build broke."))
    assert len(list(tmp_path.iterdir())) == 3
    listener.emit(logging.makeLogRecord({"location": location}))
    listener.finish(app, None)
    assert {file.name for file in tmp_path.iterdir()} == {"environment.pickle" if page else "a.doctree"}


BROKEN = {
    "broken-cell": "# Cell\n\n" + cell("1 + 1") + "\nText.\n\n" + cell("2 / 0  # here") + "\n" + cell("3"),
    "broken-cite": "# Cite\n\nAs {cite:p}`nobody1999` says.\n",
    "broken-claim": "# Claim\n\n" + cell(f"{IMPORT}\nclaim('One is two.', 1, within=(2, 2));"),
    "broken-eval": "# Eval\n\n" + cell("x = 2") + "\nGood: {eval}`x`.\n\nBad: {eval}`y`.\n",
    "broken-link": "# Link\n\nTo {doc}`nowhere`.\n",
    "broken-ref": "# Ref\n\nTo {ref}`nothing`.\n",
    "broken-twice": "# Twice\n\n" + cell(f"{IMPORT}\nclaim('So.', True)\nclaim('So.', True);"),
    "healthy": "# Healthy\n\n(here)=\n## There\n\n" + cell("1"),
}


def test_every_failure_fails_the_strict_build_by_name_and_line_and_again_when_repeated(tmp_path):
    book = SmallBook(tmp_path, BROKEN, {"__init__.py": "", **SPEAKING})
    expected = [
        ("broken-cell", book.line("broken-cell", "2 / 0  # here") - 1, "ZeroDivisionError: division by zero"),
        ("broken-cite", 3, 'could not find bibtex key "nobody1999"'),
        ("broken-claim", book.line("broken-claim", IMPORT) - 1, "'One is two.' does not hold"),
        ("broken-eval", book.line("broken-eval", "Bad: {eval}`y`."), "name 'y' is not defined"),
        ("broken-link", 3, "unknown document: 'nowhere'"),
        ("broken-ref", 3, "undefined label: 'nothing'"),
        ("broken-twice", book.line("broken-twice", IMPORT) - 1, "claims the same thing twice: 'So.'"),
    ]
    for build in (book.build(*STRICT), book.build(*STRICT)):
        assert build.code == 1
        for page, line, said in expected:
            found = [w for w in build.warnings if w.startswith(f"{page}.md:{line}: ") and said in w]
            assert found, f"{page}.md:{line} and {said!r} are not in {build.warnings}"
    assert book.ran().count("healthy") == 1  # only what failed is tried again

    for page in BROKEN:
        if page.startswith("broken"):
            book.page(page, f"# {page}\n\nTo {{ref}}`there <here>`.\n")
    mended = book.build(*STRICT)
    assert (mended.code, mended.warnings) == (0, [])
    assert "err.log" not in " ".join(book.site())

    # A reference that another page's change breaks: the pages that refer to it were read before, and are still named.
    book.page("healthy", BROKEN["healthy"].replace("(here)=\n", ""))
    for flags, code in [((), 0), (STRICT, 1)]:  # without -W, a warning is only a warning; it is not forgotten, though
        torn = book.build(*flags)
        assert torn.code == code
        assert len([w for w in torn.warnings if "undefined label: 'here'" in w]) == len(expected)


# ---- Builds that were killed ---------------------------------------------------------------------------------------

PAUSE = """import time
from pathlib import Path

def setup(app):
    def pause(moment):
        asked = Path(app.srcdir, "pause")
        if asked.exists() and asked.read_text() == moment:
            Path(app.srcdir, "paused").touch()
            time.sleep(600)

    app.connect("source-read", lambda app, page, text: pause(f"read {page}"))
    app.connect("html-page-context", lambda app, page, *rest: pause(f"write {page}"))
    app.connect("build-finished", lambda app, exception: pause("finish"), priority=900)
"""


def fragile(folder):
    pages = {"a": "# A\n\n" + cell("1 + 1"), "b": "# B\n\n" + cell("2 + 2"), "c": "# C\n\nText.\n"}
    book = SmallBook(folder, pages, {"__init__.py": ""})
    book.write("book/_ext/pause.py", PAUSE)
    config = (folder / "_config.yml").read_text()
    book.write("_config.yml", config.replace("      - surgeon_book\n", "      - surgeon_book\n      - pause\n"))
    return book


def tear(book: SmallBook, share: float) -> None:
    """What was being written when the power went is there in part: do that to everything that may have been."""
    since = (book.root / "_build/.doctrees/unfinished").stat().st_mtime_ns
    for file in (book.root / "_build").rglob("*"):
        if file.is_file() and file.stat().st_mtime_ns > since:
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * share)])


def test_a_killed_build_is_right_the_next_time(tmp_path):
    never_killed, book = fragile(tmp_path / "never"), fragile(tmp_path / "often")
    assert never_killed.build(*STRICT).code == 0
    for moment, share in [("read book/b", 0.5), ("write book/b", 0)]:
        book.kill_when(moment)
        tear(book, share)
    build = book.build(*STRICT)
    assert (build.code, build.warnings) == (0, []), build.output
    assert book.site() == never_killed.site()

    # Killed when it has only written: no page has to run again, and half a file is not taken for a whole one.
    book.ran()
    shutil.rmtree(book.root / "_build" / "html")
    book.kill_when("finish")
    tear(book, 0.5)
    build = book.build(*STRICT)
    assert (build.code, build.warnings) == (0, []), build.output
    assert book.ran() == []
    assert book.site() == never_killed.site()


def test_a_failure_is_not_lost_when_the_build_that_saw_it_is_killed(tmp_path):
    book = fragile(tmp_path)
    book.page("a", "# A\n\n" + cell("1 + 1") + "\n{eval}`undefined`\n")
    assert book.build(*STRICT).code == 1
    book.kill_when("write book/a")  # it has been read again, and its warning went with the build
    build = book.build(*STRICT)
    assert build.code == 1
    assert any(warning.startswith("a.md:") for warning in build.warnings)
    book.page("a", "# A\n\n" + cell("1 + 1"))
    book.ran()
    assert book.build(*STRICT).code == 0
    assert book.ran() == ["a"]
