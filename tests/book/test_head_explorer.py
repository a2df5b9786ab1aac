"""The heads in the reader's hands: their numbers as text, the file that holds them, and the script that reads it."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from foreign import foreign_defaults
from matplotlib.figure import Figure
from py_mini_racer import MiniRacer
from small_book import ROOT, STRICT, SmallBook, cell

from surgeon import create_causal_mask, stable_softmax
from surgeon.book import head_explorer as explorer
from surgeon.book import page
from surgeon.book.head_explorer import LARGEST, head_explorer
from surgeon.imaging.style import WEIGHTS
from surgeon.instruments.packing import DIGITS, encode_weights

ELEMENT = ROOT / "surgeon" / "instruments" / "static" / "head-explorer"
ERROR = 1 / 8190


def attention_like(*shape, seed=0, sharp=3.0):
    generator = torch.Generator().manual_seed(seed)
    return stable_softmax(sharp * torch.randn(*shape, generator=generator, dtype=torch.float64))


def causal_heads(L, H, T):
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(L, H, T, T, generator=generator, dtype=torch.float64)
    return stable_softmax(scores + create_causal_mask(T))


def names(T):
    return [f"t{n}" for n in range(T)]


def decode(text):
    """Independently of the script: place in the alphabet, by pairs."""
    places = [DIGITS.index(letter) for letter in text.encode()]
    return np.array([64 * high + low for high, low in zip(places[::2], places[1::2], strict=True)]) / 4095


@pytest.fixture
def still():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return [(figure, "A line.", "A line that rises.")]


@pytest.fixture
def shown(monkeypatch):
    """What the page displayed, as HTML."""
    bundles = []
    monkeypatch.setattr(page, "display", lambda thing: bundles.append(thing._repr_mimebundle_()["text/html"]))
    return bundles


def texts_in(html):
    """The element, and the texts that it carries."""
    element = BeautifulSoup(html, "html.parser").find("head-explorer")
    return element, json.loads(b64decode(element["src"].removeprefix("data:application/json;base64,")))


# ---- The numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharp", [0.1, 3.0, 100.0])
def test_a_weight_comes_back_within_the_error_that_is_stated_and_rows_add_up(sharp):
    T = 17
    weights = attention_like(5, 7, T, T, sharp=sharp).numpy()
    back = decode(encode_weights(weights)).reshape(weights.shape)
    assert np.abs(back - weights).max() <= ERROR + 1e-12
    assert np.abs(back.sum(-1) - 1).max() <= T * ERROR + 1e-12
    assert (back >= 0).all() & (back <= 1).all()


def test_what_was_read_back_is_written_alike():
    text = encode_weights(np.arange(4096) / 4095)
    assert len(set(zip(text[::2], text[1::2], strict=True))) == 4096
    assert encode_weights(decode(text)) == text


@pytest.mark.parametrize(("worst", "said"), [(1.5, "1.5"), (-0.25, "-0.25"), (float("nan"), "nan")])
def test_what_is_no_weight_is_not_written(worst, said):
    with pytest.raises(ValueError, match=f"^weights must lie between 0 and 1, got {re.escape(said)}[.]$"):
        encode_weights(np.array([0.5, worst]))


# ---- The element ---------------------------------------------------------------------------------------------------


def test_the_element_holds_the_texts_and_the_figures(shown, still):
    first, second = attention_like(2, 3, 7, 7), attention_like(2, 3, 5, 5, seed=1)
    head_explorer([(first, names(7)), (second, ["a", "“b”", "<c>", "&", '"'])], [*still, *still], layer=1, head=2)
    element, texts = texts_in(shown[0])
    attributes = {name: element[name] for name in ("layers", "heads", "tokens", "layer", "head")}
    assert attributes == {"layers": "2", "heads": "3", "tokens": "7", "layer": "1", "head": "2"}
    assert [text["tokens"] for text in texts] == [names(7), ["a", "“b”", "<c>", "&", '"']]
    for text, weights in zip(texts, (first, second), strict=True):
        assert np.abs(decode(text["weights"]) - weights.numpy().ravel()).max() <= ERROR + 1e-12
    assert [image["alt"] for image in element.select("figure.measured > img")] == ["A line that rises."] * 2
    assert len(element.find_all(recursive=False)) == 2


def test_what_the_explorer_says_is_text_and_no_markup(shown, still):
    """What tokens hold is hidden in base 64; captions and descriptions are escaped."""
    text = '<i>a</i> & "b"'
    head_explorer([(GOOD, ["</head-explorer>", "<b>", "&", '"', "e"])], [(still[0][0], text, text)])
    escaped = "&lt;i&gt;a&lt;/i&gt; &amp; &quot;b&quot;"
    assert f'alt="{escaped}"' in shown[0]
    assert f"<figcaption>{escaped}</figcaption>" in shown[0]
    assert set(re.findall(r"</?([\w-]+)", shown[0])) == {"head-explorer", "figure", "img", "figcaption"}


def test_numpys_integers_and_other_peoples_defaults_change_nothing(shown, still):
    head_explorer([(GOOD, names(5))], still, layer=1, head=2)
    with foreign_defaults():
        head_explorer([(GOOD, names(5))], still, layer=np.int64(1), head=np.uint8(2))
    assert shown[0] == shown[1]


def test_float32_rows_that_overshoot_one_are_read(shown, still):
    head_explorer([(torch.full((1, 1, 1, 1), 1 + 1e-6), ["a"])], still)
    assert texts_in(shown[0])[1][0]["weights"] == "//"


def test_a_causal_text_is_half_as_long_and_comes_back_whole(shown, still, script):
    """Rows on and below the diagonal; the script puts them where they were."""
    weights = causal_heads(5, 3, 7)
    head_explorer([(weights, names(7))], still, causal=True, names=["Seven tokens"])
    element, (text,) = texts_in(shown[0])
    assert element.has_attr("causal")
    assert text["name"] == "Seven tokens"
    assert len(text["weights"]) == 2 * 5 * 3 * 7 * 8 // 2
    whole = np.array(script("unfold", decode(text["weights"]).tolist(), 7)).reshape(5, 3, 7, 7)
    assert np.abs(whole - weights.numpy()).max() <= ERROR + 1e-12
    assert (whole[..., *np.triu_indices(7, 1)] == 0).all()


@pytest.mark.parametrize("T", [1, 2, 5, 24, 61])
def test_the_script_unfolds_rows_of_any_length(script, T):
    triangle = np.arange(1, 3 * T * (T + 1) // 2 + 1) / 4095
    whole = np.array(script("unfold", triangle.tolist(), T)).reshape(3, T, T)
    np.testing.assert_array_equal(whole[:, *np.tril_indices(T)].ravel(), triangle)


def test_who_sees_the_future_is_not_causal(shown, still):
    with pytest.raises(ValueError, match=r"^attention_weights must be zero where the mask blocks"):
        head_explorer([(GOOD, names(5))], still, causal=True)
    with pytest.raises(ValueError, match=r"^names must name each of the 1 texts, got 2[.]$"):
        head_explorer([(GOOD, names(5))], still, names=["a", "b"])
    assert not shown


def test_texts_that_do_not_fit_are_left_out_from_the_last(shown, still, monkeypatch):
    texts = [(attention_like(2, 3, T, T), names(T)) for T in (11, 5, 7)]
    head_explorer(texts, still)
    element, whole = texts_in(shown[0])
    for fits, allowance in ((3, 0), (2, -1)):
        monkeypatch.setattr(explorer, "LARGEST", len(json.dumps(whole, separators=(",", ":"))) + allowance)
        head_explorer(texts, still)
        assert [len(text["tokens"]) for text in texts_in(shown[-1])[1]] == [11, 5, 7][:fits]
    monkeypatch.setattr(explorer, "LARGEST", 100)
    head_explorer(texts, still)
    assert "<head-explorer" not in shown[-1]
    assert BeautifulSoup(shown[-1], "html.parser").figure == element.figure


def test_a_file_is_at_most_as_large_as_promised(shown, still):
    assert LARGEST <= 300_000
    T = 29
    head_explorer([(attention_like(6, 12, T, T, seed=n), names(T)) for n in range(4)], still)
    element, texts = texts_in(shown[0])
    size = len(b64decode(element["src"].partition(",")[2]))
    assert size <= LARGEST < size + 72 * T * T * 2
    assert len(texts) == 2


GOOD = attention_like(2, 3, 5, 5)
HOLE = GOOD.clone()
HOLE[0, 0, 0, :2] = torch.nan
WRONG = {
    "no texts": (([],), {}, "texts and figures must hold at least one each, got 0 and 1."),
    "no tensor": (([(GOOD.numpy(), names(5))],), {}, "attention_weights must be a floating-point tensor, got float64."),
    "integers": (
        ([(GOOD.long(), names(5))],),
        {},
        "attention_weights must be a floating-point tensor, got torch.int64.",
    ),
    "one layer": (
        ([(GOOD[0], names(5))],),
        {},
        "attention_weights must have shape [layers, heads, T, T], none of them 0, got [3, 5, 5].",
    ),
    "not square": (
        ([(GOOD[..., :3], names(5))],),
        {},
        "attention_weights must have as many queries as keys, got 5 and 3.",
    ),
    "too large": (
        ([(GOOD.new_full((1, 1, 2, 2), 1.5), names(2))],),
        {},
        "attention_weights must lie between vmin and vmax (0 and 1), got 1.5.",
    ),
    "NaN": (([(HOLE, names(5))],), {}, "attention_weights must hold numbers, got NaN in 2 cells."),
    "tokens": (([(GOOD, names(3))],), {}, "tokens must name each of the 5 tokens, got 3."),
    "heads": (
        ([(GOOD, names(5)), (GOOD[:, :1], names(5))],),
        {},
        "texts must all have 2 layers of 3 heads, got 2 of 1.",
    ),
    "layer": (([(GOOD, names(5))],), {"layer": 2}, "layer must be an integer from 0 to 1, got 2."),
    "head": (([(GOOD, names(5))],), {"head": -1}, "head must be an integer from 0 to 2, got -1."),
    "no integer": (([(GOOD, names(5))],), {"head": True}, "head must be an integer from 0 to 2, got True."),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_shown_is_refused_in_one_sentence(shown, still, case):
    (texts,), options, message = WRONG[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        head_explorer(texts, still, **options)
    assert not shown


def test_an_explorer_needs_a_figure_that_says_something(shown, still):
    with pytest.raises(ValueError, match=r"^texts and figures must hold at least one each, got 1 and 0[.]$"):
        head_explorer([(GOOD, names(5))], [])
    with pytest.raises(ValueError, match=r"^alt must say something, got an empty text[.]$"):
        head_explorer([(GOOD, names(5))], [(still[0][0], "A line.", " ")])
    assert not shown


# ---- The script, in V8 ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script():
    """Its functions: `script("decode", text)`. A module's `export` means nothing outside of one."""
    engine = MiniRacer()
    engine.eval((ELEMENT / "head-explorer.mjs").read_text(encoding="utf8").replace("export function", "function"))

    def call(name, *arguments):
        values = ", ".join(json.dumps(argument) for argument in arguments)
        return json.loads(
            engine.eval(f"JSON.stringify({name}({values}), (_, v) => ArrayBuffer.isView(v) ? [...v] : v)")
        )

    return call


