"""Every head at a glance: thumbnails in their places, one scale, and words from the data."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from oracle import CAUSAL
from pictures import SEVEN, TOKENS, weights_of

from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.head_grids import BLOCKED, describe_heads, plot_all_heads
from surgeon.imaging.style import WEIGHTS

pytestmark = pytest.mark.usefixtures("nothing_global")


def test_each_head_has_its_thumbnail_in_its_layers_row_and_its_column():
    weights = weights_of(2, 3, 5, 5)
    fig = plot_all_heads(weights)
    ax, bar = fig.axes
    assert isinstance(fig, Figure)
    assert len(ax.images) == 6
    for image, (layer, head) in zip(ax.images, np.ndindex(2, 3), strict=True):
        left, right, bottom, top = image.get_extent()
        assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx((head, layer))
        assert bottom > top  # the first query is above the others
        assert right - left < 1
        assert np.allclose(image.get_array(), WEIGHTS(weights[layer, head].numpy()))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("head", "layer", "weight")
    assert list(ax.get_xticks()) == [0, 1, 2]
    assert list(ax.get_yticks()) == [0, 1]
    fig.draw_without_rendering()


def test_layers_of_few_heads_are_laid_side_by_side():
    """Five layers in two blocks: three rows, and the last block has two; room for the numbers between them."""
    weights = weights_of(5, 3, 5, 5)
    ax = plot_all_heads(weights, blocks=2).axes[0]
    for image, (layer, head) in zip(ax.images, np.ndindex(5, 3), strict=True):
        left, right, bottom, top = image.get_extent()
        block, row = divmod(layer, 3)
        assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx((head + 5 * block, row))
        assert np.allclose(image.get_array(), WEIGHTS(weights[layer, head].numpy()))
    assert list(ax.get_xticks()) == [0, 1, 2, 5, 6, 7]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2"] * 2
    assert list(ax.get_yticks()) == [0, 1, 2]
    assert [(text.get_text(), text.get_position()) for text in ax.texts] == [("3", (4.3, 0)), ("4", (4.3, 1))]
    assert ax.get_xlim() == (-0.5, 7.5)


@pytest.mark.parametrize("blocks", [0, 1.5])
def test_blocks_are_a_positive_integer(blocks):
    with pytest.raises(ValueError, match="blocks"):
        plot_all_heads(weights_of(2, 3, 5, 5), blocks=blocks)


def test_all_heads_share_one_scale_from_0_to_1():
    faint = torch.full((1, 2, 5, 5), 0.2)
    faint[0, 1] = torch.eye(5)
    fig = plot_all_heads(faint)
    even, sure = (image.get_array() for image in fig.axes[0].images)
    assert np.allclose(even, WEIGHTS(0.2))
    assert np.allclose(sure[0, 0], WEIGHTS(1.0))
    assert fig.axes[1].get_ylim() == (0, 1)


def test_tokens_stand_below_the_grid_as_they_are_spelt():
    spelt = ["$5", "and", "_10$", "[SEP]", "."]
    fig = plot_all_heads(weights_of(2, 3, 5, 5), spelt, "All $ heads")
    assert fig.get_supxlabel() == "$5 and _10$ [SEP] ."
    assert fig.axes[0].get_title() == "All $ heads"
    fig.draw_without_rendering()
    plain = plot_all_heads(weights_of(2, 3, 5, 5))
    assert (plain.get_supxlabel(), plain.axes[0].get_title()) == ("", "")


def test_blocked_cells_of_a_thumbnail_are_grey_and_nan_is_black():
    weights = weights_of(2, 3, 5, 5, mask=create_causal_mask(5))
    weights[1, 2, 4, 0] = torch.nan
    images = plot_all_heads(weights, mask=create_causal_mask(5)).axes[0].images
    for image in images:
        grey = np.isclose(image.get_array(), to_rgba(BLOCKED)).all(-1)
        assert np.array_equal(grey, ~CAUSAL.numpy())
    assert np.allclose(images[5].get_array()[4, 0], to_rgba("black"))
    assert not np.isclose(plot_all_heads(weights).axes[0].images[0].get_array(), to_rgba(BLOCKED)).all(-1).any()


def test_many_heads_have_room_for_their_numbers():
    ax = plot_all_heads(weights_of(37, 41, 2, 2)).axes[0]
    assert len(ax.get_xticks()) <= 16
    assert len(ax.get_yticks()) <= 16
    assert ax.figure.get_size_inches()[1] <= 9


def test_the_words_for_all_heads_come_from_the_data():
    weights = torch.full((2, 3, 5, 5), 0.2)
    weights[0, 1] = torch.eye(5)
    weights[1, 2] = torch.eye(5).roll(-1, 1)  # each reads the one before, the first the last
    weights[1, 0] = torch.eye(5)[[4] * 5]
    assert describe_heads(weights, TOKENS) == (
        "Grid of 6 thumbnails of attention weights, 2 layers in rows by 3 heads in columns, each 5 queries by 5 keys. "
        'The largest weight is 1.00, in layer 0, head 1, from "the" at 0 to "the" at 0. '
        "More than half of a head's weight lies on the diagonal in 1 head (most in layer 0, head 1: 100%), "
        "one place before it in 1 head (most in layer 1, head 2: 80%), "
        "one place after it in no heads (most in layer 1, head 0: 20%), "
        "in one column in 1 head (most in layer 1, head 0: 100%)."
    )


def test_the_words_count_blocked_and_broken_cells():
    weights = weights_of(2, 3, 5, 5, mask=create_causal_mask(5))
    weights[0, 0, 4, 4] = torch.nan
    text = describe_heads(weights, mask=create_causal_mask(5))
    assert "60 of 150 cells are blocked, and grey." in text
    assert "1 of 150 cells hold NaN, and are black." in text
    assert 'from "0" to "0"' in text  # without names, places


@pytest.mark.parametrize("function", [plot_all_heads, describe_heads])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (torch.eye(5),),
            r"attention_weights must have shape \[layers, heads, T, T\], none of them 0, got \[5, 5\]\.",
        ),
        ((torch.ones(2, 3, 5, 7) / 7,), r"attention_weights must have as many queries as keys, got 5 and 7\."),
        ((torch.eye(5).expand(2, 3, 5, 5), SEVEN), r"tokens must name each of the 5 tokens, got 7\."),
        ((torch.eye(5).expand(2, 3, 5, 5) * 2,), r"must lie between vmin and vmax \(0 and 1\), got 2\."),
    ],
    ids=["axes", "square", "tokens", "range"],
)
def test_all_heads_say_what_is_wrong(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
