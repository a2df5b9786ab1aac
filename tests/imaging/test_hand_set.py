import math
import re

import numpy as np
import pytest
import torch

from surgeon.anatomy.dot_product import attention
from surgeon.imaging.hand_set import PATTERNS, hand_set_pattern

T, LEAD = 7, 3.0
PHRASES = [3, 1, 2, 1]


def weights(pattern, **changes):
    """The pattern's weights by surgeon's attention, in float64."""
    choices = {"lead": LEAD, "token": 5, "phrases": PHRASES, "dtype": torch.float64} | changes
    Q, K = hand_set_pattern(pattern, T, **choices)
    return attention(Q, K, K)[1]


def led(n, wanted=1, lead=LEAD):
    """What a wanted key gets among n, and what another gets."""
    total = wanted * math.exp(lead) + n - wanted
    return math.exp(lead) / total, 1 / total


def filled(high, low, cells):
    """[T, T]: `high` in the cells, `low` in the others."""
    grid = torch.full((T, T), low, dtype=torch.float64)
    for i, j in cells:
        grid[i, j] = high
    return grid


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-15)


def test_every_query_of_the_diagonal_gives_its_own_place_the_closed_form():
    close(weights("diagonal"), filled(*led(T), [(i, i) for i in range(T)]))


def test_previous_reads_one_back_and_its_first_row_is_even():
    expected = filled(*led(T), [(i, i - 1) for i in range(1, T)])
    expected[0] = 1 / T
    close(weights("previous"), expected)


@pytest.mark.parametrize("token", [0, 2, T - 1])
def test_vertical_has_one_column_that_holds_the_closed_form(token):
    found = weights("vertical", token=token)
    close(found, filled(*led(T), [(i, token) for i in range(T)]))
    assert float(found[:, token].sum()) == pytest.approx(T * led(T)[0], rel=1e-13)


@pytest.mark.parametrize("token", [0, 2, T - 1])
def test_horizontal_is_the_diagonal_but_for_one_even_row(token):
    expected = weights("diagonal")
    expected[token] = 1 / T
    close(weights("horizontal", token=token), expected)


def test_a_block_shares_the_weight_among_the_words_of_its_phrase():
    start, rows = 0, []
    for n in PHRASES:
        high, low = led(T, n)
        rows += [[high if start <= j < start + n else low for j in range(T)]] * n
        start += n
    close(weights("blocks"), torch.tensor(rows, dtype=torch.float64))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_a_lead_every_pattern_is_even(pattern):
    close(weights(pattern, lead=0.0), torch.full((T, T), 1 / T, dtype=torch.float64))


@pytest.mark.parametrize(("pattern", "d_k"), list(zip(PATTERNS, [T, T, 1, T, len(PHRASES)], strict=True)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_precision(pattern, d_k, dtype):
    for x in hand_set_pattern(pattern, T, phrases=PHRASES, dtype=dtype):
        assert (x.shape, x.dtype) == ((T, d_k), dtype)


@pytest.mark.parametrize(
    ("pattern", "num_tokens", "choices", "message"),
    [
        ("row", T, {}, "pattern must be one of diagonal, previous, vertical, horizontal, blocks, got 'row'."),
        ("diagonal", 0, {}, "num_tokens must be an integer of at least 1, got 0."),
        ("diagonal", T, {"lead": math.inf}, "lead must be a finite number, got inf."),
        ("vertical", T, {"token": T}, "token must be an integer from 0 to 6, got 7."),
        ("horizontal", T, {"token": -1}, "token must be an integer from 0 to 6, got -1."),
        ("vertical", T, {"token": 1.0}, "token must be an integer from 0 to 6, got 1.0."),
        ("vertical", T, {"token": True}, "token must be an integer from 0 to 6, got True."),
        ("blocks", T, {}, "phrases must be lengths of at least 1 that add up to 7 (num_tokens), got []."),
        (
            "blocks",
            T,
            {"phrases": [5, 3]},
            "phrases must be lengths of at least 1 that add up to 7 (num_tokens), got [5, 3].",
        ),
        (
            "blocks",
            T,
            {"phrases": [9, -2]},
            "phrases must be lengths of at least 1 that add up to 7 (num_tokens), got [9, -2].",
        ),
        (
            "blocks",
            T,
            {"phrases": [7, 0]},
            "phrases must be lengths of at least 1 that add up to 7 (num_tokens), got [7, 0].",
        ),
    ],
)
def test_errors(pattern, num_tokens, choices, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        hand_set_pattern(pattern, num_tokens, **choices)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_numpys_integers_are_integers(pattern):
    ours = hand_set_pattern(pattern, T, token=2, phrases=PHRASES)
    theirs = hand_set_pattern(pattern, np.int64(T), token=np.int16(2), phrases=np.array(PHRASES))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
