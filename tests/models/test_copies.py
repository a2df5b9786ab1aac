import re

import pandas as pd
import pytest
import torch
from oracle import reference

from surgeon import create_padding_mask
from surgeon.imaging.patterns import uniform_weights
from surgeon.models.copier import (
    Copier,
    make_copier,
    score_alignment,
    train_copier,
)
from surgeon.models.copies import ALPHABET, PAD, copies_of, draw_copies

SIZES = {"stride": 3, "max_len": 11}


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


def test_seeds_decide_and_global_randomness_is_left_alone():
    state = torch.get_rng_state()
    one, same, other = (draw_copies(7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.source, same.source)
    assert not torch.equal(one.source, other.source)
    first, again, second = (make_copier(7, d_model=13, seed=seed).letter.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    model, twin = make_copier(11, d_model=13), make_copier(11, d_model=13)
    assert train_copier(model, steps=3, seed=1).equals(train_copier(twin, steps=3, seed=1))
    assert torch.equal(model.letter.weight, twin.letter.weight)
    assert torch.equal(torch.get_rng_state(), state)


def through(layer, x, context, allowed):
    """One head by PyTorch's attention."""
    return layer.W_O(reference(layer.W_Q(x), layer.W_K(context), layer.W_V(context), allowed))


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_outputs_ask_with_place_and_length_and_positions_answer_with_letter_and_place(mixed):
    copies = draw_copies(5, **SIZES, room=13, seed=3)
    model = make_copier(17, d_model=7, mixed=mixed).double()
    mask = create_padding_mask(copies.lengths, 13)
    reading = model(copies.source, copies.lengths, 4, mask)
    asks = torch.stack([model.output.weight[:4] + model.length.weight[L] for L in copies.lengths])
    context = model.letter.weight[copies.source] + model.position.weight[:13]
    if mixed:
        context = through(model.mixer, context, context, mask.expand(5, 13, 13))
    expected = model.unembed(through(model.attention, asks, context, mask.expand(5, 4, 13)))
    torch.testing.assert_close(reading.logits, expected)
    assert reading.weights.shape == (5, 4, 13)
    assert (reading.weights.masked_select(~mask) == 0).all()
    assert reading.mixing is None if not mixed else reading.mixing.shape == (5, 13, 13)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_hidden_padding_does_not_matter(mixed):
    model = make_copier(17, d_model=7, mixed=mixed).double()
    written = []
    for room in (11, 17):
        copies = draw_copies(5, **SIZES, seed=3)
        source = torch.nn.functional.pad(copies.source, (0, room - 11), value=PAD)
        written.append(model(source, copies.lengths, 4, create_padding_mask(copies.lengths, room)).logits)
    torch.testing.assert_close(*written)


def test_the_product_of_the_weights_carries_the_values_through_both_layers():
    copies = draw_copies(5, **SIZES, seed=3)
    model = make_copier(11, d_model=7, mixed=True).double()
    reading = model(copies.source, copies.lengths, 4, create_padding_mask(copies.lengths, 11))
    letters = model.letter(copies.source) + model.position.weight[:11]
    values = model.attention.W_V(model.mixer.W_O(model.mixer.W_V(letters)))
    carried = model.unembed(model.attention.W_O(reading.weights @ reading.mixing @ values))
    torch.testing.assert_close(reading.logits, carried)


def judged(model, copies):
    with torch.no_grad():
        mask = create_padding_mask(copies.lengths, copies.source.shape[1])
        reading = model(copies.source, copies.lengths, copies.truth.shape[1], mask)
    right = (reading.logits.argmax(-1) == copies.targets)[copies.truth >= 0]
    return score_alignment(reading.weights, copies.truth), float(right.double().mean())


def test_training_finds_the_alignment_it_is_not_shown():
    generator = torch.Generator().manual_seed(0)
    unseen = draw_copies(211, seed=generator)
    model = make_copier(10)
    before, _ = judged(model, unseen)
    history = train_copier(model, seed=generator)
    after, letters = judged(model, unseen)
    mask = create_padding_mask(unseen.lengths, 10)
    even = score_alignment(uniform_weights(mask, (211, 5, 10)), unseen.truth)
    assert before["on_truth"] == pytest.approx(even["on_truth"], abs=0.03)
    assert after["on_truth"] > 0.8
    assert after["argmax_right"] > 0.9
    assert letters > 0.9
    assert list(history.columns) == ["step", "loss"]
    assert list(history.step) == list(range(300))
    assert isinstance(history, pd.DataFrame)
    assert history.loss[0] == pytest.approx(torch.log(torch.tensor(26.0)).item(), abs=0.2)


def test_the_scores_are_what_they_say():
    truth = torch.tensor([[2, 0], [1, -1]])
    weights = torch.tensor([[[0.2, 0.3, 0.5], [0.4, 0.6, 0.0]], [[0.1, 0.8, 0.1], [1.0, 0.0, 0.0]]])
    found = score_alignment(weights, truth)
    assert found == pytest.approx({"on_truth": (0.5 + 0.4 + 0.8) / 3, "argmax_right": 2 / 3})
    lengths = torch.tensor([5, 7])
    even = uniform_weights(create_padding_mask(lengths, 11), (2, 3, 11))
    assert score_alignment(even, torch.zeros(2, 3, dtype=torch.int64))["on_truth"] == pytest.approx((1 / 5 + 1 / 7) / 2)
    assert score_alignment(torch.eye(7), torch.arange(7)) == {"on_truth": 1.0, "argmax_right": 1.0}


def test_a_row_of_zeros_finds_nothing():
    assert score_alignment(torch.zeros(1, 3), torch.tensor([0])) == {"on_truth": 0.0, "argmax_right": 0.0}


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
        (lambda: Copier(0), "room must be an integer of at least 1, got 0."),
        (lambda: Copier(7, d_model=0), "d_model must be an integer of at least 1, got 0."),
        (lambda: make_copier(7, seed=1.0), "seed must be an integer from 0 to 2**32 - 1, got 1.0."),
        (lambda: train_copier(make_copier(7)), "max_len must be at most the model's room (7), got 10."),
        (lambda: train_copier(make_copier(10), steps=0), "steps must be an integer of at least 1, got 0."),
        (lambda: train_copier(make_copier(10), batch_size=0), "batch_size must be an integer of at least 1, got 0."),
        (
            lambda: train_copier(make_copier(10), learning_rate=-1.0),
            "learning_rate must be positive and finite, got -1.0.",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.zeros(2, dtype=torch.int64)),
            "truth must have the shape of the weights but for the last axis, [3], got [2].",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([0, 1, 3])),
            "truth must be integers below the number of keys (3), got 3.",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([0.0, 1.0, 2.5])),
            "truth must be integers below the number of keys (3), got 2.5.",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([-1, -1, -1])),
            "truth must name a key for at least one output, got none.",
        ),
        (
            lambda: score_alignment(2 * torch.eye(3), torch.arange(3)),
            "attention_weights must have rows that sum to one or to zero, got 2.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
