"""The operating table in a kernel: what stands on it can be read, and what is assigned is checked."""

import json
import re
import subprocess
import sys

import pytest
import torch
import traitlets
from small_book import ROOT

from surgeon import OperatingTable, create_window_mask
from surgeon.instruments import knobs, live
from surgeon.instruments.operating import draw_inputs, operate, permissions, vital_signs

SENTENCE = ["the", "surgeon", "cut", "the", "wire"]


def test_it_computes_what_surgeon_computes():
    table = OperatingTable(SENTENCE, d_k=11, mask="front", padded=1, flipped=[(4, 0)], temperature=0.5, seed=3)
    may_look = permissions("front", 5, 1, [(4, 0)])
    done = operate(*draw_inputs(SENTENCE, 11, 3), may_look, temperature=0.5)
    assert torch.equal(table.weights, done.weights)
    assert torch.equal(table.scores, done.scores)
    assert torch.equal(table.output, done.output)
    assert torch.equal(table.may_look, may_look)
    assert table.signs == vital_signs(done.weights, may_look)
    assert (table.query, table.key) == (4, 0)


def test_what_the_page_gets_is_how_it_starts():
    table = OperatingTable(SENTENCE, stages=["scores", "weights"], controls=[], vitals=["future"], scale=False)
    start = json.loads(table._start)
    assert start.items() >= {"stages": "scores weights", "controls": "none", "vitals": "future", "scale": "off"}.items()
    assert (table.query, table.key, table.flipped, table.padded, table.temperature) == (4, 0, [], 2, 1.0)
    state = table.get_state()
    assert (state["tokens"], state["scale"], state["given"]) == (SENTENCE, False, False)


def test_stages_controls_and_signs_are_those_that_the_page_knows():
    script = (ROOT / "surgeon/instruments/static/operating-table/operating-table.mjs").read_text(encoding="utf8")
    for name in (*knobs.STAGES, *knobs.CONTROLS, *knobs.VITALS):
        assert re.search(rf"\b{name}\b", script), name
    start = json.loads(OperatingTable(SENTENCE)._start)
    assert start["stages"].split() == list(knobs.STAGES)


def test_vectors_from_outside_stay_as_long_as_words_width_and_seed_do():
    Q, K, V = (torch.randn(5, width, generator=torch.Generator().manual_seed(0)) for width in (7, 7, 4))
    table = OperatingTable(SENTENCE, vectors=(Q, K, V))
    assert table.d_k == 7
    done = operate(Q.double(), K.double(), V.double(), permissions("none", 5))
    assert torch.equal(table.weights, done.weights)
    sent = torch.frombuffer(bytearray(table._vectors), dtype=torch.float64)
    assert torch.equal(sent, torch.cat([one.double().flatten() for one in (Q, K, V)]))
    table.mask = "causal"
    assert torch.equal(table.vectors[1], K.double())
    table.seed += 1
    assert not table.given
    assert torch.equal(table.vectors[1], draw_inputs(SENTENCE, 7, 1)[1])
    table.vectors = (Q, K, V)
    assert torch.equal(table.vectors[1], K.double())


@pytest.mark.parametrize(("d_k", "d_v"), [(1, 1), (64, 16), (7, 19), (1024, 1024)])
def test_vectors_may_have_any_width_that_can_be_shown(d_k, d_v):
    Q, K, V = (torch.randn(5, width, generator=torch.Generator().manual_seed(0)) for width in (d_k, d_k, d_v))
    table = OperatingTable(SENTENCE, vectors=(Q, K, V), mask="causal")
    done = operate(Q.double(), K.double(), V.double(), permissions("causal", 5))
    assert table.output.shape == (5, d_v)
    assert torch.equal(table.output, done.output)
    assert len(table._vectors) == 8 * 5 * (2 * d_k + d_v)
    table.tokens = ["two", "words"]  # are drawn, as ever
    assert table.output.shape == (2, 4)