def test_the_script_reads_what_python_wrote(script):
    weights = attention_like(3, 7, 11, 11).numpy()
    text = encode_weights(weights)
    read = np.array(script("decode", text))
    np.testing.assert_array_equal(read, decode(text))
    assert np.abs(read - weights.ravel()).max() <= ERROR + 1e-12


def test_the_script_has_the_colours_of_the_figures(script):
    for weight in np.linspace(0, 1, 37).tolist():
        assert script("colour", weight) == pytest.approx(255 * np.array(WEIGHTS(weight)[:3]), abs=2.5)
    assert script("colour", 1.1) == script("colour", 1) != script("colour", 0) == script("colour", -0.1)


@pytest.mark.parametrize(
    ("weights", "tokens", "what", "share"),
    [
        (np.eye(5), names(5), "the token itself", 1.0),
        (np.eye(5, k=1), names(5), "the token after", 1.0),
        (np.eye(5, k=-1), names(5), "the token before", 1.0),
        (np.tile([0.1, 0.9, 0], (3, 1)), ["a", "b", "c"], "“b”", 0.9),
        (np.tile([0.3, 0.4, 0, 0.3], (4, 1)), ["the", "wire", "cut", "the"], "“the”", 0.6),
        (np.ones((1, 1)), ["a"], "the token itself", 1.0),
    ],
    ids=["diagonal", "after", "before", "column", "two columns", "alone"],
)
def test_a_heads_habit_is_what_gets_most_of_its_weight(script, weights, tokens, what, share):
    found, measured = script("habit", weights.ravel().tolist(), tokens)
    assert (found, measured) == (what, pytest.approx(share))


