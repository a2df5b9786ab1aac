"""The texts that the book wrote for its language model to read."""

from collections import Counter

import pytest

from surgeon.models.texts import load_texts

TEXTS = load_texts()


def test_every_kind_has_two_texts_to_choose_on_and_two_to_test_on():
    halves = Counter((text.kind, text.seen) for text in TEXTS)
    assert len(TEXTS) == 48
    assert set(halves.values()) == {2}
    assert len(halves) == 2 * 12


def test_the_two_halves_are_all_texts_and_share_none():
    chosen, tested = load_texts(seen=True), load_texts(seen=False)
    assert all(text.seen for text in chosen)
    assert not any(text.seen for text in tested)
    assert sorted(chosen + tested) == sorted(TEXTS)
    assert len({text.text for text in TEXTS}) == len(TEXTS)


def test_names_are_told_apart_within_a_kind():
    assert len({(text.kind, text.name) for text in TEXTS}) == len(TEXTS)


@pytest.mark.parametrize("one", TEXTS, ids=lambda one: f"{one.kind}-{one.name}")
def test_a_text_is_short_and_has_no_space_at_its_ends(one):
    """Sixty to a hundred and sixty tokens of four letters or so; code has shorter ones."""
    assert 150 <= len(one.text) <= 600
    assert one.text == one.text.strip()
    assert "\t" not in one.text


@pytest.mark.parametrize("one", [t for t in TEXTS if t.kind == "repetition"], ids=lambda one: one.name)
def test_a_repetition_says_all_twice(one):
    half = len(one.text) // 2
    assert one.text[:half].strip() == one.text[half:].strip()
    assert one.text[half] in " \n"
