"""Cells: what is blocked or broken looks it, names and values stand where there is room for them."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from oracle import CAUSAL, CONVENTIONS
from pictures import SEVEN, TOKENS, covered, labels, luminance, printed, weights_of

from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.cells import MANY
from surgeon.imaging.heatmaps import plot_attention_heatmap, plot_matrix
from surgeon.imaging.style import PALE, new_figure

pytestmark = pytest.mark.usefixtures("nothing_global")


@pytest.mark.parametrize("name", CONVENTIONS)
def test_blocked_cells_are_hatched_and_hold_no_number(name):
    weights = weights_of(5, 5, mask=create_causal_mask(5))
    ax = plot_attention_heatmap(weights, TOKENS, mask=CONVENTIONS[name])
    assert torch.equal(covered(ax, (5, 5)), ~CAUSAL)
    assert all(patch.get_facecolor() == to_rgba(PALE) for patch in ax.patches)
    assert set(printed(ax)) == {(i, j) for i in range(5) for j in range(i + 1)}
    assert plot_attention_heatmap(weights, TOKENS).patches[:] == []


def test_a_mask_with_holes_is_covered_run_by_run():
    mask = torch.tensor([[0, 1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
    weights = mask / mask.sum(-1, keepdim=True).clamp(min=1)
    ax = plot_attention_heatmap(weights, ["a", "b", "c"], key_tokens=SEVEN, mask=mask)
    assert torch.equal(covered(ax, (3, 7)), mask == 0)
    assert len(ax.patches) == 4


@pytest.mark.parametrize(("count", "inches"), [(5, 2.0), (11, 1.6), (13, 2.0), (19, 4.0), (31, 4.0)])
def test_names_are_no_higher_than_the_place_that_they_have(count, inches):
    _, ax = new_figure(size=(inches, inches))
    plot_matrix(weights_of(count, count), [str(n) for n in range(count)], ax=ax, colorbar=False)
    names = [name for name in ax.get_yticklabels() if name.get_text()]
    points = ax.get_window_extent().height / ax.figure.dpi * 72
    assert {name.get_fontsize() <= points / len(names) for name in names} == {True}


def test_few_values_are_printed_and_many_are_not():
    assert len(plot_attention_heatmap(weights_of(7, 7), SEVEN).texts) == 49
    assert len(plot_attention_heatmap(weights_of(11, 11), range(11)).texts) == 0
    assert len(plot_attention_heatmap(weights_of(11, 11), range(11), values=True).texts) == 121
    assert len(plot_attention_heatmap(weights_of(7, 7), SEVEN, values=False).texts) == 0
    _, (narrow, _, _) = new_figure(1, 3)
    assert len(plot_attention_heatmap(weights_of(7, 7), SEVEN, ax=narrow).texts) == 0  # no room


@pytest.mark.parametrize(("n", "count"), [(MANY, MANY), (MANY + 1, 14), (97, 14)])
def test_many_names_are_thinned(n, count):
    ax = plot_attention_heatmap(weights_of(n, n), [f"t{i}" for i in range(n)])
    shown = labels(ax.xaxis)
    assert len(shown) == count
    assert shown == labels(ax.yaxis) == [f"t{i}" for i in ax.get_xticks()]
    ax.figure.draw_without_rendering()


def test_names_are_no_formulas():
    tokens = ["$", "x$y", "a_b", "\n", "^"]
    ax = plot_attention_heatmap(weights_of(5, 5), tokens)
    ax.figure.draw_without_rendering()
    assert labels(ax.xaxis) == ["$", "x$y", "a_b", "\\n", "^"]
    assert not any(label.get_parse_math() for label in [*ax.get_xticklabels(), *ax.get_yticklabels()])


def test_long_names_are_turned():
    def turn(tokens):
        ax = plot_attention_heatmap(weights_of(len(tokens), len(tokens)), tokens)
        return ax.get_xticklabels()[0].get_rotation(), ax.get_yticklabels()[0].get_rotation()

    assert turn(TOKENS) == (0, 0)
    assert turn(["anaesthesiologist"] * 7) == (45, 0)
    assert turn(["anaesthesiologist"] * 31) == (90, 0)


def test_nan_is_black_and_says_so():
    weights = weights_of(5, 5, mask=create_causal_mask(5))
    weights[1] = math.nan  # as a softmax may leave it, behind the mask too
    ax = plot_attention_heatmap(weights, TOKENS, mask=create_causal_mask(5))
    black = covered(ax, (5, 5), hatched=False)
    assert torch.equal(black, weights.isnan())
    assert [printed(ax)[1, j] for j in range(5)] == ["NaN"] * 5
    assert torch.equal(covered(ax, (5, 5)), ~CAUSAL & ~weights.isnan())
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("draw", [plot_attention_heatmap, plot_matrix], ids=["weights", "scores"])
def test_printed_values_can_be_read_on_every_colour(draw):
    numbers = torch.linspace(0, 1, 101)[:, None]
    rows = [str(i) for i in range(101)]
    if draw is plot_matrix:
        ax = draw(2 * numbers - 1, rows, ["0"], values=True)
    else:
        ax = draw(numbers, rows, key_tokens=["0"], values=True)
    (image,) = ax.images
    ground = luminance(image.cmap(image.norm(image.get_array()[:, 0])))
    ink = luminance([to_rgba(text.get_color()) for text in ax.texts])
    contrast = (np.maximum(ground, ink) + 0.05) / (np.minimum(ground, ink) + 0.05)
    assert len(ink) == 101
    assert contrast.min() >= 4.5
