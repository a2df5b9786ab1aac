"""Any model's heads: what `explore` reads, what it refuses, and the file that it writes."""

import errno
import json
import math
import os
import re

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from small_book import ROOT

from surgeon import create_causal_mask, explore, stable_softmax
from surgeon.instruments import explorer, texts
from surgeon.instruments.packing import DIGITS
from surgeon.instruments.scripts import element_script, head_explorer_script, style

BESIDE = 60_000  # bytes of a file that are not its data, at most
ERROR = 1 / 8190


def heads(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return stable_softmax(3 * torch.randn(*shape, generator=generator, dtype=torch.float64))


def names(count, letter="t"):
    return [f"{letter}{n}" for n in range(count)]


def decode(text):
    places = [DIGITS.index(letter) for letter in text.encode()]
    return np.array([64 * high + low for high, low in zip(places[::2], places[1::2], strict=True)]) / 4095


def embedded(file, name="heads"):
    """What a file carries, and how many bytes of it that is."""
    page = BeautifulSoup(file.read_text(encoding="utf8"), "html.parser")
    text = page.find("script", id=name).string
    return json.loads(text), len(text.encode())


SELF, CROSS, OTHER = heads(2, 3, 7, 7), heads(2, 3, 5, 11, seed=1), heads(2, 3, 7, 5, seed=2)


@pytest.mark.parametrize(
    ("weights", "tokens", "queries", "expected"),
    [
        (SELF, names(7), None, [(SELF, None)]),
        (SELF[0], names(7), None, [(SELF[:1], None)]),
        (SELF.numpy(), tuple(names(7)), None, [(SELF, None)]),
        (SELF.float(), np.array(names(7)), None, [(SELF, None)]),
        (list(SELF), names(7), None, [(SELF, None)]),
        (tuple(SELF[:, None].requires_grad_()), names(7), None, [(SELF, None)]),
        (SELF.tolist(), names(7), None, [(SELF, None)]),
        (CROSS, names(11), names(5, "q"), [(CROSS, names(5, "q"))]),
        (
            [CROSS, OTHER],
            [names(11), names(5)],
            [names(5, "q"), names(7, "q")],
            [(CROSS, names(5, "q")), (OTHER, names(7, "q"))],
        ),
        ([SELF, CROSS], [names(7), names(11)], [None, names(5, "q")], [(SELF, None), (CROSS, names(5, "q"))]),
        ({"a": SELF, "b": SELF}, {"b": names(7), "a": names(7)}, None, [(SELF, None), (SELF, None)]),
    ],
    ids=["layers", "heads", "NumPy", "float32", "a list", "a model's", "numbers", "cross", "two", "mixed", "by name"],
)
def test_weights_of_any_form_come_back_within_half_a_step(tmp_path, weights, tokens, queries, expected):
    file = explore(weights, tokens, queries=queries).save(tmp_path / "heads.html")
    found, _ = embedded(file)
    assert (found["layers"], found["heads"]) == expected[0][0].shape[:2]
    for text, (numbers, asked) in zip(found["texts"], expected, strict=True):
        assert np.abs(decode(text["weights"]) - numbers.numpy().ravel()).max() <= ERROR + 1e-7
        assert text.get("queries") == asked
        assert text["tokens"] == names(numbers.shape[-1])
    assert [text.get("name") for text in found["texts"]] == (
        ["a", "b"] if isinstance(weights, dict) else [None] * len(expected)
    )


def test_half_precision_is_read(tmp_path):
    for dtype, step in ((torch.bfloat16, 2**-8), (torch.float16, 2**-11)):
        found, _ = embedded(explore(SELF.to(dtype), names(7)).save(tmp_path / "heads.html"))
        assert np.abs(decode(found["texts"][0]["weights"]) - SELF.numpy().ravel()).max() <= ERROR + step


def test_a_causal_file_has_half_the_weights(tmp_path):
    weights = stable_softmax(torch.zeros(1, 3, 7, 7, dtype=torch.float64) + create_causal_mask(7))
    found, _ = embedded(explore(weights, names(7), causal=True).save(tmp_path / "heads.html"))
    assert found["causal"]
    expected = weights.numpy()[..., *np.tril_indices(7)].ravel()
    assert np.abs(decode(found["texts"][0]["weights"]) - expected).max() <= ERROR + 1e-12


def test_the_choice_is_where_it_was_put():
    view = explore([SELF, SELF.flip(0)], [names(7)] * 2, layer=np.int64(1), head=2)
    assert torch.equal(view.weights, SELF[1, 2])
    view.text, view.layer, view.head = 1, 0, 1
    assert torch.equal(view.weights, SELF[1, 1])
    assert repr(view) == "[6 heads on 2 texts: layer 0, head 1]"


WRONG = [
    ("layer", 2, "layer must be an integer from 0 to 1, got 2."),
    ("head", 2.5, "head must be an integer from 0 to 2, got 2.5."),
    ("head", -1, "head must be an integer from 0 to 2, got -1."),
    ("head", True, "head must be an integer from 0 to 2, got True."),
    ("text", 2, "text must be an integer from 0 to 1, got 2."),
    ("token", 9, "token must be an integer from 0 to 4, got 9."),
    ("mode", "x", "mode must be one of all, from, to, got 'x'."),
    ("mode", 1, "mode must be one of all, from, to, got 1."),
]


@pytest.mark.parametrize("widget", [False, True])
def test_what_is_not_there_cannot_be_chosen(monkeypatch, widget):
    monkeypatch.setattr(explorer, "can_show_widgets", lambda: widget)
    view = explore([CROSS, OTHER], [names(11), names(5)], queries=[names(5), names(7)], layer=1)
    for name, value, message in WRONG:
        before = view.html()
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            setattr(view, name, value)
        assert view.html() == before
    assert torch.equal(view.weights, CROSS[1, 0])


@pytest.mark.parametrize("widget", [False, True])
def test_a_token_that_another_text_or_mode_has_not_is_its_last(monkeypatch, widget):
    monkeypatch.setattr(explorer, "can_show_widgets", lambda: widget)
    view = explore([CROSS, OTHER], [names(11), names(5)], queries=[names(5), names(7)])
    view.mode, view.token = "to", 10
    view.mode = "from"
    assert view.token == 4
    view.text, view.token = 1, np.int64(6)
    assert (view.token, type(view.token)) == (6, int)
    view.text = 0
    assert view.token == 4


SEVEN = names(7)


def refused(message, weights=SELF, tokens=SEVEN, **options):
    return pytest.param(weights, tokens, options, message, id=message[:50])


HOLE = SELF.clone()
HOLE[0, 0, 0, :2] = math.nan
NO_WEIGHTS = (
    'the model handed out none; load it with attn_implementation="eager" and ask for output_attentions=True,'
    " or use surgeon.capture."
)
IDS = "a tokenizer's convert_ids_to_tokens turns ids into them."
AXES = "[heads, T, S] or [layers, heads, T, S], none of them 0"


@pytest.mark.parametrize(
    ("weights", "tokens", "options", "message"),
    [
        refused(f"weights must have shape {AXES}, got [7, 7].", SELF[0, 0]),
        refused(f"weights must have shape {AXES}, got [2, 5, 3, 7, 7].", [SELF[0].expand(5, 3, 7, 7)] * 2),
        refused(f"weights must have shape {AXES}, got [2, 0, 7, 7].", SELF[:, :0]),
        refused("weights must have layers of one shape, got [[3, 7, 7], [2, 7, 7]].", [SELF[0], SELF[0, :2]]),
        refused("weights must hold floating-point numbers, got int64.", SELF.long()),
        refused(f"weights must hold numbers, got (): {NO_WEIGHTS}", ()),
        refused(f"weights must hold numbers, got None: {NO_WEIGHTS}", (None, None)),
        refused(f"weights must hold numbers, got None: {NO_WEIGHTS}", None),
        refused(f"weights must hold numbers, got None: {NO_WEIGHTS}", (SELF[:1], None)),
        refused(f"weights[1] must hold numbers, got (): {NO_WEIGHTS}", [SELF, ()], [names(7)] * 2),
        refused("weights must hold floating-point numbers, got object.", [[[["a"]]], [[[{}]]]]),
        refused("weights must hold numbers, got NaN in 2 cells.", HOLE),
        refused("weights must lie between 0 and 1, got 1.5.", SELF.new_full((1, 7, 7), 1.5)),
        refused("weights must lie between 0 and 1, got -0.5.", SELF.new_full((1, 7, 7), -0.5)),
        refused(
            "weights must have at most 65,536 cells a head, got 1 queries by 65537 keys.", torch.zeros(1, 1, 65537)
        ),
        refused(
            "weights must be at most 8,000,000 numbers in all, got 8,028,160: show fewer layers, heads or tokens.",
            torch.zeros(1).expand(32, 5, 224, 224),
        ),
        refused("tokens must name each of the 7 keys, got 5.", tokens=names(5)),
        refused("tokens must be a sequence of 7 strings, got str.", tokens="the wire"),
        refused("tokens must be a sequence of 7 strings, got int.", tokens=7),
        refused("queries must name the 5 queries, which are not the 11 keys.", CROSS, names(11)),
        refused("queries must name each of the 5 queries, got 4.", CROSS, names(11), queries=names(4)),
        refused("weights must hold at least one text, got none.", {}, {}),
        refused("weights must hold at least one text, got none.", [], []),
        refused("weights must have one for the 1 text, got 2.", [SELF, SELF], [names(7)]),
        refused("weights must have one for each of the 3 texts, got 2.", [SELF, SELF], [names(7)] * 3),
        refused("queries must have one for the 1 text, got 2.", [SELF], [names(7)], queries=[None, None]),
        refused("tokens must hold at least one token, got none.", torch.zeros(1, 1, 0, 0), []),
        refused("tokens must hold at least one token, got none.", tokens=torch.zeros(0)),
        refused("tokens['a'] must hold at least one token, got none.", {"a": SELF}, {"a": []}),
        refused(f"tokens must be strings, got int: {IDS}", tokens=list(range(7))),
        refused(f"tokens must be strings, got int: {IDS}", tokens=[5]),
        refused(f"tokens must be strings, got int: {IDS}", tokens=[*names(6), 7]),
        refused(f"tokens must be strings, got int64: {IDS}", tokens=np.arange(7)),
        refused(f"tokens must be strings, got Tensor: {IDS}", tokens=torch.arange(7)),
        refused(f"tokens must be strings, got Tensor: {IDS}", tokens=torch.arange(7)[None]),
        refused(f"tokens must be strings, got Tensor: {IDS}", tokens=list(torch.arange(7))),
        refused(f"tokens must be strings, got bytes: {IDS}", tokens=[b"a"] * 7),
        refused(f"tokens[0] must be strings, got int: {IDS}", tokens=[list(range(7))]),
        refused(f"tokens['a'] must be strings, got int: {IDS}", {"a": SELF}, {"a": list(range(7))}),
        refused(f"queries must be strings, got int: {IDS}", queries=list(range(7))),
        refused("tokens must have the names of weights, 'a'.", {"a": SELF}, {"b": names(7)}),
        refused("queries must have the names of weights, 'a'.", {"a": SELF}, {"a": names(7)}, queries=names(7)),
        refused("tokens['a'] must name each of the 7 keys, got 5.", {"a": SELF}, {"a": names(5)}),
        refused("weights[1] must lie between 0 and 1, got 2.", [SELF, SELF[:, :1] * 0 + 2], [names(7)] * 2),
        refused(
            "weights must have 2 layers of 3 heads in every text, got 2 of 1.", [SELF, SELF[:, :1]], [names(7)] * 2
        ),
        refused("layer must be an integer from 0 to 1, got 2.", layer=2),
        refused("head must be an integer from 0 to 2, got -1.", head=-1),
        refused("causal must be True or False, got 1.", causal=1),
        refused("weights must be zero above the diagonal if causal, got 0.9", causal=True),
        refused(
            "weights must be zero above the diagonal if causal, got queries of another text.",
            causal=True,
            queries=names(7),
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(weights, tokens, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as raised:
        explore(weights, tokens, **options)
    assert str(raised.value).endswith(".")


def test_the_texts_together_are_held_to_the_limit(monkeypatch):
    monkeypatch.setattr(texts, "MOST_WEIGHTS", 500)
    with pytest.raises(ValueError, match="at most 500 numbers in all, got 588: show"):
        explore([SELF, SELF], [names(7)] * 2)


# The file


def test_a_file_is_small_beside_its_data_and_names_no_address(tmp_path):
    file = explore(heads(6, 12, 31, 31), names(31)).save(tmp_path / "heads.html")
    _, data = embedded(file)
    text = file.read_text(encoding="utf8")
    assert data >= 2 * 72 * 31 * 31
    assert len(text.encode()) - data <= BESIDE
    print(f"{len(text.encode()) - data:,} bytes beside the data")
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bsrc=|\bhref=|@import|url\(|\bimport\b[^;\n]*from", text)
    assert "default-src 'none'" in text


def test_what_tokens_and_titles_hold_is_text(tmp_path):
    tokens = ["</script>", "<!--", '"', "\\", "\n", "é𝛼", "\ud83d"]
    file = explore(SELF, tokens).save(tmp_path / "heads.html", title="<b>&\"' {x}")
    found, _ = embedded(file)
    assert found["texts"][0]["tokens"] == ["</script>", "<!--", '"', "\\", "\\n", "é𝛼", "?"]
    page = BeautifulSoup(file.read_text(encoding="utf8"), "html.parser")
    assert page.title.string == page.h1.string == "<b>&\"' {x}"
    assert len(page("script")) == 3


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    view = explore(SELF, names(7))
    file = view.save(str(tmp_path / "heads.html"))
    before = file.read_bytes()

    def breaks(*arguments):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(explorer.Path, "replace", breaks)
    with pytest.raises(OSError, match="no space left"):
        view.save(file)
    assert [one.name for one in tmp_path.iterdir()] == ["heads.html"]
    assert file.read_bytes() == before


def test_a_file_that_cannot_be_written_is_refused_by_the_name_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    view = explore(SELF, names(7))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for kind, path, reason in [
        (FileNotFoundError, "missing/heads.html", errno.ENOENT),
        (IsADirectoryError, "folder", errno.EISDIR),
        (IsADirectoryError, tmp_path, errno.EISDIR),
        (IsADirectoryError, "", errno.EISDIR),
        (NotADirectoryError, "file/heads.html", errno.ENOTDIR),
    ]:
        said = f"path must be a file that can be written, got {os.fspath(path)!r}: {os.strerror(reason)}."
        with pytest.raises(kind) as raised:
            view.save(path)
        assert str(raised.value) == f"[Errno {reason}] {said}"
        assert raised.value.errno == reason
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_refuses_is_told_by_the_name_given(tmp_path, monkeypatch):
    """As a user's own: to the one who may do all, no folder refuses."""

    def refuses(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(explorer.Path, "write_text", refuses)
    with pytest.raises(PermissionError, match=r"written, got 'heads\.html': Permission denied\.$"):
        explore(SELF, names(7)).save("heads.html")


def test_without_a_widget_it_is_a_page_within_the_page():
    frame = BeautifulSoup(explore(SELF, names(7), layer=1)._repr_html_(), "html.parser").iframe
    assert frame["sandbox"] == ["allow-scripts"] or frame["sandbox"] == "allow-scripts"
    page = BeautifulSoup(frame["srcdoc"], "html.parser")
    assert json.loads(page.find("script", id="choice").string)["layer"] == 1
    assert page.h1 is None
    assert page.main.get_text(strip=True).startswith("These heads are drawn by a script")


# The scripts


def test_the_site_and_a_file_have_one_script():
    """But for the line that gives the site's element its name."""
    site = (ROOT / "surgeon/instruments/static/head-explorer/head-explorer.mjs").read_text(encoding="utf8")
    (defined,) = [line for line in site.splitlines(keepends=True) if "customElements" in line]
    assert element_script("head-explorer") == site.replace(defined, "")
    assert head_explorer_script().startswith(element_script("head-explorer"))


def test_a_script_that_imports_another_has_it_before():
    joined = element_script("operating-table")
    assert "import" not in re.findall(r"^\w+", joined, re.MULTILINE)
    assert joined.index("export function operate(") < joined.index("class OperatingTable")
    assert "customElements" not in joined


def test_the_dark_follows_what_is_around():
    for name in ("head-explorer", "operating-table"):
        assert "html[" not in style(name)
        assert f'.surgeon-instrument[data-theme="dark"] {name} {{' in style(name)