def test_the_strongest_come_first_and_equals_in_the_texts_order(script):
    said = script("strongest", [0.25, 0.126, 0.25, 0.374], ["a", "b", "c", "d"], 3)
    assert said == "“d” 0.37, “a” 0.25, “c” 0.25"


def test_a_sentence_is_read_from_its_tokens(script):
    tokens = ["[CLS]", "two", "men", "##ding", ",", "a", "net", ".", "[SEP]"]
    assert script("sentence", tokens) == "two mending, a net."


def test_the_script_is_small_and_asks_nothing_of_anyone():
    files = {file.suffix: file.read_text(encoding="utf8") for file in ELEMENT.iterdir()}
    assert set(files) == {".mjs", ".css"}
    assert sum(map(len, files.values())) < 25_000
    assert not [text for text in files.values() if re.search(r"\bimport\b|@import|url\(|https?:(?!//www.w3.org)", text)]


# ---- The file, on a site -------------------------------------------------------------------------------------------

CODE = """import torch
from matplotlib.figure import Figure
from surgeon.book.head_explorer import head_explorer
from surgeon.anatomy.softmax import stable_softmax
weights = stable_softmax(torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(SEED)))
fig = Figure(figsize=(3, 2))
fig.subplots().plot([0, 1])
head_explorer([(weights, list("abcde"))], [(fig, "A line.", "A line that rises.")], head=1)
"""


