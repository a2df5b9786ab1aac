"""Weight on a picture's cells, against sums by hand, closed forms of even rows, and heads made for the purpose."""

import re

import pytest
import torch

from surgeon import stable_softmax
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.patterns import uniform_weights
from surgeon.imaging.pictures import (
    lead_within,
    mean_distance,
    repeat_cells,
    weight_on,
)


def heads(*shape, mask=None, seed=0):
    """[..., T, S] in float64, of random scores."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return stable_softmax(scores if mask is None else scores + mask)


def even(T):
    return uniform_weights(create_causal_mask(T), dtype=torch.float64)


def column(T, n):
    return (torch.arange(T) == n).expand(T, T)


# ---- Weight on cells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, create_causal_mask(7)], ids=["open", "causal"])
def test_weight_on_cells_is_a_mean_over_the_queries_that_have_a_choice(mask):
    weights = heads(2, 3, 7, 7, mask=mask)
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(7, 7, generator=generator) < 0.3
    found = weight_on(weights, cells, mask=mask)
    assert list(found.shape) == [2, 3]
    for layer in range(2):
        for head in range(3):
            sums = []
            for i in range(7):
                keys = range(7 if mask is None else i + 1)
                meant = [j for j in keys if cells[i, j]]
                if meant and len(meant) < len(keys):
                    sums.append(sum(float(weights[layer, head, i, j]) for j in meant))
            assert float(found[layer, head]) == pytest.approx(sum(sums) / len(sums), abs=1e-12)


@pytest.mark.parametrize("T", [2, 7, 31])
def test_an_even_causal_head_gives_the_first_token_and_the_one_before_a_mean_of_harmonic_numbers(T):
    causal = create_causal_mask(T)
    expected = sum(1 / (i + 1) for i in range(1, T)) / (T - 1)
    before = torch.ones(T, T).tril(-1).triu(-1).bool()
    for cells in (column(T, 0), before, torch.eye(T, dtype=torch.bool)):
        assert float(weight_on(even(T), cells, mask=causal)) == pytest.approx(expected, abs=1e-12)


def test_a_head_that_is_the_picture_has_one_and_its_opposite_zero():
    T, causal = 11, create_causal_mask(11)
    previous = torch.eye(T, dtype=torch.float64)[[0, *range(T - 1)]]
    cells = torch.ones(T, T).tril(-1).triu(-1).bool()
    assert float(weight_on(previous, cells, mask=causal)) == 1.0
    assert float(weight_on(torch.eye(T), cells, mask=causal)) == 0.0


def test_what_is_asked_of_all_visible_keys_is_no_question():
    with pytest.raises(ValueError, match=r"^cells must leave some query a choice, got none"):
        weight_on(even(5), torch.ones(5, 5, dtype=torch.bool), mask=create_causal_mask(5))
    with pytest.raises(ValueError, match=r"^cells must leave some query a choice, got none"):
        weight_on(even(5), torch.zeros(5, 5, dtype=torch.bool))


def test_cells_that_the_mask_hides_are_not_meant():
    causal = create_causal_mask(7)
    above = column(7, 0) | torch.ones(7, 7).triu(1).bool()
    weights = heads(7, 7, mask=causal)
    assert weight_on(weights, above, mask=causal) == weight_on(weights, column(7, 0), mask=causal)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (torch.ones(5, 5), "[5, 5] of torch.float32"),
        (torch.ones(5, 3).bool(), "[5, 3] of torch.bool"),
        ([[True]], "[] of list"),
    ],
    ids=["numbers", "shape", "list"],
)
def test_cells_are_booleans_of_the_weights_shape(cells, said):
    with pytest.raises(ValueError, match=f"^cells must be booleans \\[5, 5\\], got {re.escape(said)}[.]$"):
        weight_on(even(5), cells)


@pytest.mark.parametrize(
    "ask",
    [
        lambda w, m: weight_on(w, torch.eye(5, dtype=torch.bool), mask=m),
        lambda w, m: mean_distance(w, mask=m),
        lambda w, m: lead_within(w, torch.zeros(5, dtype=torch.int64), mask=m),
    ],
    ids=["weight_on", "mean_distance", "lead_within"],
)
def test_weight_where_the_mask_blocks_and_what_is_no_weight_are_errors(ask):
    with pytest.raises(ValueError, match=r"^attention_weights must be zero where the mask blocks"):
        ask(torch.full((5, 5), 0.2), create_causal_mask(5))
    with pytest.raises(ValueError, match=r"^attention_weights must have rows that sum to one or to zero"):
        ask(torch.full((5, 5), 0.3), None)


# ---- Repeats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 2, 9])
def test_repeats_are_those_that_a_double_loop_finds(step):
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 4, (13,), generator=generator)
    cells = repeat_cells(ids, step)
    for i in range(13):
        for j in range(13):
            earlier = j - step
            assert bool(cells[i, j]) == (j < i and 0 <= earlier < i and bool(ids[earlier] == ids[i]))
    assert (repeat_cells(ids.tolist(), step) == cells).all()


def test_a_text_said_twice_has_one_line_of_cells():
    n = 7
    cells = repeat_cells([*range(n), *range(n)])
    assert cells.nonzero().tolist() == [[n + i, i + 1] for i in range(n - 1)] + [[2 * n - 1, n]]


def test_a_token_said_again_at_once_does_not_look_at_itself():
    assert not repeat_cells([3, 3]).any()
    assert repeat_cells([3, 3, 3]).nonzero().tolist() == [[2, 1]]


@pytest.mark.parametrize("ids", [[[1, 2]], [0.5, 1.5]], ids=["two axes", "numbers with a point"])
def test_ids_are_integers_in_a_row(ids):
    with pytest.raises(ValueError, match=r"^ids must be integers \[T\], got"):
        repeat_cells(ids)


def test_a_step_is_no_step_back():
    with pytest.raises(ValueError, match="step"):
        repeat_cells([1, 2], -1)


# ---- Distance ------------------------------------------------------------------------------------------------------


def test_even_causal_rows_look_half_of_the_way_back():
    T = 13
    expected = sum(i / 2 for i in range(T)) / T
    assert float(mean_distance(even(T), mask=create_causal_mask(T))) == pytest.approx(expected, abs=1e-12)


def test_keys_that_are_left_out_weigh_nothing():
    T, causal = 11, create_causal_mask(11)
    sink = torch.zeros(T, T, dtype=torch.float64)
    sink[:, 0] = 0.9
    sink += 0.1 * torch.eye(T, dtype=torch.float64)[[0, *range(T - 1)]]
    # queries 2 to 10 look one token back
    assert float(mean_distance(sink, skip=1, mask=causal)) == pytest.approx(1.0, abs=1e-12)
    assert float(mean_distance(sink, mask=causal)) > 4
    assert mean_distance(column(T, 0).double(), skip=1).isnan()


def test_skip_leaves_a_key():
    with pytest.raises(ValueError, match=r"^skip must leave some of the 5 keys, got 5[.]$"):
        mean_distance(even(5), skip=5)


# ---- Blocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, create_causal_mask(12)], ids=["open", "causal"])
def test_a_head_that_goes_by_distance_alone_leads_nowhere(mask):
    """Each weight is a number for its distance, and what is left lies on the diagonal, which does not count."""
    T = 12
    place = torch.arange(T)
    step = (place - place[:, None]).double()
    weights = 0.3 / T / (1 + step.abs())
    if mask is not None:
        weights = weights.tril()
    weights = weights - weights.diagonal().diag()
    weights = weights + (1 - weights.sum(-1)).diag()
    groups = torch.tensor([0] * 3 + [1] * 5 + [2] * 4)
    assert float(lead_within(weights, groups, mask=mask)) == pytest.approx(0.0, abs=1e-12)


def test_even_weight_within_blocks_leads_by_all_that_leaves_the_token():
    """Four blocks of three: each token gives the two others 1/3 each, and nobody outside anything."""
    blocks = torch.block_diag(*[torch.full((3, 3), 1 / 3, dtype=torch.float64)] * 4)
    groups = torch.arange(4).repeat_interleave(3)
    assert float(lead_within(blocks, groups)) == pytest.approx(2 / 3, abs=1e-12)


def test_a_token_that_is_left_out_counts_nowhere():
    weights = heads(3, 9, 9)
    groups = torch.tensor([0, 0, -1, 0, 1, 1, 1, -1, 1])
    kept = groups >= 0
    changed = weights.clone()
    changed[:, :, ~kept] = weights[:, :, ~kept].flip(-1)
    assert torch.allclose(lead_within(weights, groups), lead_within(changed, groups), atol=1e-12)


@pytest.mark.parametrize("groups", [torch.zeros(4).long(), torch.zeros(5), [0] * 5], ids=["few", "floats", "list"])
def test_groups_are_an_integer_for_each_token(groups):
    with pytest.raises(ValueError, match=r"^groups must be integers \[5\] for weights"):
        lead_within(heads(5, 5), groups)


def test_groups_hold_some_token():
    with pytest.raises(ValueError, match=r"^groups must hold some token"):
        lead_within(heads(5, 5), torch.full((5,), -1))
