"""Texts in which a mark repeats the letter before it: what follows what, how often, and what it costs."""

import re

import pytest
import torch

from surgeon.models.echoes import LETTERS, MARK, MARKED, START, draw_echoes, following


def test_what_may_follow_is_shared_out():
    rows = following()
    assert rows.shape == (START + 1, START + 1)
    torch.testing.assert_close(rows.sum(-1), torch.ones(START + 1, dtype=torch.float64))
    assert (rows[:LETTERS, MARK] == MARKED).all()
    assert (rows[[MARK, START], MARK] == 0).all()
    assert (rows[:, START] == 0).all()


@pytest.mark.parametrize("start", [True, False])
def test_a_mark_repeats_the_letter_before_it(start):
    words = draw_echoes(67, 23, 5, start=start).words
    assert words.shape == (67, 24)
    assert (words[:, 0] == START).all() if start else (words[:, 0] < LETTERS).all()
    assert (words[:, 1:] < START).all()
    text, place = torch.nonzero(words[:, :-1] == MARK, as_tuple=True)
    assert len(text) > 67
    assert (place > 0).all()
    assert (words[text, place + 1] == words[text, place - 1]).all()
    assert (words[text, place + 1] < LETTERS).all()  # never two marks in a row


def test_letters_follow_as_often_as_they_should_and_cost_what_that_says():
    texts, rows = draw_echoes(3001, 13, 7), following()
    words, told = texts.words[:, :-1], texts.words[:, 1:]
    after_mark = words == MARK
    assert (texts.least[after_mark] == 0).all()
    torch.testing.assert_close(texts.least[~after_mark], -rows[words, told][~after_mark].log())
    seen = words < LETTERS
    counts = torch.zeros_like(rows).index_put_((words[seen], told[seen]), torch.ones(int(seen.sum())).double(), True)
    of_letter = counts[:LETTERS] / counts[:LETTERS].sum(-1, keepdim=True)
    assert (of_letter - rows[:LETTERS]).abs().max() < 0.05
    assert abs(float((told[seen] == MARK).double().mean()) - MARKED) < 0.01


def test_a_seed_is_a_text_and_a_generator_goes_on():
    assert torch.equal(draw_echoes(2, 11, 3).words, draw_echoes(2, 11, 3).words)
    source = torch.Generator().manual_seed(3)
    first, second = (draw_echoes(2, 11, source).words for _ in range(2))
    assert torch.equal(first, draw_echoes(2, 11, 3).words)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ((0, 5, 0), "count must be an integer of at least 1, got 0."),
        ((5, 0, 0), "length must be an integer of at least 1, got 0."),
        ((5, 5, -1), "seed must be an integer from 0 to 2**32 - 1, got -1."),
    ],
)
def test_bad_numbers_are_refused(sizes, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        draw_echoes(*sizes)