# What anywidget gives the script, by hand: a model that holds, and tells, what the kernel's side holds.
MODEL = """([script, state, vectors]) => new Promise(async (ready) => {
  state._vectors = new DataView(Uint8Array.from(vectors).buffer);
  const heard = {};
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes: () => {},
    on: (what, hear) => { (heard[what] ||= []).push(hear); },
    off: () => {},
    tell: (changes) => {
      Object.assign(state, changes);
      for (const name in changes) for (const hear of heard[`change:${name}`] || []) hear();
    },
  };
  const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  module.default.render({ model, el: document.body });
  requestAnimationFrame(() => requestAnimationFrame(ready));
})"""
TOLD = """(vectors) => new Promise((ready) => {
  window.model.tell({ _vectors: new DataView(Uint8Array.from(vectors).buffer) });
  requestAnimationFrame(() => requestAnimationFrame(ready));
})"""
SHOWN = """() => ["values", "output", "queries"].map((stage) => {
  const card = document.querySelector("operating-table").cards.find((one) => one.name === stage);
  const columns = Number(card.grid.ariaColCount);
  const within = card.left + columns * card.width <= card.grid.clientWidth;
  return [card.subtitle.textContent, card.readout.textContent, columns, within];
})"""


@pytest.mark.parametrize(("d_v", "more"), [(1, ""), (4, ""), (16, ""), (17, ", first 16 of 17 columns")])
def test_a_browser_draws_values_of_any_width(browser, d_v, more):
    V = torch.arange(5.0 * d_v).reshape(5, d_v) / 8
    table = OperatingTable(SENTENCE, vectors=(torch.eye(5, 3), torch.eye(5, 3), V))
    state = {name: value for name, value in table.get_state().items() if isinstance(value, (str, int, float, list))}
    page = browser.new_page()
    failed = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.add_style_tag(content=table._css)
    page.evaluate(MODEL, [table._esm, state, list(table._vectors)])
    values, output, queries = page.evaluate(SHOWN)
    assert queries[0] == "Q"
    assert values == [f"V{more}", f"the, 1: {V[0, 0]:.2f}", min(d_v, 16), True]
    assert output == [f"weights · V{more}", f"wire, 1: {table.output[4, 0]:.2f}", min(d_v, 16), True]
    wider = torch.cat([V, V], -1)
    table.vectors = (torch.eye(5, 3), torch.eye(5, 3), wider)
    page.evaluate(TOLD, list(table._vectors))
    assert page.evaluate(SHOWN)[0][2] == min(2 * d_v, 16)
    assert failed == []
    page.close()


def test_any_mask_can_be_laid_on():
    table = OperatingTable(SENTENCE, mask="causal")
    table.may_look = create_window_mask(5, 2)
    assert table.mask == "none"
    assert torch.equal(table.may_look, create_window_mask(5, 2) == 0)
    table.tokens = SENTENCE[:3]
    assert torch.equal(table.may_look, (create_window_mask(5, 2) == 0)[:3, :3])
    assert table.query == 2


