import re

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CAUSAL, CONVENTIONS, normal

from surgeon.anatomy.mask_reading import as_additive, read_in_tiles, rows_as_additive, visible
from surgeon.anatomy.masks import (
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
)

INF = torch.inf


def read(mask, *shape):
    return as_additive(mask, shape, dtype=torch.float64, device="cpu")


@pytest.mark.parametrize("T", [1, 2, 7])
def test_causal_hides_the_future_and_reverse_the_past(T):
    i, j = torch.arange(T)[:, None], torch.arange(T)
    causal, reverse = create_causal_mask(T), create_reverse_mask(T)
    assert causal.dtype == torch.float32
    assert torch.equal(causal == 0, j <= i)
    assert torch.equal(causal == -INF, j > i)
    assert torch.equal(reverse, causal.T)
    assert reverse.is_contiguous()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 2, 11])
def test_window_is_a_band(window, causal):
    i, j = torch.arange(7)[:, None], torch.arange(7)
    expected = ((i - j).abs() <= window) & ((j <= i) | (not causal))
    assert torch.equal(visible(create_window_mask(7, window, causal=causal), (7, 7)), expected)
    if not causal:  # nor does it hide the future unless it is asked to
        assert torch.equal(create_window_mask(7, window) == 0, expected)


@pytest.mark.parametrize("keys", [1, 2, 5, 11])
def test_a_sliding_window_counts_the_querys_own_key(keys):
    """As Mistral does in transformers."""
    from transformers.masking_utils import sliding_window_causal_mask_function

    i, j = torch.arange(7)[:, None], torch.arange(7)
    mask = create_window_mask(7, sliding_window=keys, causal=True)
    assert torch.equal(mask == 0, sliding_window_causal_mask_function(keys)(0, 0, i, j))
    assert (mask == 0).sum(-1).max() == min(keys, 7)
    assert torch.equal(mask, create_window_mask(7, keys - 1, causal=True))
    assert torch.equal(mask, create_window_mask(7, window=keys - 1, causal=True))


def test_padding_hides_keys_never_queries():
    mask = create_padding_mask([0, 2, 5], 5)
    assert mask.shape == (3, 1, 5)
    assert mask.sum(-1).flatten().tolist() == [0, 2, 5]
    assert mask[1, 0].tolist() == [True, True, False, False, False]
    assert torch.equal(mask, create_padding_mask(torch.tensor([0, 2, 5]), 5))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_says_the_same(name):
    additive = read(CONVENTIONS[name], 5, 5)
    assert additive.dtype == torch.float64
    assert torch.equal(additive, torch.zeros(5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -INF))


def test_a_floating_mask_without_a_one_is_added():
    zeros = torch.zeros(3, 5)
    assert torch.equal(read(zeros, 3, 5), zeros.double())
    bias = torch.tensor([[0.0, 0.5, -2.0]])
    assert torch.equal(read(bias, 1, 3), bias.double())


def test_a_learned_bias_keeps_its_gradient():
    bias = torch.full((3, 5), 0.5, requires_grad=True)
    read(bias, 2, 3, 5).sum().backward()
    assert (bias.grad == 1).all()


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_combining_allows_what_every_mask_allows(T, S, seed):
    first, second = torch.rand(2, T, S, generator=torch.Generator().manual_seed(seed)) < 0.5
    both = visible(combine_masks(first, second.int()), (T, S))
    assert torch.equal(both, first & second)
    assert torch.equal(both, visible(combine_masks(second, first), (T, S)))
    assert torch.equal(both, visible(combine_masks(first, second, first), (T, S)))


def test_combining_broadcasts_padding_over_queries_and_keeps_double():
    both = combine_masks(create_causal_mask(5), create_padding_mask([2, 3], 5))
    assert both.shape == (2, 5, 5)
    assert torch.equal(both[0] == 0, CAUSAL & (torch.arange(5) < 2))
    assert combine_masks(create_causal_mask(5).double()).dtype == torch.float64
    assert combine_masks(CAUSAL, CAUSAL.half()).dtype == torch.float32


