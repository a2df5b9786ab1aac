"""The operating table: what a cell shows, and what the site gets."""

import json
import re
import sys

import pytest
import torch
from bs4 import BeautifulSoup
from foreign import foreign_defaults
from small_book import ROOT

from surgeon.book.operating_table import CONTROLS, STAGES, VITALS, operating_table
from surgeon.imaging.style import ABOVE, AT_ZERO, BELOW, RAMP
from surgeon.instruments.operating import Settings, draw_inputs, operate, permissions, vital_signs

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import operating_fixtures as on_the_site

FOLDER = ROOT / "surgeon" / "instruments" / "static" / "operating-table"
SENTENCE = ["the", "surgeon", "cut", "the", "wire"]
LONG = [f"word{n}" for n in range(32)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operating_table(["a b"], "So."), "tokens must be words without spaces, got 'a b'."),
        (lambda: operating_table(["a"], "So.", stages=["sum"]), f"stages must be of {', '.join(STAGES)}, got 'sum'."),
        (
            lambda: operating_table(["a"], "So.", controls=["x"]),
            f"controls must be of {', '.join(CONTROLS)}, got 'x'.",
        ),
        (lambda: operating_table(["a"], "So.", stages=["tokens"]), "stages must hold a matrix, got ['tokens']."),
        (lambda: operating_table(["a"], "So.", vitals=["x"]), f"vitals must be of {', '.join(VITALS)}, got 'x'."),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# What a cell shows


@pytest.fixture
def shown(monkeypatch):
    """The HTML that a cell would show."""
    bundles = []
    monkeypatch.setattr("surgeon.book.page.display", lambda thing: bundles.append(thing._repr_mimebundle_()))
    return bundles


def test_a_cell_shows_the_element_and_in_it_a_figure_of_the_same_numbers(shown):
    operation, signs = operating_table(
        SENTENCE,
        "The point.",
        mask="causal",
        flipped=[(1, 0)],
        d_k=8,
        temperature=0.5,
        stages=["scores", "weights"],
        seed=3,
    )
    (bundle,) = shown
    assert bundle["text/plain"] == "[operating table: The point.]"
    table = BeautifulSoup(bundle["text/html"], "html.parser").find("operating-table")
    asked = {"tokens": "the surgeon cut the wire", "d-k": "8", "mask": "causal", "flipped": "1,0", "seed": "3"}
    asked |= {"temperature": "0.5", "scale": "on", "stable": "on", "precision": "float32", "stages": "scores weights"}
    assert asked.items() <= table.attrs.items()
    assert table.find("figure", class_="measured").figcaption.get_text() == "The point."
    alt = table.img["alt"]
    assert "11 of 25 cells are blocked" in alt
    assert f"{signs['largest']:.3f}" in alt
    assert torch.equal(operation.weights == 0, ~permissions("causal", 5, 0, [(1, 0)]))


@pytest.mark.parametrize("words", [["one"], SENTENCE, LONG], ids=len)
def test_every_stage_has_a_figure(shown, words):
    operating_table(words, "Broken rows and empty ones.", mask="front", padded=1, stable=False, temperature=0.01)
    assert "data:image/svg+xml" in shown[0]["text/html"]