def test_what_the_reader_changes_is_read():
    """As a message from the page has it: in any order, all at once."""
    table = OperatingTable(SENTENCE)
    table.set_state({"key": 1, "query": 1, "tokens": ["two", "words"], "flipped": [[0, 1]], "temperature": 2, "d_k": 8})
    assert torch.equal(table.may_look, torch.tensor([[True, False], [True, True]]))
    assert torch.equal(table.vectors[0], draw_inputs(["two", "words"], 8, 0)[0])
    assert (table.query, table.key, table.temperature) == (1, 1, 2.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mask", "future", "mask must be one of none, causal, reverse, padding, front, got 'future'."),
        ("precision", "float8", "precision must be one of float16, float32, float64, got 'float8'."),
        ("d_k", 2000, "d_k must be at most 1024, got 2000."),
        ("d_k", 0, "d_k must be an integer of at least 1, got 0."),
        ("seed", -1, "seed must be an integer from 0 to 2**32 - 1, got -1."),
        ("padded", -1, "padded must be an integer of at least 0, got -1."),
        ("temperature", 0.0, "temperature must be a positive, finite number, got 0.0."),
        ("tokens", ["a b"], "tokens must be words without spaces, got 'a b'."),
        ("tokens", [], "words must be 1 to 32 words, got 0."),
        ("flipped", [(5, 0)], "flipped must name cells of a 5 by 5 matrix, got (5, 0)."),
        ("query", 5, "query must be an integer from 0 to 4, got 5."),
        ("key", -1, "key must be an integer from 0 to 4, got -1."),
        ("vectors", 3, "vectors must be three matrices, Q, K and V, got 3."),
        (
            "vectors",
            (torch.ones(5, 2), torch.ones(5, 3), torch.ones(5, 4)),
            "vectors must be Q and K [5, d_k] and V [5, d_v], a row for each word, got [[5, 2], [5, 3], [5, 4]].",
        ),
        (
            "vectors",
            (torch.ones(5, 2), torch.ones(5, 2), torch.ones(5, 0)),
            "vectors must be 1 to 1024 numbers wide, got d_k 2 and d_v 0.",
        ),
        (
            "vectors",
            (torch.ones(5, 2), torch.ones(5, 2), torch.ones(5, 1025)),
            "vectors must be 1 to 1024 numbers wide, got d_k 2 and d_v 1025.",
        ),
        (
            "vectors",
            (torch.ones(5, 1025), torch.ones(5, 1025), torch.ones(5, 4)),
            "vectors must be 1 to 1024 numbers wide, got d_k 1025 and d_v 4.",
        ),
        (
            "vectors",
            (torch.ones(5, 2), torch.ones(5, 2), torch.ones(4, 4)),
            "vectors must be Q and K [5, d_k] and V [5, d_v], a row for each word, got [[5, 2], [5, 2], [4, 4]].",
        ),
        ("vectors", (torch.full((5, 4), torch.nan),) * 3, "vectors must hold finite numbers."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_and_nothing_changes(name, value, message):
    table = OperatingTable(SENTENCE)
    before = table.get_state()
    with pytest.raises((ValueError, traitlets.TraitError), match=f"^{re.escape(message)}$"):
        setattr(table, name, value)
    assert table.get_state() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ["x"]}, "stages must be of tokens, queries"),
        ({"controls": ["x"]}, "controls must be of words, draw"),
        ({"vitals": ["x"]}, "vitals must be of largest, entropy"),
        ({"mask": "x"}, "mask must be one of"),
    ],
)
def test_what_it_is_made_with_is_checked(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        OperatingTable(SENTENCE, **options)


# Where a widget can be shown


def test_a_widget_is_shown_where_a_reader_can_handle_it(monkeypatch):
    class Shell:
        kernel = object()

    assert not live.can_show_widgets()
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.delenv("SURGEON_SITE", raising=False)
    assert live.can_show_widgets()
    monkeypatch.setenv("SURGEON_SITE", "1")
    assert not live.can_show_widgets()
    monkeypatch.delenv("SURGEON_SITE")
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    assert live.in_notebook()
    assert not live.can_show_widgets()


def test_without_anywidget_the_table_says_what_to_install_and_heads_are_still_shown():
    code = """
import sys
sys.modules["anywidget"] = None
import surgeon, torch
view = surgeon.explore(torch.ones(1, 1, 1), ["a"])
assert "<iframe" in view._repr_html_()
try:
    surgeon.OperatingTable
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'OperatingTable needs anywidget, which is not installed: pip install "attention-surgeon[widgets]".'
    )


def test_a_heads_choice_is_checked_and_clipped(monkeypatch):
    from surgeon.instruments import explorer

    monkeypatch.setattr(explorer, "can_show_widgets", lambda: True)
    view = explorer.explore(torch.ones(2, 3, 5, 2) / 2, ["a", "b"], queries=list("vwxyz"), layer=1)
    view.token = 4
    view.mode = "to"
    assert (view.layer, view.token) == (1, 1)
    assert json.loads(view._heads)["layers"] == 2
    for name, value, message in [
        ("layer", 2, "layer must be an integer from 0 to 1, got 2."),
        ("token", 2, "token must be an integer from 0 to 1, got 2."),
        ("mode", "x", "mode must be one of all, from, to, got 'x'."),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            setattr(view, name, value)
    view.set_state({"mode": "from", "token": 3})
    assert view.token == 3
    assert "srcdoc" in view._repr_html_()
    assert "application/vnd.jupyter.widget-view+json" in view._repr_mimebundle_()[0]
