import math
import re

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from oracle import CAUSAL, CONVENTIONS, normal

from surgeon.anatomy.masks import create_causal_mask
from surgeon.anatomy.softmax import stable_softmax
from surgeon.imaging.cells import MANY
from surgeon.imaging.heatmaps import (
    plot_attention_heatmap,
    plot_matrix,
    plot_multihead_attention,
)
from surgeon.imaging.style import (
    PALE,
    PALETTE,
    PAPER,
    SCORES,
    VERMILION,
    WEIGHTS,
    house_style,
    new_figure,
)
from surgeon.imaging.words import describe_attention

TOKENS = ["the", "surgeon", "cut", "the", "wire"]
SEVEN = ["le", "chirurgien", "coupe", "un", "fil", "très", "fin"]


pytestmark = pytest.mark.usefixtures("nothing_global")


def weights_of(*shape, mask=None, dtype=torch.float64):
    scores = 2 * normal(*shape, grad=False)
    return stable_softmax(scores if mask is None else scores + mask).to(dtype)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def printed(ax):
    """Text by (row, column)."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}


def covered(ax, shape, hatched=True):
    """The cells that lie under rectangles."""
    cells = torch.zeros(shape, dtype=torch.bool)
    for patch in ax.patches:
        if bool(patch.get_hatch()) == hatched:
            left, top, width, height = (*patch.get_xy(), patch.get_width(), patch.get_height())
            rows, columns = slice(round(top + 0.5), round(top + 0.5 + height)), slice(round(left + 0.5), None)
            cells[rows, columns][:, : round(width)] = True
    return cells


def luminance(rgba):
    c = np.asarray(rgba)[..., :3]
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722])


def lightness(rgba):
    return 116 * np.cbrt(luminance(rgba)) - 16


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


def test_it_is_called_as_the_brief_calls_it():
    ax = plot_attention_heatmap(weights_of(5, 5), TOKENS, "By position")
    assert ax.get_title() == "By position"
    fig = plot_multihead_attention(weights_of(3, 5, 5), TOKENS, 3)
    assert isinstance(fig, Figure)


def test_queries_and_keys_have_their_own_names():
    ax = plot_attention_heatmap(weights_of(5, 7), TOKENS, key_tokens=SEVEN)
    assert labels(ax.yaxis) == TOKENS
    assert labels(ax.xaxis) == SEVEN
    assert ax.images[0].get_array().shape == (5, 7)


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
    ax = plot_attention_heatmap(weights, ["a", "b"], vmax=1.5)
    assert ax.images[0].get_clim() == (0, 1.5)


def test_nan_is_black_and_says_so():
    weights = weights_of(5, 5, mask=create_causal_mask(5))
    weights[1] = math.nan  # as a softmax may leave it, behind the mask too
    ax = plot_attention_heatmap(weights, TOKENS, mask=create_causal_mask(5))
    black = covered(ax, (5, 5), hatched=False)
    assert torch.equal(black, weights.isnan())
    assert [printed(ax)[1, j] for j in range(5)] == ["NaN"] * 5
    assert torch.equal(covered(ax, (5, 5)), ~CAUSAL & ~weights.isnan())
    ax.figure.draw_without_rendering()


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


def test_equal_steps_of_weight_are_equal_steps_of_lightness():
    steps = lightness(WEIGHTS(np.linspace(0, 1, 101)))
    assert np.abs(steps - np.linspace(steps[0], steps[-1], 101)).max() < 1.5
    assert steps[0] > 96
    assert steps[-1] < 17


def test_scores_darken_alike_on_both_sides_of_a_pale_zero():
    steps = lightness(SCORES(np.linspace(0, 1, 257)))
    assert np.abs(steps - steps[::-1]).max() < 1.5
    assert np.abs(steps[128:] - np.linspace(97.5, 30, 129)).max() < 2
    orange, blue = SCORES(np.linspace(0, 0.4, 50)), SCORES(np.linspace(0.6, 1, 50))
    assert (orange[:, 0] > orange[:, 2]).all()  # red over blue, which no kind of colour blindness confuses
    assert (blue[:, 0] < blue[:, 2]).all()


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


def test_a_figure_in_the_house_style_is_opaque_and_legible():
    fig, ax = new_figure()
    assert isinstance(ax, Axes)
    assert fig.get_facecolor() == ax.get_facecolor() == to_rgba(PAPER)
    assert fig.get_size_inches()[0] == 6.4
    (line,) = ax.plot([1, 2, 3])
    (named,) = ax.plot([3, 2, 1], color=VERMILION)
    assert to_rgba(line.get_color()) == to_rgba(PALETTE[0])
    assert line.get_linewidth() == named.get_linewidth() == 2
    fig.draw_without_rendering()
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) >= 10
    _, axes = new_figure(2, 3, size=(5, 7), sharey=True)
    assert axes.shape == (2, 3)
    assert axes[0, 0].figure.get_size_inches().tolist() == [5, 7]
    assert axes[0, 0].get_shared_y_axes().joined(axes[0, 0], axes[1, 2])


def test_the_style_is_what_rc_context_takes():
    with matplotlib.rc_context(house_style()):
        assert matplotlib.rcParams["svg.fonttype"] == "path"
        assert matplotlib.rcParams["font.size"] >= 10
    house_style()["font.size"] = 1
    assert house_style()["font.size"] >= 10


def test_every_colour_of_the_palette_can_be_told_from_paper_and_from_the_others():
    light = lightness([to_rgba(colour) for colour in PALETTE])
    contrast = 1.05 / (luminance([to_rgba(colour) for colour in PALETTE]) + 0.05)
    assert contrast[:3].min() >= 3  # WCAG 2, for lines
    assert len(set(light.round())) == len(PALETTE)


def test_a_description_says_what_is_seen():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.125, 0.875]])
    assert describe_attention(weights, ["the", "cut", "the"], mask=create_causal_mask(3)) == (
        "Heat map of attention weights, 3 queries in rows by 3 keys in columns. "
        "3 of 9 cells are blocked, and hatched. "
        'The largest weight is 1.00, from "the" at 0 to "the" at 0; 88% of the weight lies on the diagonal. '
        'Strongest key of each query: "the" at 0 to "the" at 0 1.00, "cut" to "cut" 0.75, '
        '"the" at 2 to "the" at 2 0.88.'
    )
    holed = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    text = describe_attention(holed, ["a", "b"], key_tokens=["x", "y", "z"])
    assert '"a" to none, "b" to "y" 0.50.' in text
    assert "50% of the weight lies on the diagonal" in text
    assert "blocked" not in text
    holed[0] = math.nan
    assert "3 of 6 cells hold NaN, and are black." in describe_attention(holed, ["a", "b"], key_tokens=["x", "y", "z"])
    assert "Strongest" not in describe_attention(weights_of(11, 11), range(11))


def test_a_description_of_a_grid_goes_head_by_head():
    text = describe_attention(torch.stack([torch.eye(3), torch.eye(3)[[1, 2, 0]]]), ["a", "b", "c"])
    assert text == (
        "Grid of 2 heat maps of attention weights, one a head, 3 queries in rows by 3 keys in columns. "
        'Head 0: the largest weight is 1.00, from "a" to "a"; 100% of the weight lies on the diagonal. '
        'Head 1: the largest weight is 1.00, from "a" to "b"; 0% of the weight lies on the diagonal.'
    )


def heat(weights=None, tokens=TOKENS, **given):
    weights = weights_of(5, 5) if weights is None else weights
    return lambda: plot_attention_heatmap(weights, tokens, **given)


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
        (lambda: new_figure(0), "rows must be an integer of at least 1, got 0."),
        (lambda: new_figure(1, True), "columns must be an integer of at least 1, got True."),
        (
            lambda: describe_attention(torch.ones(1, 1, 1, 1), ["a"]),
            "attention_weights must have shape [queries, keys] or [num_heads, queries, keys], none of them 0, "
            "got [1, 1, 1, 1].",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
