"""Texts to be copied backwards: Python's own slices, and counts of what is drawn."""

import re

import numpy as np
import pytest
import torch
from foreign import foreign_defaults

from surgeon.models.copies import ALPHABET, PAD, copies_of, draw_copies


def spelled(tokens):
    return "".join((*ALPHABET, " ")[i] for i in tokens.tolist())


@pytest.mark.parametrize("stride", [1, 2, 3, 13])
def test_a_text_is_read_backwards_by_python_s_own_slice(stride):
    texts = ["surgeons", "cut", "a"]
    copies = copies_of(texts, stride=stride, max_len=11, room=13)
    T = len(range(0, 11, stride))
    assert copies.source.shape == (3, 13)
    assert copies.truth.shape == copies.targets.shape == (3, T)
    for b, text in enumerate(texts):
        assert spelled(copies.source[b]) == text.ljust(13)
        assert spelled(copies.targets[b]) == text[::-stride].ljust(T)
        assert copies.truth[b].tolist() == [*range(len(text))[::-stride], *[-1] * T][:T]
    assert copies.lengths.tolist() == [8, 3, 1]


def test_random_texts_have_every_length_and_letter_alike():
    copies = draw_copies(6007, min_len=5, max_len=11, room=13, stride=3, seed=2)
    positions = torch.arange(13)
    assert torch.equal(copies.source == PAD, positions >= copies.lengths[:, None])
    counts = copies.lengths.bincount(minlength=12)
    assert (counts[:5] == 0).all()
    assert counts[5:].tolist() == pytest.approx([6007 / 7] * 7, abs=5 * (6007 / 7) ** 0.5)
    letters = copies.source[copies.source != PAD].bincount(minlength=26)
    mean = int(letters.sum()) / 26
    assert letters.tolist() == pytest.approx([mean] * 26, abs=5 * mean**0.5)
    again = copies_of([spelled(row).strip() for row in copies.source[:17]], stride=3, max_len=11, room=13)
    assert all(torch.equal(one[:17], other) for one, other in zip(copies, again, strict=True))


def test_texts_come_from_their_seed_and_global_randomness_is_left_alone():
    state = torch.get_rng_state()
    one, same, other = (draw_copies(7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.source, same.source)
    assert not torch.equal(one.source, other.source)
    generator = torch.Generator().manual_seed(1)
    first, second = draw_copies(7, seed=generator), draw_copies(7, seed=generator)
    assert torch.equal(first.source, one.source)
    assert not torch.equal(first.source, second.source)
    assert torch.equal(torch.get_rng_state(), state)


def same(one, other):
    return all(torch.equal(x, y) and x.device == y.device for x, y in zip(one, other, strict=True))


def test_texts_are_on_the_cpu_whatever_the_defaults():
    options = {"stride": 3, "max_len": 7, "room": 11}
    written, drawn = copies_of(["cut", "wire"], **options), draw_copies(5, **options)
    with foreign_defaults():
        assert same(copies_of(["cut", "wire"], **options), written)
        assert same(draw_copies(5, **options), drawn)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_texts_are_where_their_generator_is():
    copies = draw_copies(5, stride=3, seed=torch.Generator("cuda").manual_seed(2))
    assert all(x.is_cuda for x in copies)
    texts = [spelled(row).strip() for row in copies.source]
    assert same([x.cpu() for x in copies], copies_of(texts, stride=3))


def test_integers_are_integers_whoever_made_them():
    n = np.int64
    sizes = {"stride": n(3), "max_len": n(7), "room": n(11)}
    assert same(copies_of(["cut"], **sizes), copies_of(["cut"], stride=3, max_len=7, room=11))
    drawn = draw_copies(n(5), **sizes, min_len=n(2), seed=n(3))
    assert same(drawn, draw_copies(5, stride=3, max_len=7, room=11, min_len=2, seed=3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: copies_of([]), "texts must be a sequence of at least one text, got []."),
        (lambda: copies_of("cut"), "texts must be a sequence of at least one text, got 'cut'."),
        (lambda: copies_of(["cut", ""]), "texts must have from 1 to 10 letters from a to z, got ''."),
        (lambda: copies_of(["Cut"]), "texts must have from 1 to 10 letters from a to z, got 'Cut'."),
        (lambda: copies_of(["cut"], max_len=2), "texts must have from 1 to 2 letters from a to z, got 'cut'."),
        (lambda: copies_of(["cut"], stride=0), "stride must be an integer of at least 1, got 0."),
        (lambda: copies_of(["cut"], max_len=0), "max_len must be an integer of at least 1, got 0."),
        (lambda: copies_of(["cut"], room=7), "room must be at least max_len (10), got 7."),
        (lambda: draw_copies(0), "count must be an integer of at least 1, got 0."),
        (lambda: draw_copies(7, min_len=11), "min_len must be at most max_len (10), got 11."),
        (lambda: draw_copies(7, min_len=0), "min_len must be an integer of at least 1, got 0."),
        (lambda: draw_copies(7, room=0), "room must be an integer of at least 1, got 0."),
        (lambda: draw_copies(7, seed=-1), "seed must be an integer from 0 to 2**32 - 1, got -1."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
