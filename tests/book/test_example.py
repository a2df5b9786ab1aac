"""The running example: what the pages say of its numbers, against surgeon and against sums done by hand."""

import math

import pytest
import torch

from surgeon import attention, create_causal_mask, create_reverse_mask, dissect, merge_heads, split_heads
from surgeon.book.example import COORDINATES, TOKENS, K, Q, V

THE, SURGEON, DROPPED, _, SCALPEL, BECAUSE, IT = range(7)
TWO_QUESTIONS = torch.tensor([[3.0, 1, 2, 1]], dtype=torch.float64)  # which thing? whose deed?


def shares(scores: list[float]) -> list[float]:
    """Softmax with a pencil."""
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def rounded(row: torch.Tensor, digits: int) -> list[float]:
    return [round(x, digits) + 0.0 for x in row.tolist()]


def test_it_is_seven_words_of_four_named_coordinates_and_a_word_gives_what_it_is():
    assert " ".join(TOKENS) == "the surgeon dropped the scalpel because it"
    assert COORDINATES == ("thing", "sharp", "person", "deed")
    assert Q.shape == K.shape == (len(TOKENS), len(COORDINATES))
    assert Q.dtype == K.dtype == torch.float64
    assert V is K
    assert (K[0] == K[3]).all()
    assert (Q[0] == Q[3]).all()


def test_the_scores_of_it_are_the_products_of_its_row():
    scores = dissect(Q, K, V).scores
    assert scores[IT].tolist() == [0, -1, 0, 0, 7, 0, 3]
    assert scores[DROPPED].tolist() == [0, 4, 0, 0, 4, 0, 2]
    assert scores[IT].tolist() == [3 * thing + sharp - person for thing, sharp, person, _ in K.tolist()]


def test_unscaled_it_is_too_sure_and_scaled_it_is_not():
    unscaled, scaled = (attention(Q, K, V, scale=scale)[1][IT] for scale in (False, True))
    torch.testing.assert_close(unscaled.tolist(), shares([0, -1, 0, 0, 7, 0, 3]))
    torch.testing.assert_close(scaled.tolist(), shares([0, -0.5, 0, 0, 3.5, 0, 1.5]))
    assert rounded(unscaled, 3) == [0.001, 0.0, 0.001, 0.001, 0.978, 0.001, 0.018]
    assert rounded(scaled, 3) == [0.024, 0.014, 0.024, 0.024, 0.785, 0.024, 0.106]
    slopes = [round(float(row[SCALPEL] * (1 - row[SCALPEL])), 3) for row in (unscaled, scaled)]
    assert slopes == [0.021, 0.169]


def test_dividing_the_scores_by_their_sum_gives_the_surgeon_a_share_below_zero():
    scores = dissect(Q, K, V).scores[IT]
    assert float(scores[SURGEON] / scores.sum()) == pytest.approx(-1 / 9)


def test_scores_a_hundred_times_as_large_overflow_in_float32_and_not_yet_in_float64():
    scores = 100 * dissect(Q, K, V).scores[IT]
    assert scores.max() == 700
    assert torch.exp(scores).isfinite().all()
    assert torch.exp(scores.float()).isinf().any()


def test_unmasked_dropped_looks_at_what_has_not_been_said_and_masked_at_the_surgeon():
    free = attention(Q, K, V)[1][DROPPED]
    masked = attention(Q, K, V, create_causal_mask(7))[1]
    torch.testing.assert_close(free.tolist(), shares([0, 2, 0, 0, 2, 0, 1]))
    torch.testing.assert_close(masked[DROPPED, :3].tolist(), shares([0, 2, 0]))
    assert rounded(free, 3)[SURGEON] == rounded(free, 3)[SCALPEL] == 0.344
    assert rounded(masked[DROPPED], 3) == [0.107, 0.787, 0.107, 0, 0, 0, 0]
    assert masked[THE].tolist() == [1, 0, 0, 0, 0, 0, 0]
    torch.testing.assert_close(masked[IT], attention(Q, K, V)[1][IT])
    reverse = attention(Q, K, V, create_reverse_mask(7))[1]
    assert (reverse.tril(-1) == 0).all()
    assert reverse[IT].tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_it_takes_away_nearly_the_scalpel_and_dropped_nearly_the_surgeon():
    output, weights = attention(Q, K, V, create_causal_mask(7))
    by_hand = [sum(w * v for w, v in zip(weights[IT].tolist(), column, strict=True)) for column in K.mT.tolist()]
    torch.testing.assert_close(output[IT].tolist(), by_hand)
    assert rounded(output[IT], 2) == [1.68, 0.80, 0.03, 0.07]
    assert rounded(output[DROPPED], 2) == [0, 0.79, 1.57, 0.21]
    for row, word in ((IT, SCALPEL), (DROPPED, SURGEON)):
        assert int((output[row] - K).norm(dim=-1).argmin()) == word


def test_one_head_that_asks_two_things_gets_a_mixture_and_two_heads_get_both():
    output, weights = attention(TWO_QUESTIONS, K, V)
    assert rounded(weights[0], 2)[SURGEON] == 0.22
    assert rounded(weights[0], 2)[SCALPEL] == 0.59
    assert rounded(output[0], 2) == [1.26, 0.81, 0.43, 0.13]
    heads, each = attention(*(split_heads(x, 2) for x in (TWO_QUESTIONS, K, V)))
    thing, deed = each[:, 0]
    torch.testing.assert_close(thing.tolist(), shares([s / math.sqrt(2) for s in (0, 1, 0, 0, 7, 0, 3)]))
    torch.testing.assert_close(deed.tolist(), shares([s / math.sqrt(2) for s in (0, 4, 2, 0, 0, 1, 0)]))
    assert rounded(thing, 3)[SCALPEL] == 0.908
    assert rounded(deed, 3)[SURGEON] == 0.625
    assert rounded(deed, 3)[DROPPED] == 0.152
    assert merge_heads(heads).shape == (1, 4)