TILED = {
    "boolean": normal(5, 13, grad=False) > 0,
    "two queries": normal(2, 13, grad=False) > 0,
    "one row for every query": normal(1, 13, grad=False) > 0,
    "per sequence": normal(3, 5, 13, grad=False) > 0,
    "zero-one": torch.eye(5, 13),  # a tile off its diagonal holds no 1, and blocks
    "additive": normal(5, 13, grad=False),
}


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("queries", [slice(0, 2), slice(1, 2), slice(1, 4), slice(None)], ids=str)
@pytest.mark.parametrize("keys", [slice(7, 11), slice(0, 1), slice(None)], ids=str)
def test_a_tile_is_a_rectangle_of_the_whole(name, queries, keys):
    mask = TILED[name]
    shape = (3, 2 if name == "two queries" else 5, 13)
    tile = read_in_tiles(mask, shape, dtype=torch.float64, device="cpu")(queries, keys)
    expected = read(mask, *shape).expand(shape)[:, queries, keys]
    assert tile.dtype == torch.float64
    assert torch.equal(tile.expand(expected.shape), expected)


def test_masks_are_what_and_where_was_asked_for_whatever_the_defaults():
    counts = torch.tensor([1, 3])
    with foreign_defaults():
        masks = [create_causal_mask(3), create_reverse_mask(3), create_window_mask(3, 1), combine_masks(CAUSAL)]
        padding = [create_padding_mask([1, 3], 3), create_padding_mask(counts, 3), visible(None, (2, 1, 3))]
    assert all(mask.device.type == "cpu" for mask in masks + padding)
    assert all(mask.dtype == torch.float32 for mask in masks)
    assert all(mask.dtype == torch.bool for mask in padding)
    assert padding[0].tolist() == padding[1].tolist() == [[[True, False, False]], [[True, True, True]]]
    assert torch.equal(masks[3], create_causal_mask(5))


def test_a_device_with_a_number_is_the_one_without():
    for device in ("cpu", "cpu:0", torch.device("cpu", 0)):
        assert torch.equal(visible(CAUSAL, (5, 5), device), CAUSAL)


