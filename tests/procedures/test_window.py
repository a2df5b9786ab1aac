"""The nearby keys give what dense attention gives under the mask that hides the others."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal, reference
from tensors import assert_same, inputs
from torch.utils.flop_counter import FlopCounterMode

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.masks import create_window_mask
from surgeon.procedures.window import Band, window_attention


@pytest.mark.parametrize("causal", [False, True], ids=["both-sides", "causal"])
@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("window", [0, 1, 3, 7, 41])
@pytest.mark.parametrize("T", [1, 5, 23, 37])
def test_window_is_attention_under_the_mask_values_and_gradients(T, window, scale, causal):
    Q, K, V = inputs(2, T=T, S=T)
    ours = window_attention(Q, K, V, window, causal=causal, scale=scale, block=5)
    theirs, _ = attention(Q, K, V, create_window_mask(T, window, causal=causal), scale)
    assert_same(ours, theirs, (Q, K, V))


@pytest.mark.parametrize("keys", [1, 4, 41])
def test_a_sliding_window_counts_the_querys_own_key(keys):
    Q, K, V = inputs(2, T=23, S=23)
    theirs, _ = attention(Q, K, V, create_window_mask(23, sliding_window=keys, causal=True))
    ours = window_attention(Q, K, V, sliding_window=keys, causal=True, block=5)
    assert torch.equal(ours, window_attention(Q, K, V, window=keys - 1, causal=True, block=5))
    assert_same(ours, theirs, (Q, K, V))


@pytest.mark.parametrize("size", [1.0, 300.0], ids=["small-scores", "large-scores"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)], ids=str)
def test_window_is_pytorch_s_attention(lead, size):
    Q, K, V = inputs(*lead, T=23, S=23)
    allowed = create_window_mask(23, 4) == 0
    assert_same(window_attention(Q * size, K, V, 4, block=8), reference(Q * size, K, V, allowed), (Q, K, V), 1e-10)


@settings(max_examples=60, deadline=None)
@given(T=st.integers(1, 31), window=st.integers(0, 35), block=st.integers(1, 33), causal=st.booleans())
def test_window_law(T, window, block, causal):
    Q, K, V = inputs(T=T, S=T, d_k=3, d_v=2)
    ours = window_attention(Q, K, V, window, causal=causal, block=block)
    assert_same(ours, attention(Q, K, V, create_window_mask(T, window, causal=causal))[0], (Q, K, V))


@pytest.mark.parametrize("causal", [False, True], ids=["both-sides", "causal"])
def test_a_token_out_of_sight_leaves_no_trace(causal):
    Q, K, V = (x.detach() for x in inputs(T=37, S=37))
    before = window_attention(Q, K, V, 3, causal=causal, block=8)
    K[20] += 1
    V[20] += 1
    changed = (window_attention(Q, K, V, 3, causal=causal, block=8) != before).any(-1).nonzero().flatten().tolist()
    assert changed == list(range(20 if causal else 17, 24))


def test_twice_the_length_takes_twice_the_products():
    """Multiplications are counted, since times are not to be trusted."""

    def products(T):
        x = normal(2, T, 8)
        with FlopCounterMode(display=False) as counter:
            window_attention(x, x, x, 100, block=64).sum().backward()
        return counter.get_total_flops()

    assert 1.9 < products(2048) / products(1024) < 2.2
    band = 2 * 100 + 3 * 64  # no query meets more keys: the window, and what the tiles hold beyond it
    assert products(1024) <= 7 * 2 * (2 * 1024 * band * 8)  # two products forward, five backward


def test_tiles_on_a_diagonal_share_what_is_added_to_them():
    """However long the text: one for each distance of blocks, and those of the last block, which is shorter."""
    x = torch.zeros(1, 8 * 23 + 3, 2)
    band = Band(x, x, window=11, causal=True, block=8)
    tiles = [tile for i in range(24) for tile in band.along(i)]
    assert len(tiles) > 60
    assert len(band.edges) == 3 + 3
    assert {key for key in band.edges if band.edges[key] is None} == {(1, 3, 8)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": -1}, "window must be an integer of at least 0, got -1."),
        ({"window": 1.0}, "window must be an integer of at least 0, got 1.0."),
        ({"window": True}, "window must be an integer of at least 0, got True."),
        ({"window": None}, "one of window and sliding_window must be given, got none."),
        ({"window": 1, "sliding_window": 2}, "one of window and sliding_window must be given, got both."),
        (
            {"window": None, "sliding_window": 2},
            "sliding_window counts back from the query and needs causal=True; to both sides, use window.",
        ),
        (
            {"window": None, "sliding_window": 0, "causal": True},
            "sliding_window must be an integer of at least 1, got 0.",
        ),
        ({"block": 0}, "block must be an integer of at least 1, got 0."),
        ({"block": None}, "block must be an integer of at least 1, got None."),
        ({"Q": torch.ones(2, 3, 7)}, "Q and K must have as many queries as keys, got 3 and 5."),
        ({"Q": [[1.0]]}, "Q must be a floating-point tensor, got list."),
        ({"V": torch.ones(2, 3, 11)}, "K and V must have as many keys as values, got 5 and 3."),
    ],
)
def test_bad_input_gets_one_sentence(changes, message):
    given = {"Q": torch.ones(2, 5, 7), "K": torch.ones(2, 5, 7), "V": torch.ones(2, 5, 11), "window": 1}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        window_attention(**given | changes)
