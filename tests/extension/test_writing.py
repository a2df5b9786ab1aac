"""What is written again, what is made again with it, and what is left alone, on books of a few pages."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import DictLoader, Environment
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book import kept, sources
from surgeon_book.execution import rewriting
from surgeon_book.page import elements, entries, operating_fixtures
from surgeon_book.site import templates
from surgeon_book.site.pages import look_up

PAGES = {
    "runs": "# Runs\n\n**Does it?**\n\n" + cell("print('It did.')"),
    "words": "# Words\n\n**Which?**\n\nOnly these.\n",
}
EXTENSION = "book/_ext/surgeon_book"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("writing"), PAGES, {"__init__.py": ""})
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    assert book.ran() == ["runs"]
    return book


def test_what_stands_in_a_folder_of_a_module_is_there_for_who_asks(book):
    """No page names it; a module may ask for it."""
    files = [file.relative_to(own) for own in elements.FOLDERS for file in own.rglob("*") if file.parent != own]
    assert Path("operating-table/operating-table.mjs") in files
    assert [str(file) for file in files if not (book.root / "_build/html/_static" / file).exists()] == []


def test_an_entry_of_the_sources_is_an_item_of_a_list():
    context = {"body": '<div role="doc-biblioentry">A</div><div role="doc-biblioentry">B</div>'}
    for page in (context, {}):
        entries.mend(None, "book/sources", "page.html", page, None)
    assert context == {"body": '<div role="listitem">A</div><div role="listitem">B</div>'}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# ---- What shapes the look is a part of the site ---------------------------------------------------------------------


LOOK = {  # a file, what is changed in it, and a file of the site that has it then
    "theme/theme.css": ("font-size: 1.12em", "font-size: 1.13em", "_static/site.css", "font-size:1.13em"),
    "theme/static/page.js": ('"use strict";', '"use strict"; // so', "_static/page.js", "// so"),
    "theme/templates/navbar-logo.html": ("Home", "Way home", "book/words.html", 'aria-label="Way home"'),
    "theme/icons.py": ('viewBox="0 0 16 16"', 'viewBox="0 0 17 17"', "_static/site.css", "0 0 17 17"),
    "site/description.py": ("en_GB", "en_IE", "book/words.html", 'content="en_IE"'),
}


@pytest.mark.parametrize("file", LOOK)
def test_each_file_of_the_look_is_a_part_of_the_configuration(tmp_path, monkeypatch, file):
    """For which Sphinx writes every page again, and copies styles and scripts."""
    shutil.copytree(sources.EXTENSION, tmp_path / "extension")
    monkeypatch.setattr(sources, "EXTENSION", tmp_path / "extension")
    app, config = SimpleNamespace(srcdir=tmp_path), SimpleNamespace(html_static_path=[], html_extra_path=[])
    rewriting.note_assets(app, config)
    before = config.surgeon_assets
    rewriting.note_assets(app, config)
    assert config.surgeon_assets == before
    old, new, *_ = LOOK[file]
    edit(tmp_path / "extension" / file, old, new)
    rewriting.note_assets(app, config)
    assert config.surgeon_assets != before


def test_a_change_of_the_look_is_in_the_next_build_which_runs_nothing(book):
    for file, (old, new, shown, said) in LOOK.items():
        edit(book.root / EXTENSION / file, old, new)
        assert said not in (book.root / "_build/html" / shown).read_text()
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    for _, _, shown, said in LOOK.values():
        assert said in (book.root / "_build/html" / shown).read_text(), said
    assert book.ran() == []


def test_a_change_of_the_reading_reads_every_page_again(book):
    edit(book.root / EXTENSION / "page/upfront.py", '"tag_up-front"', '"tag_first"')
    built = book.build(*STRICT)
    assert built.code == 0, built.output
    assert book.ran() == ["runs"]


def test_every_file_of_the_extension_shapes_the_reading_or_the_look():
    files = {file for file in sources.EXTENSION.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert {*sources.reading()} | {*sources.look()} == files
    assert not {*sources.reading()} & {*sources.look()}
    assert sources.EXTENSION / "theme" / "theme.css" in sources.look()
    assert sources.EXTENSION / "nodes.py" in sources.reading()


@pytest.mark.parametrize("other", [["ab", "c"], ["a", "b", "c"], ["c", "ab"], ["abc"]])
def test_a_digest_is_of_these_parts_in_this_order(other):
    assert sources.digest(["a", "bc"]) != sources.digest(other)


def test_what_jinja_makes_of_a_template_is_kept_and_half_of_it_is_nothing(tmp_path):
    def rendered(text: str) -> str:
        environment = Environment(loader=DictLoader({"page": text}), bytecode_cache=templates.Compiled(tmp_path))
        environment.compile = compiled.append if known else environment.compile
        return environment.get_template("page").render(x=7)

    compiled, known = [], False
    assert rendered("<p>{{ x }}</p>") == "<p>7</p>"
    (file,) = tmp_path.iterdir()
    known = True
    assert (rendered("<p>{{ x }}</p>"), compiled) == ("<p>7</p>", [])
    known = False
    assert rendered("<b>{{ x }}</b>") == "<b>7</b>"
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        assert rendered("<b>{{ x }}</b>") == "<b>7</b>"
        assert file.read_bytes() == whole


# ---- What is made when pages are there ------------------------------------------------------------------------------

OPERATING = """from collections import namedtuple

import numpy as np

Operation = namedtuple("Operation", "K weights")


def draw_inputs(words, d_k, seed):
    return np.ones(1), np.full(1, 2.0), np.ones(1)