def read_page(book):
    """The element on the built page, and the file that it names."""
    html = BeautifulSoup(book.html("heads"), "html.parser")
    element = html.find("head-explorer")
    return html, element, (book.root / "_build/html/book" / element["src"]).resolve()


def expected(seed):
    return stable_softmax(torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))).numpy()


def test_the_numbers_are_a_file_of_the_site_that_the_pages_own_run_wrote(tmp_path):
    files = [*(ROOT / "surgeon").rglob("*.py"), *(ROOT / "surgeon").rglob("*.pyi")]
    package = {file.relative_to(ROOT / "surgeon").as_posix(): file.read_text() for file in files}
    pages = {"heads": "# Heads\n\n" + cell(CODE.replace("SEED", "3")), "other": "# Other\n\nNo heads.\n"}
    book = SmallBook(tmp_path / "book", pages, package)
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    html, element, file = read_page(book)
    assert element["src"].startswith("../_images/")
    assert file.name.endswith(".json")
    (text,) = json.loads(file.read_text())
    assert np.abs(decode(text["weights"]) - expected(3).ravel()).max() <= ERROR + 1e-6
    assert element.figure.img["src"].endswith(".svg")
    (script,) = html.select('script[type="module"]')
    assert script["src"].startswith("../_static/head-explorer/head-explorer.mjs")
    assert (book.root / "_build/html/_static/head-explorer/head-explorer.css").is_file()
    assert len(html.select('link[href*="head-explorer"]')) == 1
    assert "head-explorer" not in book.html("other")

    book.page("heads", "# Heads\n\n" + cell(CODE.replace("SEED", "5")))  # other numbers, another file
    file.unlink()
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    again = read_page(book)[2]
    assert again != file
    assert np.abs(decode(json.loads(again.read_text())[0]["weights"]) - expected(5).ravel()).max() <= ERROR + 1e-6