@pytest.mark.parametrize("name", [name for name in CONVENTIONS if not name.startswith("zero-one")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_rows_cut_from_a_mask_are_read_like_all_others(name, dtype):
    mask, scores = CONVENTIONS[name][1:3], {"shape": (2, 5), "dtype": dtype, "device": "cpu"}
    found, expected = rows_as_additive(mask, **scores), as_additive(mask, **scores)
    assert found.dtype == expected.dtype == dtype
    assert torch.equal(found, expected)


def test_masks_can_be_made_on_another_device():
    there = torch.ones(3, 3, dtype=torch.bool, device="meta")
    made = [
        create_causal_mask(3, "meta"),
        create_reverse_mask(3, "meta"),
        create_window_mask(3, 1, device="meta"),
        combine_masks(there, there),
        visible(None, (3, 3), "meta"),
        visible(there, (3, 3), "meta"),
    ]
    assert all(mask.device.type == "meta" for mask in made)


def test_visible_broadcasts_and_none_hides_nothing():
    everything = visible(None, (2, 3, 5))
    assert everything.dtype == torch.bool
    assert everything.all()
    assert visible(create_padding_mask([1, 2], 5), (2, 3, 5)).shape == (2, 3, 5)
    assert visible(torch.tensor([[-INF, 0.0, -1e9]]), (1, 3)).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_causal_mask(0), "seq_len must be an integer of at least 1, got 0."),
        (lambda: create_reverse_mask(-3), "seq_len must be an integer of at least 1, got -3."),
        (lambda: create_causal_mask(2.0), "seq_len must be an integer of at least 1, got 2.0."),
        (lambda: create_causal_mask(True), "seq_len must be an integer of at least 1, got True."),
        (lambda: create_window_mask(0, 1), "seq_len must be an integer of at least 1, got 0."),
        (lambda: create_window_mask(3, -1), "window must be an integer of at least 0, got -1."),
        (lambda: create_window_mask(3), "one of window and sliding_window must be given, got none."),
        (
            lambda: create_window_mask(3, 1, sliding_window=2, causal=True),
            "one of window and sliding_window must be given, got both.",
        ),
        (
            lambda: create_window_mask(3, sliding_window=2),
            "sliding_window counts back from the query and needs causal=True; to both sides, use window.",
        ),
        (
            lambda: create_window_mask(3, sliding_window=0, causal=True),
            "sliding_window must be an integer of at least 1, got 0.",
        ),
        (lambda: create_padding_mask([1, 2], 0), "seq_len must be an integer of at least 1, got 0."),
        (lambda: create_padding_mask([1, 4], 3), "lengths must lie between 0 and seq_len (3), got [1, 4]."),
        (lambda: create_padding_mask([-1], 3), "lengths must lie between 0 and seq_len (3), got [-1]."),
        (
            lambda: create_padding_mask([0.5], 3),
            "lengths must be a sequence of integers, got torch.float32 values of shape [1].",
        ),
        (
            lambda: create_padding_mask([[1]], 3),
            "lengths must be a sequence of integers, got torch.int64 values of shape [1, 1].",
        ),
        (
            lambda: create_padding_mask(torch.tensor([1j]), 3),
            "lengths must be a sequence of integers, got torch.complex64 values of shape [1].",
        ),
        (
            lambda: create_padding_mask([True], 3),
            "lengths must be a sequence of integers, got torch.bool values of shape [1].",
        ),
        (
            lambda: combine_masks(CAUSAL, CAUSAL.to("meta")),
            "mask must be on the device of the scores (cpu), got meta.",
        ),
        (lambda: combine_masks(), "combine_masks needs at least one mask, got none."),
        (lambda: combine_masks([[1]]), "mask must be a boolean, integer or floating tensor, got list."),
        (
            lambda: combine_masks(torch.ones(2, 3), torch.ones(2, 5)),
            "masks must have shapes that broadcast, got [2, 3] and [2, 5].",
        ),
        (lambda: read([[1, 0]], 1, 2), "mask must be a boolean, integer or floating tensor, got list."),
        (
            lambda: read(torch.ones(1, 2, dtype=torch.complex64), 1, 2),
            "mask must be a boolean, integer or floating tensor, got torch.complex64.",
        ),
        (
            lambda: read(torch.ones(1, 2, device="meta"), 1, 2),
            "mask must be on the device of the scores (cpu), got meta.",
        ),
        (lambda: read(torch.ones(3), 2, 3), "mask must end in (queries, keys) = (2, 3), got shape [3]."),
        (lambda: read(torch.ones(3, 2), 2, 3), "mask must end in (queries, keys) = (2, 3), got shape [3, 2]."),
        (lambda: read(torch.ones(2, 1), 2, 3), "mask must end in (queries, keys) = (2, 3), got shape [2, 1]."),
        (
            lambda: read(torch.ones(5, 2, 3), 7, 2, 3),
            "mask must broadcast over the leading axes [7] of the scores, got shape [5, 2, 3].",
        ),
        (
            lambda: read(torch.ones(5, 7, 2, 3), 11, 7, 2, 3),
            "mask must broadcast over the leading axes [11, 7] of the scores, got shape [5, 7, 2, 3].",
        ),
        (
            lambda: read(torch.ones(11, 5, 2, 3), 11, 7, 2, 3),
            "mask must broadcast over the leading axes [11, 7] of the scores, got shape [11, 5, 2, 3].",
        ),
        (
            lambda: read(torch.ones(1, 2, 3), 2, 3),
            "mask must broadcast over the leading axes [] of the scores, got shape [1, 2, 3].",
        ),
        (
            lambda: read(torch.tensor([[0.0, torch.nan]]), 1, 2),
            "mask must hold 0/1, or finite numbers and -inf to add to the scores, got NaN or +inf; "
            "use -inf to block, or a boolean mask in which True may attend.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_plus_infinity_is_no_mask():
    with pytest.raises(ValueError, match=r"got NaN or \+inf"):
        read(torch.tensor([[0.0, INF]]), 1, 2)