def permissions(mask, length, padded, flipped):
    return None


def operate(Q, K, V, may_look, **how):
    return Operation(K, Q)


def vital_signs(weights, may_look):
    return {}
"""
FIGURE = b64encode(b"<svg/>").decode()
SHOW = f"""from IPython.display import HTML
figure = '<img src="data:image/svg+xml;base64,{FIGURE}">'
HTML(f'<operating-table src="x"></operating-table>{{figure}}<i class="CLASSES">.</i>')"""


def test_a_site_that_grew_is_the_site_that_is_built_at_once(tmp_path):
    """Classes, icons, words and files come and go with a page; a build that writes nothing leaves all as it is."""
    pages = {"runs": "# Runs\n\n**Does it?**\n\n" + cell("1"), "words": "# Words\n\n**Which?**\n\nOnly these.\n"}
    grown = pages | {
        "runs": "# Runs\n\n**Does it?**\n\n$x^2$\n\n" + cell(SHOW.replace("CLASSES", "fa-solid fa-list sd-badge")),
        "words": "# Words\n\n**Which?**\n\n:::{dropdown} Folded\nOnly these.\n:::\n",
    }
    package = {
        "__init__.py": "",
        "book/__init__.py": "",
        "instruments/__init__.py": "",
        "instruments/operating.py": OPERATING,
    }
    book, other = (SmallBook(tmp_path / name, pages, package, cold=name == "is") for name in ("grows", "is"))
    assert book.build(*STRICT).code == 0
    small = book.site()
    for name in grown:
        other.page(name, grown[name])
        book.page(name, grown[name])
        built = book.build(*STRICT)
        assert built.code == 0, built.output
    assert other.build(*STRICT).code == 0
    assert book.site() == other.site()
    added = (b".sd-badge{", b".fa-list{")
    assert all(rule in book.site()["_static/site.css"] for rule in added)
    assert not any(rule in small["_static/site.css"] for rule in added)
    assert [name for name in book.site() if name.startswith("_images/")]
    assert json.loads(book.site()["_static/operating-table/fixtures.json"])[0]["answer"]["K"] == [2.0]

    times = {file: file.stat().st_mtime_ns for file in (book.root / "_build/html").rglob("*") if file.is_file()}
    assert book.build(*STRICT).code == 0
    assert {file: file.stat().st_mtime_ns for file in times} == times

    for name in pages:
        book.page(name, pages[name])
    assert book.build(*STRICT).code == 0
    assert book.site() == small

    book.write("_toc.yml", (book.root / "_toc.yml").read_text().replace("  - file: book/words\n", ""))
    (book.root / "book/words.md").unlink()
    assert book.build(*STRICT).code == 0
    assert not [name for name in book.site() if "words" in name]


def test_a_page_names_its_files_from_the_sites_root():
    page = """<div class="b a"><p class="a" style="x: var( --y )">&lt;head-explorer </p>
      <op-table src="../../_images/x.json"><img src="../_images/other.svg"></op-table>
      <a href="../../_static/a%20b.css?v=1#c"></a><a href="../c.html"></a></div>"""
    found = look_up("book/part/page.html", page)
    assert found == (["a", "b"], ["_images/x.json", "_static/a b.css"], ["--y"], ["op-table"])


@pytest.mark.parametrize("left", [0, 0.3, 0.5, 0.99])
def test_what_was_kept_in_part_was_not_kept(tmp_path, left):
    file = tmp_path / "new" / "file"
    assert kept.get(file) is None
    kept.put(file, b"one\ntwo" * 40)
    assert kept.get(file) == b"one\ntwo" * 40
    content = file.read_bytes()
    file.write_bytes(content[: int(left * len(content))])
    assert kept.get(file) is None


def test_a_site_is_the_same_however_many_write_it(tmp_path):
    """Several processes draw cards, and make the search beside the pages."""
    pages = {f"page{n}": f"# Page {n}\n\n**What is {n}?**\n\n## Part\n\nWord{n}, $x^{n}$.\n" for n in range(7)}
    sites = []
    for jobs in ("1", "2"):
        book = SmallBook(tmp_path / jobs, pages, {"__init__.py": ""})
        build = book.build(*STRICT, SURGEON_JOBS=jobs)
        assert build.code == 0, build.output
        sites.append(book.site())
    assert sites[0] == sites[1]
    assert len([name for name in sites[0] if name.startswith("cards/")]) >= len(pages)
    assert b"word3" in sites[0]["search/index.js"]


def test_answers_are_found_early_where_somebody_has_loaded_who_answers(monkeypatch):
    asked = []
    monkeypatch.setattr(operating_fixtures, "answers", asked.append)
    app = SimpleNamespace()
    monkeypatch.delitem(sys.modules, operating_fixtures.ANSWERING, raising=False)
    operating_fixtures.answer_early(app, None)
    assert asked == []
    monkeypatch.setitem(sys.modules, operating_fixtures.ANSWERING, SimpleNamespace())
    for _ in range(2):
        operating_fixtures.answer_early(app, None)
    assert asked == [app]


def test_a_build_ends_without_a_search_for_garbage():
    """Which takes seconds in a process that has read a book; what began before looks last."""
    code = (
        "import atexit, gc, types; atexit.register(lambda: print(gc.get_freeze_count() > 1000, len(gc.get_objects())));"
        " from surgeon_book.execution import writing; writing.setup(types.SimpleNamespace(connect=lambda *_: None))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "book" / "_ext")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    frozen, left = done.stdout.split()
    assert frozen == "True"
    assert int(left) < 100
