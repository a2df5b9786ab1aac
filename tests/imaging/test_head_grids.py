import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from oracle import CAUSAL
from pictures import SEVEN, TOKENS, weights_of

from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.head_grids import (
    BLOCKED,
    FAINTEST,
    describe_heads,
    describe_token_lines,
    plot_all_heads,
    plot_token_lines,
)
from surgeon.imaging.style import BLUE, GREY, INK, WEIGHTS, new_figure

pytestmark = pytest.mark.usefixtures("nothing_global")


def drawn(ax):
    """Opacity of each line by (query, key), where as many keys as queries stand at 0, 1, 2, ..."""
    (lines,) = ax.collections
    ends = [(round(start[1]), round(end[1])) for start, end in lines.get_segments()]
    return dict(zip(ends, lines.get_alpha(), strict=True))


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
    assert plot_all_heads(weights_of(2, 3, 5, 5)).get_supxlabel() == ""


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


def test_lines_run_from_queries_on_the_left_to_keys_on_the_right_as_opaque_as_their_weight():
    weights = weights_of(5, 5)
    ax = plot_token_lines(weights, TOKENS, "One $ head")
    assert isinstance(ax, Axes)
    assert {(start[0], end[0]) for start, end in ax.collections[0].get_segments()} == {(0, 1)}
    assert np.allclose(ax.collections[0].get_colors()[:, :3], to_rgba(BLUE)[:3])
    wanted = {(i, j): float(weights[i, j]) for i in range(5) for j in range(5) if weights[i, j] >= FAINTEST}
    assert 0 < len(wanted) < 25
    assert drawn(ax) == pytest.approx(wanted, abs=1e-6)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first token is above the others
    assert ax.get_title() == "One $ head"
    ax.figure.draw_without_rendering()


def test_every_token_has_its_name_on_both_sides():
    ax = plot_token_lines(weights_of(5, 7), TOKENS, key_tokens=SEVEN)
    sides = {side: [t.get_text() for t in ax.texts if t.get_ha() == side] for side in ("right", "left")}
    assert sides == {"right": [*TOKENS, "query"], "left": [*SEVEN, "key"]}
    places = [t.get_position()[1] for t in ax.texts if t.get_ha() == "right"][:5]
    assert places == [1, 2, 3, 4, 5]  # in the middle of seven
    assert {round(start[1]) for start, _ in ax.collections[0].get_segments()} <= set(places)


def test_one_query_can_be_drawn_alone():
    weights = weights_of(5, 5)
    ax = plot_token_lines(weights, TOKENS, query=2)
    assert {i for i, _ in drawn(ax)} == {2}
    assert len(drawn(ax)) == int((weights[2] >= FAINTEST).sum())
    assert [t.get_color() for t in ax.texts if t.get_ha() == "right"][:5] == [GREY, GREY, INK, GREY, GREY]


def test_lines_are_drawn_where_they_are_wanted():
    _, axes = new_figure(columns=2)
    assert plot_token_lines(torch.eye(5), TOKENS, ax=axes[1]) is axes[1]
    assert len(axes[0].collections) == 0


def test_a_head_that_reads_nothing_has_no_line_and_says_so():
    assert len(plot_token_lines(torch.zeros(5, 5), TOKENS).collections[0].get_segments()) == 0
    assert describe_token_lines(torch.zeros(5, 5), TOKENS).endswith("Strongest key of each query: none.")


def test_the_words_for_lines_come_from_the_data():
    weights = torch.tensor([[0.0, 0.99, 0.01], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0]])
    assert describe_token_lines(weights, ["a", "b", "a"]) == (
        "5 lines from 3 queries on the left to 3 keys on the right, the darker the larger the weight. The darkest, "
        '1.00, runs from "a" at 2 to "b"; the key "b" takes 83% of the weight. Strongest key of each query: '
        '"a" at 0 to "b" 0.99, "b" to "b" 0.50, "a" at 2 to "b" 1.00.'
    )
    assert describe_token_lines(weights, ["a", "b", "c"], query=1) == (
        '3 lines from the query "b" on the left to 3 keys on the right, the darker the larger the weight. The darkest, '
        '0.50, runs from "b" to "b"; the key "b" takes 50% of the weight. Strongest key of each query: "b" to "b" 0.50.'
    )
    text = describe_token_lines(weights[:2], ["q", "r"], key_tokens=["x", "y", "z"])
    assert "4 lines from 2 queries on the left to 3 keys on the right" in text
    assert text.endswith('Strongest key of each query: "q" to "y" 0.99, "r" to "y" 0.50.')
    assert describe_token_lines(weights, ["a", "b", "c"], query=np.int64(1)).startswith('3 lines from the query "b"')
    assert "Strongest key" not in describe_token_lines(torch.eye(11), [str(n) for n in range(11)])


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


@pytest.mark.parametrize("function", [plot_token_lines, describe_token_lines])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.ones(5), TOKENS), {}, r"must have shape \[queries, keys\], none of them 0, got \[5\]\."),
        ((torch.eye(5), SEVEN), {}, r"tokens must name each of the 5 queries, got 7\."),
        ((torch.eye(5), TOKENS), {"query": 5}, r"query must be an integer from 0 to 4, got 5\."),
        ((torch.eye(5), TOKENS), {"query": True}, r"query must be an integer from 0 to 4, got True\."),
        ((torch.eye(5) * 2, TOKENS), {}, r"must lie between vmin and vmax \(0 and 1\), got 2\."),
    ],
    ids=["axes", "tokens", "query", "bool", "range"],
)
def test_lines_say_what_is_wrong(function, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments, **options)
