"""What pages say: claims with their bounds, sources with their links, figures; and all of it as text."""

import base64
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from surgeon import MultiHeadAttention, as_additive, attention, create_causal_mask, naive_softmax, stable_softmax
from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.groups import attend_in_groups
from surgeon.anatomy.mask_reading import zeros_block
from surgeon.book import page
from surgeon.book.page import ClaimError, claim, figure, source
from surgeon.models.transformer import predict


@pytest.fixture
def shown(monkeypatch):
    """What the page displayed, as bundles."""
    bundles = []
    monkeypatch.setattr(
        page, "display", lambda thing: bundles.append(thing._repr_mimebundle_() | {"repr": repr(thing)})
    )
    return bundles


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (3, {"at_least": 3}),
        (3, {"at_most": 3}),
        (3, {"within": (3, 3)}),
        (0.5, {"at_least": 0, "at_most": 1}),
        (torch.tensor(0.25), {"at_most": 0.25}),
        (np.float64(0.25), {"at_least": 0.25}),
        (True, {}),
        (True, {"at_least": 1}),
        (np.bool_(True), {}),
        (np.array(True), {}),
        (torch.tensor(True), {}),
        ((torch.ones(3) == 1).all(), {}),
        (np.int64(3), {"within": (np.int64(2), np.float32(3.5))}),
        (torch.tensor(3), {"at_least": torch.tensor(3)}),
    ],
    ids=repr,
)
def test_a_claim_that_holds_is_shown_and_hands_its_value_back(shown, value, bounds):
    assert claim("It holds.", value, **bounds) is value
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (2, {"at_least": 3}, "'So it is.' does not hold: measured 2, claimed at least 3."),
        (0.123456, {"at_most": 0.1}, "'So it is.' does not hold: measured 0.1235, claimed at most 0.1."),
        (5, {"within": (1, 2)}, "'So it is.' does not hold: measured 5, claimed between 1 and 2."),
        (math.nan, {"at_most": 1}, "'So it is.' does not hold: measured nan, claimed at most 1."),
        (math.inf, {"at_most": 1}, "'So it is.' does not hold: measured inf, claimed at most 1."),
        (math.nan, {"at_least": 1}, "'So it is.' does not hold: measured nan, claimed at least 1."),
        (
            torch.tensor(math.nan),
            {"within": (0, 1)},
            "'So it is.' does not hold: measured nan, claimed between 0 and 1.",
        ),
        (1, {"at_most": math.nan}, "'So it is.' does not hold: measured 1, claimed at most nan."),
        (False, {}, "'So it is.' does not hold: measured False, claimed true."),
        (np.bool_(False), {}, "'So it is.' does not hold: measured False, claimed true."),
        ((torch.ones(3) == torch.arange(3)).all(), {}, "'So it is.' does not hold: measured False, claimed true."),
    ],
)
def test_a_claim_that_fails_names_statement_value_and_bound_and_shows_nothing(shown, value, bounds, message):
    with pytest.raises(ClaimError, match=f"^{re.escape(message)}$"):
        claim("So it is.", value, **bounds)
    assert not shown


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (1.0, {}, "claim needs a bound for the number 1.0: at_least, at_most or within."),
        (np.float64(1), {}, "claim needs a bound for the number np.float64(1.0): at_least, at_most or within."),
        (torch.tensor(1.0), {}, "claim needs a bound for the number tensor(1.): at_least, at_most or within."),
        (torch.tensor([True]), {}, "claim needs one truth, got an array of shape [1]."),
        (np.ones((2, 3), dtype=bool), {}, "claim needs one truth, got an array of shape [2, 3]."),
        (torch.ones(3), {"at_least": 1}, "claim needs one number, got an array of shape [3]."),
        (1, {"at_least": 2, "at_most": 1}, "claim must have bounds in order, got 2 and 1."),
        (1, {"within": (2, 1)}, "claim must have bounds in order, got 2 and 1."),
        (1, {"within": (0, 1), "at_most": 1}, "claim takes within, or at_least and at_most, got both."),
        (1, {"at_least": math.nan, "at_most": 1}, "claim must have bounds in order, got nan and 1."),
    ],
)
def test_claims_need_bounds_that_make_sense(value, bounds, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        claim("So it is.", value, **bounds)


def test_a_claim_carries_its_parts_for_the_ledger(shown):
    claim("Weights of `softmax` & co < 1.", 0.0625, at_most=0.5)
    claim("Another.", True)
    tag = BeautifulSoup(shown[0]["text/html"], "html.parser").p
    assert tag["class"] == ["claim"]
    assert tag.select_one(".claim-statement").decode_contents() == "Weights of <code>softmax</code> &amp; co &lt; 1."
    assert tag.select_one(".claim-value").text == "0.0625"
    assert tag.select_one(".claim-bound").text == "at most 0.5"
    assert shown[0]["repr"] == "✓ Weights of `softmax` & co < 1. 0.0625 (at most 0.5)"
    other = BeautifulSoup(shown[1]["text/html"], "html.parser").p
    assert other["id"] != tag["id"]
    assert other.select_one(".claim-value") is None


def test_what_a_claim_says_is_text_and_no_markup(shown):
    """The page holds what was written, and nothing that a browser would take for an element."""
    claim('<b>Bold</b> & "quoted" isn\'t `<script>`.', -0.5, within=(-1, 0))
    html = shown[0]["text/html"]
    statement = "&lt;b&gt;Bold&lt;/b&gt; &amp; &quot;quoted&quot; isn&#x27;t <code>&lt;script&gt;</code>."
    assert f'<span class="claim-statement">{statement}</span>' in html
    assert '<span class="claim-value">-0.5</span> <span class="claim-bound">between -1 and 0</span>' in html
    assert set(re.findall(r"</?(\w+)", html)) == {"p", "span", "code"}
    assert shown[0]["text/plain"].startswith('✓ <b>Bold</b> & "quoted" isn\'t `<script>`.')


def test_what_a_figure_says_is_text_and_no_markup(shown):
    text = '<i>a</i> & "b" isn\'t c'
    figure(Figure(), text, text)
    html = shown[0]["text/html"]
    escaped = "&lt;i&gt;a&lt;/i&gt; &amp; &quot;b&quot; isn&#x27;t c"
    assert f'alt="{escaped}"' in html
    assert f"<figcaption>{escaped}</figcaption>" in html
    assert set(re.findall(r"</?(\w+)", html)) == {"figure", "img", "figcaption"}


def test_a_bound_is_shown_with_all_the_digits_it_has(shown):
    claim("Close to one.", 1.0, within=(1 - 1e-6, 1 + 1e-9))
    assert "between 0.999999 and 1.000000001" in shown[0]["text/html"]


def test_source_is_the_file_without_docstrings(shown):
    source(stable_softmax, MultiHeadAttention)
    softmax, heads = (bundle["text/plain"] for bundle in shown)
    assert softmax.splitlines()[0] == "def stable_softmax(scores: Tensor, dim: int = -1) -> Tensor:"
    assert re.fullmatch(r"    \w.+", softmax.splitlines()[1])  # no line is left of what was taken out
    assert '"""' not in softmax + heads
    assert "# [B, H, T, d]" in heads
    namespace = dict(vars(__import__("surgeon.anatomy.softmax", fromlist=["*"])))
    exec(softmax, namespace)  # still a function, and the same one
    row = torch.tensor([1.0, 2.0])
    assert torch.equal(namespace["stable_softmax"](row), stable_softmax(row))
    assert re.search(
        r"\[`surgeon/anatomy/softmax.py`, line \d+\]\(https://github.com/.+#L\d+-L\d+\)", shown[0]["text/markdown"]
    )


def test_source_links_to_the_lines_where_the_function_is(shown):
    source(attention)
    first, last = map(int, re.search(r"#L(\d+)-L(\d+)", shown[0]["text/markdown"]).groups())
    lines = (page.PACKAGE / "anatomy" / "dot_product.py").read_text().splitlines()
    assert lines[first - 1].startswith("def attention(")
    assert "return stages.output" in lines[last - 1]


@pytest.mark.parametrize(
    ("given", "branch"),
    [({}, "main"), ({"SURGEON_BRANCH": ""}, "main"), ({"SURGEON_BRANCH": "print/2nd"}, "print/2nd")],
    ids=["unset", "empty", "set"],
)
def test_source_links_to_the_branch_that_the_book_is_built_from(given, branch):
    """Of a repository that is somebody else's, too."""
    code = "from surgeon.book import page\nprint(page.REPOSITORY, page.BRANCH, page.link('surgeon/x.py', 3, 5))"
    known = {name: value for name, value in os.environ.items() if name not in ("SURGEON_BRANCH", "GITHUB_REPOSITORY")}
    env = known | {"GITHUB_REPOSITORY": "you/yours"} | given
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    url = f"https://github.com/you/yours/blob/{branch}/surgeon/x.py#L3-L5"
    assert done.stdout == f"you/yours {branch} {url}\n"


def test_source_shows_a_link_to_what_it_shows(shown, monkeypatch):
    monkeypatch.setattr(page, "BRANCH", "print/2nd")
    source(attention)
    url = re.search(r"\]\((.+)\)$", shown[0]["text/markdown"])[1]
    assert re.fullmatch(
        rf"https://github.com/{page.REPOSITORY}/blob/print/2nd/surgeon/anatomy/dot_product.py#L\d+-L\d+", url
    )


def fences():
    return """
```python
```
"""


def test_code_that_holds_a_fence_stays_in_its_own(shown, monkeypatch):
    monkeypatch.setattr(page, "PACKAGE", Path(__file__).parent)
    source(fences)
    code, markdown = shown[0]["text/plain"], shown[0]["text/markdown"]
    assert "```" in code
    assert markdown.startswith(f"````python\n{code}\n````\n")


def test_source_sees_through_a_decorator(shown):
    source(predict)
    assert shown[0]["text/plain"].startswith("@torch.no_grad()\ndef predict(")


def steps(x):
    """What is none: # 1. a line of text."""
    x = x.clone()
    # 1. A step whose block goes on
    #    with a comment.
    if x.any():
        y = x  # 2. Beside code, no step begins.
        # 3. Within a block: it ends where that does.
        y = y + 1
    z = y @ y
    # 4. A blank line ends it.
    z = 2 * z

    z = 3 * z
    for _ in range(2):
        # 5. Its number stands twice.
        z = z + 1
        # 5. So nobody can ask for it.
        z = z + 1
    # 6. The last one goes to the end.
    return z


class Stepping:
    def forward(self, x):
        # 1. In a method.
        return x


def first_lines(x):
    return x


STEPS = {
    "1": """\
# 1. A step whose block goes on
#    with a comment.
if x.any():
    y = x  # 2. Beside code, no step begins.""",
    "3": """\
# 3. Within a block: it ends where that does.
y = y + 1""",
    "4": """\
# 4. A blank line ends it.
z = 2 * z""",
    "6": """\
# 6. The last one goes to the end.
return z""",
    ("3", "4"): """\
    # 3. Within a block: it ends where that does.
    y = y + 1
z = y @ y
# 4. A blank line ends it.
z = 2 * z""",
}


@pytest.mark.parametrize("part", STEPS, ids=str)
def test_a_part_is_a_numbered_step_of_the_function_and_the_link_leads_to_its_lines(shown, monkeypatch, part):
    monkeypatch.setattr(page, "PACKAGE", Path(__file__).parent)
    source(steps, part=part)
    code, markdown = shown[0]["text/plain"], shown[0]["text/markdown"]
    assert code == STEPS[part]
    assert markdown.startswith(f"```python\n{code}\n```\n\n[`book/test_page.py`, lines ")
    said, linked = re.search(r"lines (\d+–\d+)\]\(", markdown)[1], re.search(r"#L(\d+)-L(\d+)\)$", markdown)
    first, last = map(int, linked.groups())
    assert said == f"{first}–{last}"
    assert textwrap.dedent("\n".join(Path(__file__).read_text().splitlines()[first - 1 : last])) == code


def test_a_part_of_a_method_is_found_by_the_method_and_by_its_class(shown, monkeypatch):
    monkeypatch.setattr(page, "PACKAGE", Path(__file__).parent)
    source(Stepping.forward, part="1")
    source(Stepping, part="1")
    assert shown[0]["text/plain"] == "# 1. In a method.\nreturn x"
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("thing", "part", "message"),
    [
        (steps, "2", "part must be a numbered step of steps (1, 3, 4, 6), got '2'."),
        (steps, "5", "part must be a numbered step of steps (1, 3, 4, 6), got '5'."),
        (steps, ("1", "7"), "part must be a numbered step of steps (1, 3, 4, 6), got '7'."),
        (steps, ("4", "3"), "part must name steps of steps in their order, got ('4', '3')."),
        (steps, (), "part must name a step of steps, got ()."),
        (first_lines, "1", "part must be a numbered step of first_lines (it has none), got '1'."),
    ],
    ids=["between two", "the last one's next", "one of two", "out of order", "none", "of none"],
)
def test_a_part_that_is_not_there_is_refused(shown, monkeypatch, thing, part, message):
    monkeypatch.setattr(page, "PACKAGE", Path(__file__).parent)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        source(thing, part=part)
    assert not shown


