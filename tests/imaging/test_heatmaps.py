"""Heat maps, grids of them and matrices of scores: what is drawn is what came."""

import math
import re

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pictures import SEVEN, TOKENS, covered, labels, printed, weights_of

from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.heatmaps import plot_attention_heatmap, plot_matrix, plot_multihead_attention
from surgeon.imaging.style import SCORES, new_figure

pytestmark = pytest.mark.usefixtures("nothing_global")


def test_a_heat_map_shows_the_weights_with_queries_in_rows():
    weights = weights_of(5, 5)
    ax = plot_attention_heatmap(weights, TOKENS)
    (image,) = ax.images
    assert isinstance(ax, Axes)
    assert np.array_equal(image.get_array(), weights.numpy())
    assert image.get_clim() == (0, 1)
    assert image.origin == "upper"
    assert ax.get_title() == "Attention Weights"
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("query", "key")
    assert labels(ax.xaxis) == labels(ax.yaxis) == TOKENS  # "the" twice, each at its own place
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == [0, 1, 2, 3, 4]
    assert printed(ax) == {(i, j): f"{weights[i, j]:.2f}" for i in range(5) for j in range(5)}
    assert [other.get_ylabel() for other in ax.figure.axes] == ["query", "weight"]
    ax.figure.draw_without_rendering()


def test_it_is_called_as_the_assignment_calls_it():
    ax = plot_attention_heatmap(weights_of(5, 5), TOKENS, "By position")
    assert ax.get_title() == "By position"
    fig = plot_multihead_attention(weights_of(3, 5, 5), TOKENS, 3)
    assert isinstance(fig, Figure)


def test_queries_and_keys_have_their_own_names():
    ax = plot_attention_heatmap(weights_of(5, 7), TOKENS, key_tokens=SEVEN)
    assert labels(ax.yaxis) == TOKENS
    assert labels(ax.xaxis) == SEVEN
    assert ax.images[0].get_array().shape == (5, 7)


def test_it_draws_where_it_is_told_to():
    fig, (left, right) = new_figure(columns=2)
    assert plot_attention_heatmap(weights_of(5, 5), TOKENS, ax=right, colorbar=False) is right
    assert plot_matrix(weights_of(5, 5), TOKENS, TOKENS, ax=left, colorbar=False) is left
    assert fig.axes == [left, right]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_any_precision_and_a_graph_may_come(dtype):
    weights = weights_of(5, 5).to(dtype).requires_grad_()
    image = plot_attention_heatmap(weights, TOKENS).images[0]
    assert np.array_equal(image.get_array(), weights.detach().double().numpy())


def test_weights_after_dropout_need_a_longer_scale():
    weights = torch.tensor([[1.4, 0.0], [0.0, 0.7]])
    for scale in ({"vmax": 1.5}, {"vmin": -0.25, "vmax": 2.0}):
        ax = plot_attention_heatmap(weights, ["a", "b"], **scale)
        fig = plot_multihead_attention(weights.expand(3, 2, 2), ["a", "b"], 3, **scale)
        for image in (ax.images[0], *(panel.images[0] for panel in fig.axes[:3])):
            assert image.get_clim() == (scale.get("vmin", 0), scale["vmax"])
        assert fig.axes[3].get_ylim() == ax.figure.axes[1].get_ylim() == (scale.get("vmin", 0), scale["vmax"])


def test_a_grid_prints_values_where_it_is_asked_to():
    weights = weights_of(2, 5, 5)
    printing, silent = (plot_multihead_attention(weights, TOKENS, 2, values=values) for values in (True, False))
    for h in range(2):
        assert printed(printing.axes[h]) == {(i, j): f"{weights[h, i, j]:.2f}" for i in range(5) for j in range(5)}
        assert printed(silent.axes[h]) == {}


GRIDS = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2), 5: (2, 3), 12: (3, 4)}


@pytest.mark.parametrize(("H", "shape"), GRIDS.items(), ids=str)
def test_a_grid_shows_every_head_on_one_scale(H, shape):
    weights = weights_of(H, 5, 5)
    fig = plot_multihead_attention(weights, TOKENS, H)
    heads, bar = fig.axes[:H], fig.axes[H:]
    assert len(bar) == 1
    assert [ax.get_title() for ax in heads] == [f"Head {h}" for h in range(H)]
    for h, ax in enumerate(heads):
        assert np.array_equal(ax.images[0].get_array(), weights[h].numpy())
        assert ax.images[0].get_clim() == (0, 1)
        place = ax.get_subplotspec()
        assert place.get_gridspec().get_geometry() == shape
        assert (place.rowspan.start, place.colspan.start) == divmod(h, shape[1])
        edge = (h % shape[1] == 0, h + shape[1] >= H)  # names stand at the left, and where nothing is below
        assert (ax.get_ylabel() == "query", ax.get_xlabel() == "key") == edge
        assert (labels(ax.yaxis) == TOKENS, labels(ax.xaxis) == TOKENS) == edge
    fig.draw_without_rendering()


