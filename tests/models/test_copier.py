"""The copier against PyTorch's attention, and its training against steps taken by hand."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
from foreign import foreign_defaults
from oracle import reference
from torch import nn

from surgeon import create_padding_mask
from surgeon.imaging.patterns import uniform_weights
from surgeon.models.alignment import score_alignment
from surgeon.models.copier import Copier, make_copier, train_copier
from surgeon.models.copies import PAD, draw_copies

SIZES = {"stride": 3, "max_len": 11}


def test_seeds_decide_and_global_randomness_is_left_alone():
    state = torch.get_rng_state()
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


@pytest.mark.long
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


def loss_on(model, texts):
    """Mean over the letters to be written, by PyTorch's own cross-entropy."""
    mask = create_padding_mask(texts.lengths, texts.source.shape[1])
    logits = model(texts.source, texts.lengths, texts.truth.shape[1], mask).logits
    return nn.functional.cross_entropy(logits[texts.truth >= 0], texts.targets[texts.truth >= 0])


def test_training_reads_the_seed_s_texts_in_order():
    """With a rate too small to learn, the losses are those of the untrained model on one batch after the other."""
    texts = draw_copies(4 * 17, stride=3, min_len=2, max_len=7, seed=5)
    model = make_copier(11, d_model=13)
    with torch.no_grad():
        batches = zip(*(x.split(17) for x in texts), strict=True)
        expected = [loss_on(model, type(texts)(*batch)).item() for batch in batches]
    options = {"stride": 3, "min_len": 2, "max_len": 7, "seed": 5}
    history = train_copier(model, **options, steps=4, batch_size=17, learning_rate=1e-12)
    assert history.loss.tolist() == pytest.approx(expected, rel=1e-5)
    assert len(set(expected)) == 4


@pytest.mark.parametrize("learning_rate", [0.01, 0.03])
def test_the_first_step_is_adamw_s_at_a_twentieth_of_the_peak(learning_rate):
    """Its two means are still the gradient and its square: each number moves by the rate, after a decay of 1%."""
    model, twin = make_copier(7, d_model=5).double(), make_copier(7, d_model=5).double()
    loss_on(twin, draw_copies(64, max_len=7, seed=3)).backward()
    train_copier(model, max_len=7, steps=1, learning_rate=learning_rate, seed=3)
    rate = learning_rate / 20
    for after, before in zip(model.parameters(), twin.parameters(), strict=True):
        moved = before.grad / (before.grad.abs() + 1e-8)
        torch.testing.assert_close(after, before * (1 - rate * 0.01) - rate * moved)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_it_reads_and_learns_where_it_is_whatever_the_defaults(mixed):
    texts = draw_copies(5, **SIZES, seed=3)
    model = make_copier(11, d_model=7, mixed=mixed)
    twin = copy.deepcopy(model)
    expected = train_copier(model, **SIZES, steps=3, batch_size=5, seed=1)
    with foreign_defaults():
        found = train_copier(twin, **SIZES, steps=3, batch_size=5, seed=1)
        read = twin(texts.source, texts.lengths, 4).logits
    assert found.equals(expected)
    assert torch.equal(read, model(texts.source, texts.lengths, 4).logits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_a_cuda_device_gives_the_same(mixed):
    """On texts from a seed, and the losses of a model that moves as on the CPU, up to rounding."""
    model = make_copier(11, d_model=7, mixed=mixed).double()
    twin = copy.deepcopy(model).cuda()
    expected, found = (train_copier(one, **SIZES, steps=3, batch_size=5, seed=1).loss for one in (model, twin))
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    drawn = train_copier(twin, **SIZES, steps=3, seed=torch.Generator("cuda").manual_seed(1))
    assert np.isfinite(drawn.loss).all()


def test_integers_are_integers_whoever_made_them():
    n = np.int64
    model, twin = make_copier(n(11), d_model=n(7), seed=n(2)), make_copier(11, d_model=7, seed=2)
    sizes = {"stride": 3, "min_len": 2, "max_len": 11, "steps": 3, "batch_size": 5, "seed": 1}
    found = train_copier(model, **{name: n(value) for name, value in sizes.items()})
    assert found.equals(train_copier(twin, **sizes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
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
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
