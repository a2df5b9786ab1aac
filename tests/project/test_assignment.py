"""The assignment: its text is a page of the book, with answers; its names are called as it calls them."""

import hashlib
import math
import re

import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from oracle import normal, reference
from small_book import ROOT

from surgeon import (
    analyze_attention_patterns,
    attention,
    compare_masking,
    create_causal_mask,
    create_reverse_mask,
    experiment_scaling_factor,
    plot_attention_heatmap,
    plot_multihead_attention,
)

PAGE = (ROOT / "book/reference/assignment.md").read_text(encoding="utf8")
ANSWER = re.compile(r"\n *:::\{container\} answered\n(.*?)\n *:::\n", re.DOTALL)
DIGEST = "69079e5af48898ca34ca0a10aceb67c7fd8f39c1932e8d5a045edea6c24042d4"

TOKENS = ["the", "surgeon", "cut", "the", "wire"]
LOWER = torch.ones(5, 5).tril()


def answer(line: str) -> str:
    """What stands directly below a line of the assignment."""
    _, _, below = PAGE.partition(f"\n{line}\n")
    found = ANSWER.match(below)
    assert found, line
    return found[1]


def test_the_page_has_the_assignments_text_word_for_word():
    """The lines may break elsewhere, and headings are further down."""
    text = ANSWER.sub("\n", PAGE).partition("\n## ")[2]
    letters = re.sub(r"\s", "", re.sub(r"^#+", "", text, flags=re.MULTILINE))
    assert hashlib.sha256(letters.encode()).hexdigest() == DIGEST


def below(heading: str) -> list[str]:
    """The items of the list in a section of the assignment."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^(?:- |\d\. ).*", section, re.MULTILINE)


@pytest.mark.parametrize("heading", ["Deliverables", "Bonus Challenges", "Learning Objectives"])
def test_everything_that_was_to_be_done_leads_to_where_it_is(heading):
    items = below(heading)
    assert len(items) == {"Deliverables": 8, "Bonus Challenges": 5, "Learning Objectives": 4}[heading]
    for item in items:
        assert re.search(r"\]\(\.\./(anatomy|imaging|ablations|procedures)/", answer(item)), item


TASKS = re.findall(r"^#+ (?:Task [12]|\d[abc]\.).*", PAGE, re.MULTILINE)
CHECKS = re.findall(r"^- Hint: .*", PAGE, re.MULTILINE)


def test_tasks_and_hints_lead_there_and_traps_say_what_misleads():
    assert (len(TASKS), len(CHECKS)) == (8, 4)
    assert all("](../" in answer(line) for line in TASKS + CHECKS)
    traps = re.findall(r"\*\*A trap\.\*\*", PAGE)
    assert len(traps) >= 12
    for hint in CHECKS:
        assert "**A trap.**" in answer(hint), hint


@pytest.fixture
def matrices():
    return normal(2, 5, 7, grad=False), normal(2, 5, 7, seed=1, grad=False), normal(2, 5, 11, grad=False)


@pytest.mark.parametrize(
    "mask",
    [
        create_causal_mask(5),
        LOWER,
        LOWER.bool(),
        LOWER.long(),
        LOWER.expand(2, 5, 5),
        create_causal_mask(5, device="cpu"),
    ],
    ids=["additive", "0/1 float", "boolean", "integer", "[batch, seq, seq]", "with a device"],
)
def test_attention_with_each_form_of_mask(matrices, mask):
    output, attention_weights = attention(*matrices, mask, True)
    assert output.shape == (2, 5, 11)
    assert attention_weights.shape == (2, 5, 5)
    torch.testing.assert_close(output, reference(*matrices, LOWER.bool()))
    torch.testing.assert_close(attention(*matrices, mask=mask, scale=True)[0], output)


def test_attention_without_mask_or_scale(matrices):
    torch.testing.assert_close(attention(*matrices)[0], reference(*matrices))
    torch.testing.assert_close(attention(*matrices, None, False)[0], reference(*matrices, scale=False))


def test_the_assignments_masking_line_on_its_own_causal_mask_does_the_opposite():
    """The collision that one reading of masks is there to end."""
    mask, scores = create_causal_mask(5), torch.zeros(5, 5)
    collided = scores.masked_fill(mask == 0, float("-inf"))
    assert torch.equal(collided == 0, ~LOWER.bool())
    weights = attention(torch.zeros(5, 1), torch.zeros(5, 1), torch.zeros(5, 1), mask)[1]
    assert torch.equal(weights > 0, LOWER.bool())


def test_masks_are_what_the_assignment_says():
    assert create_causal_mask(5).tolist() == [[0 if j <= i else -math.inf for j in range(5)] for i in range(5)]
    assert torch.equal(create_reverse_mask(5), create_causal_mask(5).T)


def test_plots(matrices):
    _, weights = attention(*matrices)
    assert isinstance(plot_attention_heatmap(weights[0], TOKENS, "A head"), Axes)
    assert plot_attention_heatmap(weights[0], TOKENS).get_title() == "Attention Weights"
    assert isinstance(plot_multihead_attention(weights, TOKENS, 2), Figure)


def test_statistics(matrices):
    found = analyze_attention_patterns(attention(*matrices)[1])
    assert list(found) == ["max_attention", "entropy", "diagonal_mass", "local_vs_global"]
    assert all(isinstance(value, float) for value in found.values())


def test_experiments():
    table = experiment_scaling_factor(d_k_values=[16, 64])
    assert isinstance(table, pd.DataFrame)
    assert sorted(set(table["d_k"])) == [16, 64]
    small = {"steps": 1, "length": 11, "d_model": 4, "num_heads": 1, "num_layers": 1, "held_out": 2}
    assert list(compare_masking(**small).summary["mask"]) == ["causal", "none", "reverse"]
