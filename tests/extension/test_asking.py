"""Numbers in the prose: all of them are asked with the cell above, and what has no plain answer as it always was."""

import sys

import pytest
from nbclient.exceptions import CellTimeoutError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.execution import asking

pytestmark = pytest.mark.long  # it starts a kernel

WRAPPED = "- In a list, {eval}`x\n  + 1`.\n"
CELLS = [
    new_markdown_cell("Before all cells, {eval}`7 * 11`.\n\n{eval}`x`"),
    new_code_cell("x = 2; x"),
    new_markdown_cell("{eval}`x`: {eval}``f'`{x:.1f}`'``"),
    new_markdown_cell(WRAPPED + "{eval}`none_of_these` {eval}`None` {eval}`1 / 0` {eval}`x`"),
    new_code_cell("x = 3"),
    new_markdown_cell("{eval}`x`"),
    new_code_cell(""),
    new_markdown_cell("{eval}`x` {eval}`x + 10`"),
    new_code_cell("x = 5\nraise KeyError(x)"),
    new_markdown_cell("{eval}`x`"),
]


@pytest.fixture(scope="module")
def client():
    client = asking.Client(new_notebook(cells=CELLS), record_timing=False, timeout=60, allow_errors=True)
    client.km = client.create_kernel_manager()
    client.start_new_kernel()
    client.start_new_kernel_client()
    yield client
    client._cleanup_kernel()


@pytest.fixture
def run(client, monkeypatch):
    """What runs a cell, and what the kernel has been asked since: programs, and expressions along with them."""
    sent, kind = [], type(client.kc)
    sending = kind.execute

    def execute(kc, code, **options):
        sent.append((code, list(options.get("user_expressions", {}))))
        return sending(kc, code, **options)

    def up_to(index):
        sent.clear()
        client.execute_cell(client.nb.cells[index], index)
        return sent

    monkeypatch.setattr(kind, "execute", execute)
    up_to.sent = sent
    return up_to


def plain(client, name) -> list[str]:
    return [output.data["text/plain"] for output in client.eval_expression(name)]


def test_what_follows_a_cell_up_to_the_next():
    assert asking.following(CELLS[:2]) == ["7 * 11", "x"]
    assert asking.following(CELLS[2:]) == ["x", "f'`{x:.1f}`'", "x + 1", "none_of_these", "None", "1 / 0", "x"]
    assert asking.following(CELLS[1:]) == asking.following([]) == []


def test_all_numbers_come_with_the_cell(client, run):
    sent = run(1)
    assert [plain(client, name) for name in ("x", "f'`{x:.1f}`'", "x + 1", "x")] == [["2"], ["'`2.0`'"], ["3"], ["2"]]
    assert sent == [("x = 2; x", ["x", "f'`{x:.1f}`'", "x + 1", "none_of_these", "None", "1 / 0"])]
    (shown,) = client.eval_expression("x")
    assert shown == {"output_type": "execute_result", "execution_count": None, "data": {"text/plain": "2"}} | {
        "metadata": {}
    }
    shown.metadata["strip_text_quotes"] = True  # as the role does, and the directive does not
    assert client.eval_expression("x")[0].metadata == {}
    assert [output.output_type for output in client.nb.cells[1].outputs] == ["execute_result"]


def test_what_has_no_plain_answer_is_asked_for_itself(client, run):
    sent = run(1)
    assert client.eval_expression("None") == []
    for name, error in (("none_of_these", "NameError"), ("1 / 0", "ZeroDivisionError")):
        (output,) = client.eval_expression(name)
        assert (output.output_type, output.ename) == ("error", error)
    assert plain(client, "x * 100") == ["200"]  # nobody knew that it would be asked
    assert sent[1:] == [(name, []) for name in ("None", "none_of_these", "1 / 0", "x * 100")]


def test_a_number_is_that_of_its_place(client, run):
    run(1)
    run(4)
    assert plain(client, "x") == ["3"]
    assert run(6) == []  # there is nothing to run
    assert plain(client, "x") == ["3"]
    sent = run(8)
    assert plain(client, "x") == ["5"]  # the cell has failed, and answered nothing
    assert [code for code, _ in sent] == ["x = 5\nraise KeyError(x)", "x"]


def test_a_cell_that_runs_out_of_time_leaves_nothing_to_be_asked_along(client, run, monkeypatch):
    monkeypatch.setattr(client, "timeout", 1)
    monkeypatch.setitem(client.nb.cells[1], "source", "import time; time.sleep(2)")
    with pytest.raises(CellTimeoutError):
        run(1)
    monkeypatch.setattr(client, "timeout", 60)
    assert plain(client, "40 + 2") == ["42"]
    assert run.sent[1:] == [("40 + 2", [])]
