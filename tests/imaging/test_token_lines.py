"""One head as lines between tokens: ends, opacity, names, and words from the data."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from pictures import SEVEN, TOKENS, weights_of

from surgeon.imaging.style import BLUE, GREY, INK, new_figure
from surgeon.imaging.token_lines import FAINTEST, describe_token_lines, plot_token_lines

pytestmark = pytest.mark.usefixtures("nothing_global")


def drawn(ax):
    """Opacity of each line by (query, key), where as many keys as queries stand at 0, 1, 2, ..."""
    (lines,) = ax.collections
    ends = [(round(start[1]), round(end[1])) for start, end in lines.get_segments()]
    return dict(zip(ends, lines.get_alpha(), strict=True))


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


def test_a_weight_that_rounding_made_larger_than_one_is_quite_opaque():
    weights = torch.tensor([[1.0005, 0.0], [0.25, 0.75]])
    ax = plot_token_lines(weights, ["a", "b"])
    assert drawn(ax) == {(0, 0): 1.0, (1, 0): 0.25, (1, 1): 0.75}
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