@pytest.mark.parametrize("things", [(), (attention, stable_softmax)], ids=len)
def test_a_part_is_of_one_function(shown, things):
    with pytest.raises(ValueError, match=rf"^part must come with one function, got {len(things)}\.$"):
        source(*things, part="1")
    assert not shown


# What pages show one by one. A number or two may be added, none may go.
SHOWN = {
    attend: "12345",
    naive_softmax: "12",
    stable_softmax: "123",
    create_causal_mask: "12",
    as_additive: "12",
    zeros_block: "12",
    attend_in_groups: "1234",
    MultiHeadAttention.forward: "1234",
}


@pytest.mark.parametrize("function", SHOWN, ids=lambda function: function.__qualname__)
def test_the_functions_of_anatomy_have_steps_that_fit_a_page(shown, function):
    for number in SHOWN[function]:
        source(function, part=number)
    for bundle in shown:
        lines = bundle["text/plain"].splitlines()
        assert 2 <= len(lines) <= 7
        assert max(map(len, lines)) <= 74


@pytest.mark.parametrize("thing", [torch.softmax, len, 3, torch.nn.Linear])
def test_source_shows_only_what_is_ours(thing):
    with pytest.raises(ValueError, match=r"^source needs a function or class of surgeon, got "):
        source(thing)


def test_a_figure_carries_its_caption_and_alternative_text(shown):
    fig = Figure(figsize=(5, 3))
    fig.subplots().plot([0, 1], [0, 1])
    figure(fig, "A line `y = x` & no more.", 'A "line" from 0 to 1.')
    tag = BeautifulSoup(shown[0]["text/html"], "html.parser").figure
    assert tag.img["alt"] == 'A "line" from 0 to 1.'
    assert (tag.img["width"], tag.img["height"]) == ("480", "288")
    assert tag.figcaption.decode_contents() == "A line <code>y = x</code> &amp; no more."
    svg = base64.b64decode(tag.img["src"].removeprefix("data:image/svg+xml;base64,"))
    assert b"<svg" in svg
    figure(fig, "A line `y = x` & no more.", 'A "line" from 0 to 1.')
    assert shown[0] == shown[1]


@pytest.mark.parametrize(("caption", "alt", "name"), [(" ", "x", "caption"), ("x", "", "alt")])
def test_a_figure_must_be_described(caption, alt, name):
    with pytest.raises(ValueError, match=rf"^{name} must say something, got an empty text.$"):
        figure(Figure(), caption, alt)