def test_a_grid_takes_one_mask_or_one_a_head():
    mask = torch.stack([create_causal_mask(5), create_causal_mask(5).T, torch.zeros(5, 5)])
    weights = weights_of(3, 5, 5, mask=mask)
    fig = plot_multihead_attention(weights, TOKENS, 3, mask=mask, titles=["a", "b", "c"], columns=1)
    assert [ax.get_title() for ax in fig.axes[:3]] == ["a", "b", "c"]
    assert fig.axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 1)
    for ax, blocked in zip(fig.axes, mask == -torch.inf, strict=False):
        assert torch.equal(covered(ax, (5, 5)), blocked)
    weights = weights_of(2, 5, 7, mask=torch.zeros(5, 7).index_fill(1, torch.tensor([3]), -torch.inf))
    fig = plot_multihead_attention(weights, TOKENS, 2, key_tokens=SEVEN, mask=torch.arange(7).expand(5, 7) != 3)
    for ax in fig.axes[:2]:
        assert covered(ax, (5, 7)).nonzero()[:, 1].tolist() == [3] * 5
        assert labels(ax.xaxis) == SEVEN


def test_scores_are_drawn_round_zero():
    scores = torch.tensor([[1.5, -torch.inf, -0.001], [-3.0, torch.inf, math.nan]])
    ax = plot_matrix(scores, ["a", "b"], ["x", "y", "z"], "Scores", xlabel="key", ylabel="query", digits=1)
    (image,) = ax.images
    assert image.get_clim() == (-3, 3)
    assert image.get_cmap() is SCORES
    assert np.array_equal(image.get_array().filled(9), torch.where(scores.isfinite(), scores, 9).numpy())
    assert printed(ax) == {(0, 0): "1.5", (0, 2): "0.0", (1, 0): "−3.0", (1, 1): "∞", (1, 2): "NaN"}
    assert torch.equal(covered(ax, (2, 3)), scores == -torch.inf)
    assert torch.equal(covered(ax, (2, 3), hatched=False), scores.isnan() | (scores == torch.inf))
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Scores", "key", "query")
    ax.figure.draw_without_rendering()


def test_a_matrix_may_have_no_names_and_no_spread():
    ax = plot_matrix(torch.zeros(2, 3, dtype=torch.int64), colorbar=False)
    assert labels(ax.xaxis) == ["0", "1", "2"]
    assert labels(ax.yaxis) == ["0", "1"]
    assert ax.images[0].get_clim() == (-1, 1)
    assert plot_matrix(torch.ones(2, 3), limit=5.0).images[0].get_clim() == (-5, 5)
    assert plot_matrix(torch.full((2, 3), -torch.inf)).images[0].get_clim() == (-1, 1)


def heat(weights=None, tokens=TOKENS, **given):
    weights = weights_of(5, 5) if weights is None else weights
    return lambda: plot_attention_heatmap(weights, tokens, **given)


def test_numpys_integers_are_integers():
    weights = weights_of(3, 5, 5)
    fig = plot_multihead_attention(weights, TOKENS, np.int64(3), columns=np.int8(2))
    assert fig.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)


def grid(weights=None, num_heads=3, **given):
    weights = weights_of(3, 5, 5) if weights is None else weights
    return lambda: plot_multihead_attention(weights, TOKENS, num_heads, **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (heat([[1.0]]), "attention_weights must be a floating-point tensor, got list."),
        (heat(torch.eye(5, dtype=torch.int64)), "attention_weights must be a floating-point tensor, got torch.int64."),
        (
            heat(torch.ones(2, 5, 5)),
            "attention_weights must have shape [queries, keys], none of them 0, got [2, 5, 5].",
        ),
        (heat(torch.ones(5, 0)), "attention_weights must have shape [queries, keys], none of them 0, got [5, 0]."),
        (heat(-torch.eye(5)), "attention_weights must lie between vmin and vmax (0 and 1), got -1."),
        (heat(1.25 * torch.eye(5)), "attention_weights must lie between vmin and vmax (0 and 1), got 1.25."),
        (heat(vmin=1.0), "vmin must be below vmax, got 1.0 and 1.0."),
        (heat(tokens="wires"), "tokens must be a sequence of 5 strings, got str."),
        (heat(tokens=None), "tokens must be a sequence of 5 strings, got NoneType."),
        (heat(tokens=TOKENS[:4]), "tokens must name each of the 5 queries, got 4."),
        (heat(key_tokens=SEVEN), "key_tokens must name each of the 5 keys, got 7."),
        (heat(weights_of(5, 7)), "key_tokens must name the 7 keys where there are 5 queries, got none."),
        (
            heat(torch.full((5, 5), 0.2), mask=create_causal_mask(5)),
            "attention_weights must be zero where the mask blocks, got 0.2 at [0, 1].",
        ),
        (heat(mask=create_causal_mask(7)), "mask must end in (queries, keys) = (5, 5), got shape [7, 7]."),
        (
            grid(weights_of(5, 5)),
            "attention_weights must have shape [num_heads, queries, keys], none of them 0, got [5, 5].",
        ),
        (grid(num_heads=2), "num_heads must be the first axis of attention_weights (3), got 2."),
        (grid(titles=["a", "b"]), "titles must name each of the 3 heads, got 2."),
        (grid(columns=0), "columns must be an integer of at least 1, got 0."),
        (grid(columns=1.5), "columns must be an integer of at least 1, got 1.5."),
        (
            lambda: plot_matrix(torch.ones(3)),
            "matrix must be a tensor of shape [rows, columns], none of them 0, got shape [3].",
        ),
        (lambda: plot_matrix([[1.0]]), "matrix must be a tensor of shape [rows, columns], none of them 0, got list."),
        (lambda: plot_matrix(torch.ones(2, 3), ["a"]), "row_labels must name each of the 2 rows, got 1."),
        (lambda: plot_matrix(torch.ones(2, 3), None, ["a"]), "column_labels must name each of the 3 columns, got 1."),
        (lambda: plot_matrix(torch.ones(2, 3), limit=0.0), "limit must be positive and finite, got 0.0."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