# A value unlike the usual one, and how the element's attribute has it.
KNOBS = {
    "d_k": (11, "11"),
    "seed": (3, "3"),
    "mask": ("padding", "padding"),
    "padded": (1, "1"),
    "flipped": ([(1, 0), (4, 2)], "1,0 4,2"),
    "scale": (False, "off"),
    "stable": (False, "off"),
    "temperature": (0.25, "0.25"),
    "precision": ("float16", "float16"),
}
UNLIKE = {"padded": {"mask": "front"}}  # what else it takes for the knob to show


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_turns_the_numbers_and_is_written_on_the_element(shown, knob):
    value, written = KNOBS[knob]
    also = UNLIKE.get(knob, {})
    usual, _ = operating_table(SENTENCE, "So.", stages=["weights"], **also)
    turned, signs = operating_table(SENTENCE, "So.", stages=["weights"], **also, **{knob: value})
    assert any(not torch.equal(a, b) for a, b in zip(usual, turned, strict=True))
    chosen = vars(Settings()) | also | {knob: value}
    how = {name: chosen[name] for name in ("scale", "stable", "temperature", "precision")}
    may_look = permissions(chosen["mask"], 5, chosen["padded"], chosen["flipped"])
    expected = operate(*draw_inputs(SENTENCE, chosen["d_k"], chosen["seed"]), may_look, **how)
    for ours, theirs in zip(turned, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert signs == vital_signs(expected.weights, may_look)
    before, after = (BeautifulSoup(one["text/html"], "html.parser").find("operating-table").attrs for one in shown)
    name = knob.replace("_", "-")
    assert {key: after[key] for key in after if after[key] != before[key]} == {name: written}


def test_a_knob_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="dropout"):
        operating_table(SENTENCE, "So.", dropout=0.5)


def test_controls_and_signs_are_those_that_were_chosen(shown):
    operating_table(SENTENCE, "So.", stages=["mask"], controls=["mask", "draw"], vitals=["future"])
    operating_table(SENTENCE, "So.", stages=["mask"], controls=[], vitals=[])
    tables = [BeautifulSoup(one["text/html"], "html.parser").find("operating-table") for one in shown]
    assert [(table["controls"], table["vitals"]) for table in tables] == [("mask draw", "future"), ("none", "none")]


def test_what_the_table_says_is_text_and_no_markup(shown):
    """The words, the caption and the description of the figure."""
    operating_table(["<b>", "&", '"', "it's"], 'A <i>point</i> & a "word".', stages=["weights"])
    html = shown[0]["text/html"]
    words = "&lt;b&gt; &amp; &quot; it&#x27;s"
    assert f'tokens="{words}"' in html
    assert f"on the 4 words {words}, d_k 64" in html
    assert "<figcaption>A &lt;i&gt;point&lt;/i&gt; &amp; a &quot;word&quot;.</figcaption>" in html
    assert set(re.findall(r"</?([\w-]+)", html)) == {"operating-table", "figure", "img", "figcaption"}


def test_other_peoples_defaults_change_no_table(shown):
    operating_table(SENTENCE, "So.", mask="front", flipped=[(1, 0)], stages=["mask", "weights"])
    with foreign_defaults():
        operating_table(SENTENCE, "So.", mask="front", flipped=[(1, 0)], stages=["mask", "weights"])
    assert shown[0] == shown[1]


# What the site gets


def test_the_table_is_small_and_asks_nothing_of_anyone():
    files = [*FOLDER.glob("*.mjs"), *FOLDER.glob("*.css")]
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) <= 40_000
    for file in files:
        text = file.read_text()
        assert not re.search(r"https?:|//cdn|@import|url\(", text)
        assert all(name.startswith("./") for name in re.findall(r'from "([^"]+)"', text))


def test_the_scales_of_colours_are_those_of_the_figures():
    style = (FOLDER / "operating-table.css").read_text()
    weights, scores = (re.search(rf"--ot-{name}: ([^;]+);", style)[1].split(", ") for name in ("weights", "scores"))
    assert weights == RAMP
    assert scores == [*BELOW, AT_ZERO, *ABOVE]


def test_the_site_has_the_script_where_it_is_used_and_the_fixtures_that_were_tested(site):
    folder, _ = site
    for page in folder.rglob("*.html"):
        text = page.read_text()
        assert ("<operating-table " in text) == ("operating-table.mjs" in text) == ("operating-table.css" in text), (
            page.name
        )
    fixtures = json.loads((folder / "_static" / "operating-table" / "fixtures.json").read_text())
    assert [fixture["case"] for fixture in fixtures] == json.loads(json.dumps(on_the_site.cases()))
    assert all(fixture["answer"]["weights"] for fixture in fixtures)
