"""The language model against PyTorch's own layers, and what a mask lets through; the loop against what can be known."""

import copy
import itertools
import math
import re

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from oracle import normal
from torch import nn

from surgeon import create_causal_mask, create_document_mask, create_reverse_mask, create_window_mask
from surgeon.anatomy.cache import KeyValueCache, WindowCache
from surgeon.anatomy.positions import Alibi, Rotary, Sinusoidal, count_places
from surgeon.models.english import english_grammar
from surgeon.models.grammar import Grammar
from surgeon.models.training import learning_rate_at, train
from surgeon.models.transformer import (
    TransformerLM,
    cross_entropy,
    generate,
    losses,
    make_model,
    predict,
)

V, T = 11, 7
CYCLE = Grammar({"start": {"one": ("b", 1)}, "b": {"two": ("c", 1)}, "c": {".": ("start", 1)}}, slip=0)


def small(seed=0, **options):
    """Eleven words, seven positions, width 15 in three heads, in float64."""
    return make_model(V, T, **{"d_model": 15, "num_heads": 3, "seed": seed} | options).double()


def words(*shape, seed=0):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def no_mask(seq_len):
    return None


MASKS = {"causal": create_causal_mask, "reverse": create_reverse_mask, "none": no_mask}


def theirs(model):
    """The same network from PyTorch's encoder layers, with the same weights."""
    layers = []
    for block in model.blocks:
        ours, d = block.attention, model.word.weight.shape[1]
        layer = nn.TransformerEncoderLayer(
            d, ours.num_heads, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        ).double()
        with torch.no_grad():
            layer.self_attn.in_proj_weight.copy_(torch.cat([ours.W_Q.weight, ours.W_K.weight, ours.W_V.weight]))
            layer.self_attn.in_proj_bias.copy_(torch.cat([ours.W_Q.bias, ours.W_K.bias, ours.W_V.bias]))
        layer.self_attn.out_proj.load_state_dict(ours.W_O.state_dict())
        layer.linear1.load_state_dict(block.mlp[0].state_dict())
        layer.linear2.load_state_dict(block.mlp[2].state_dict())
        layer.norm1.load_state_dict(block.norm_1.state_dict())
        layer.norm2.load_state_dict(block.norm_2.state_dict())
        layers.append(layer)
    return layers


@pytest.mark.parametrize("name", MASKS)
def test_the_model_is_made_of_pytorch_s_encoder_layers(name):
    model, tokens, mask = small(), words(2, 5), MASKS[name](5)
    x = model.word(tokens) + model.position(torch.arange(5))
    for layer in theirs(model):
        x = layer(x, src_mask=None if mask is None else mask.isinf())
    expected = nn.functional.linear(model.norm(x), model.unembed.weight, model.unembed.bias)
    logits, _ = model(tokens, mask)
    torch.testing.assert_close(logits, expected)


def test_shapes_and_weights_that_sum_to_one():
    logits, weights = small(num_layers=3)(words(2, 5), create_causal_mask(5))
    assert logits.shape == (2, 5, V)
    assert [layer.shape for layer in weights] == [(2, 3, 5, 5)] * 3
    for layer in weights:
        torch.testing.assert_close(layer.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
        assert (layer.triu(1) == 0).all()


@pytest.mark.parametrize(
    ("name", "unmoved"),
    [("causal", range(3)), ("reverse", range(4, T)), ("none", [])],
)
def test_a_word_moves_only_the_predictions_that_may_see_it(name, unmoved):
    model, tokens, mask = small(), words(2, T), MASKS[name](T)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % V
    moved = (model(tokens, mask)[0] != model(changed, mask)[0]).any(-1)
    for t in range(T):
        assert moved[:, t].all() if t not in unmoved else not moved[:, t].any()


SCHEMES = {"learned": lambda: "learned", "sinusoidal": Sinusoidal, "rotary": Rotary, "alibi": lambda: Alibi(3)}


def placed(scheme):
    return make_model(V, T, d_model=12, num_heads=3, positions=SCHEMES[scheme]()).double().eval()


@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_places_that_are_told_are_those_that_are_counted(scheme):
    model, tokens, mask = placed(scheme), words(2, 5), create_causal_mask(5)
    expected, _ = model(tokens, mask)
    for places in (torch.arange(5), torch.arange(5).expand(2, 5)):
        torch.testing.assert_close(model(tokens, mask, places=places)[0], expected, rtol=0, atol=1e-12)
    later, _ = model(tokens, mask, places=torch.arange(5) + 2)
    moved = float((later - expected).abs().max())
    assert (moved > 1e-3) is (scheme in ("learned", "sinusoidal"))


@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_a_text_is_the_same_alone_and_behind_padding(scheme):
    model, tokens, real = placed(scheme), words(2, T), torch.arange(T) >= torch.tensor([[3], [0]])
    mask = (real[:, None] & (create_causal_mask(T) == 0)) | torch.eye(T, dtype=torch.bool)
    logits, _ = model(tokens, mask, places=count_places(real))
    alone, _ = model(tokens[:1, 3:], create_causal_mask(T - 3))
    torch.testing.assert_close(logits[:1, 3:], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_packed_texts_are_each_as_alone(scheme):
    model, tokens, lengths = placed(scheme), words(1, T), [2, 4, 1]
    mask = create_document_mask(lengths=lengths, causal=True)
    logits, _ = model(tokens, mask, places=mask.sum(-1) - 1)
    alone = [model(text, create_causal_mask(text.shape[1]))[0] for text in tokens.split(lengths, 1)]
    torch.testing.assert_close(logits, torch.cat(alone, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["whole", "window"])
@pytest.mark.parametrize("sizes", [[1] * T, [T], [3, 1, 3]], ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_caches_answer_as_the_whole(scheme, sizes, kind):
    model, tokens = placed(scheme), words(2, T)
    make = {"whole": lambda: KeyValueCache(T), "window": lambda: WindowCache(2)}[kind]
    mask = create_causal_mask(T) if kind == "whole" else create_window_mask(T, 2, causal=True)
    caches = [make() for _ in model.blocks]
    found = [model(chunk, caches=caches)[0] for chunk in tokens.split(sizes, 1)]
    torch.testing.assert_close(torch.cat(found, 1), model(tokens, mask)[0], rtol=0, atol=1e-12)


def test_without_scale_the_scores_are_larger_by_the_root_of_d_k():
    """Scaling up the queries of the scaled model undoes its scale."""
    plain, scaled, tokens = small(scale=False), small(scale=True), words(2, T)
    assert not torch.equal(plain(tokens)[0], scaled(tokens)[0])
    with torch.no_grad():
        for block in scaled.blocks:
            for parameter in block.attention.W_Q.parameters():
                parameter.mul_(math.sqrt(5))
    torch.testing.assert_close(plain(tokens)[0], scaled(tokens)[0])


def test_models_come_from_their_seed_alone():
    before = torch.get_rng_state()
    first, again, other = small(seed=3), small(seed=3), small(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    for (name, p), q in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(p, q), name
    assert not torch.equal(first.word.weight, other.word.weight)
    torch.manual_seed(3)
    assert torch.equal(TransformerLM(V, T, d_model=15, num_heads=3).word.weight.double(), first.word.weight)
    torch.set_rng_state(before)


def test_losses_are_pytorch_s_cross_entropy():
    logits, targets = normal(2, 5, V), words(2, 5)
    expected = nn.functional.cross_entropy(logits.mT, targets, reduction="none")
    torch.testing.assert_close(losses(logits, targets), expected)
    ours = cross_entropy(logits, targets)
    torch.testing.assert_close(ours, expected.mean())
    (grad,) = torch.autograd.grad(ours, logits)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.mean(), logits)[0])


def test_losses_of_huge_scores_are_finite():
    logits = torch.tensor([[1000.0, 0.0, -1000.0]])
    assert losses(logits, torch.tensor([2])).item() == 2000
    assert losses(logits, torch.tensor([0])).item() == 0


@pytest.mark.parametrize("name", MASKS)
def test_predictions_use_the_prefix_and_its_own_mask(name):
    asked = []

    def mask_of(seq_len):
        asked.append(seq_len)
        return MASKS[name](seq_len)

    model, text = small(), words(2, T)
    told = predict(model, text[:, :4], mask_of)
    assert asked == [4]
    assert told.shape == (2, V)
    assert not told.requires_grad
    torch.testing.assert_close(told, model(text[:, :4], MASKS[name](4))[0][:, -1])
    in_parallel = model(text, MASKS[name](T))[0][:, 3]
    assert torch.allclose(told, in_parallel) == (name == "causal")  # the others had seen what came after


def test_a_reverse_model_forgets_all_but_the_last_word():
    model, text = small(), words(2, 5)
    other = torch.cat([(text[:, :4] + 1) % V, text[:, 4:]], 1)
    assert torch.equal(predict(model, text, create_reverse_mask), predict(model, other, create_reverse_mask))
    assert not torch.allclose(predict(model, text), predict(model, other))


def test_writing_appends_words_one_at_a_time():
    asked = []

    def mask_of(seq_len):
        asked.append(seq_len)

    model, prefix, before = small(), words(2, 3), torch.get_rng_state()
    text = generate(model, prefix, 5, mask_of, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert asked == [3, 4, 5, 6, 7]
    assert text.shape == (2, 8)
    assert torch.equal(text[:, :3], prefix)
    assert torch.equal(text, generate(model, prefix, 5, no_mask, seed=torch.Generator().manual_seed(1)))
    assert not torch.equal(text, generate(model, prefix, 5, no_mask, seed=2))


def test_written_words_follow_the_predicted_distribution():
    """A model that predicts the same always: its words come as often as it says, within four standard errors."""
    model = small()
    with torch.no_grad():
        model.unembed.weight.zero_()
    p = torch.softmax(model.unembed.bias + torch.arange(V) / 5, 0)
    with torch.no_grad():
        model.unembed.bias.copy_(p.log())
    text = generate(model, torch.zeros(500, 1, dtype=torch.int64), T, seed=0)[:, 1:]
    shares = torch.bincount(text.flatten(), minlength=V) / text.numel()
    assert ((shares - p).abs() < 4 * (p * (1 - p) / text.numel()).sqrt()).all()


def test_training_reaches_what_can_be_known():
    """A cycle of three words has no entropy; what little is left is the model's doubt."""
    model = make_model(3, 5, d_model=12, num_heads=3)
    history = train(model, CYCLE, create_causal_mask(5), steps=60, batch_size=7, length=5, seed=1)
    assert history.columns.tolist() == ["step", "loss"]
    assert history.step.tolist() == list(range(60))
    assert abs(history.loss.iloc[0] - math.log(3)) < 0.5
    assert history.loss.iloc[-1] < 0.1
    text = generate(model, torch.zeros(13, 1, dtype=torch.int64), 5, seed=0)
    assert (text == torch.tensor([0, 1, 2, 0, 1, 2])).float().mean() > 0.9


@pytest.mark.long
def test_no_honest_model_beats_the_source_and_a_little_training_beats_one_word():
    grammar = english_grammar()
    model = make_model(24, 13, d_model=32, num_heads=2, seed=1)
    train(model, grammar, create_causal_mask(13), steps=200, length=13, seed=1)
    texts = grammar.sample(500, 13, 101)
    with torch.no_grad():
        told = losses(model(texts[:, :-1], create_causal_mask(13))[0], texts[:, 1:]).double()
    excess = (told - grammar.nll(texts)).mean(-1)
    assert excess.mean() > -4 * excess.std() / math.sqrt(500)
    assert told.mean() < (grammar.best_loss(13) + grammar.one_word_loss(13)) / 2


def test_training_reads_the_seed_s_texts_in_order():
    """With a rate too small to learn, the losses are those of the untrained model on consecutive batches."""
    model, grammar = make_model(3, 5, d_model=12, num_heads=3), CYCLE
    grammar = Grammar({"start": {"a": ("on", 1), "b": ("on", 2)}, "on": {".": ("start", 1)}})
    texts = grammar.sample(3 * 7, 5, 9)
    mask = create_reverse_mask(5)
    with torch.no_grad():
        expected = losses(model(texts[:, :-1], mask)[0], texts[:, 1:]).unflatten(0, (3, 7)).mean((1, 2))
    history = train(model, grammar, mask, steps=3, batch_size=7, length=5, learning_rate=1e-12, seed=9)
    assert history.loss.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert expected.unique().numel() == 3


def untrained():
    return make_model(3, 5, d_model=12, num_heads=3).double()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("warmup", "share"), [(0, 1), (7, 1 / 7)])
def test_the_first_step_is_adamw_s(weight_decay, warmup, share):
    """Its two means are still the gradient and its square: a number moves by the rate, after it has decayed."""
    model, twin, mask = untrained(), untrained(), create_causal_mask(5)
    texts = CYCLE.sample(11, 5, 3)
    cross_entropy(twin(texts[:, :-1], mask)[0], texts[:, 1:]).backward()
    options = {"batch_size": 11, "length": 5, "warmup": warmup, "weight_decay": weight_decay}
    train(model, CYCLE, mask, steps=1, learning_rate=0.01, **options, seed=3)
    rate = 0.01 * share
    for after, before in zip(model.parameters(), twin.parameters(), strict=True):
        moved = before.grad / (before.grad.abs() + 1e-8)
        torch.testing.assert_close(after, before * (1 - rate * weight_decay) - rate * moved)


def test_it_learns_and_writes_where_it_is_whatever_the_defaults():
    model, mask, prefix = untrained(), create_causal_mask(5), torch.zeros(7, 1, dtype=torch.int64)
    twin = copy.deepcopy(model)
    expected = train(model, CYCLE, mask, steps=3, length=5), generate(model, prefix, 5)
    with foreign_defaults():
        found = train(twin, CYCLE, mask, steps=3, length=5), generate(twin, prefix, 5)
    assert found[0].equals(expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_same():
    """With the mask and the texts from the CPU; words are drawn where their generator is."""
    model, mask, prefix = untrained(), create_causal_mask(5), torch.zeros(7, 1, dtype=torch.int64)
    twin = copy.deepcopy(model).cuda()
    expected, found = (train(one, CYCLE, mask, steps=3, length=5).loss for one in (model, twin))
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert torch.equal(generate(twin, prefix.cuda(), 5).cpu(), generate(model, prefix, 5))
    drawn = generate(twin, prefix.cuda(), 5, seed=torch.Generator("cuda").manual_seed(0))
    assert drawn.is_cuda


def test_integers_are_integers_whoever_made_them():
    n = np.int64
    sizes = {"d_model": 12, "num_layers": 1, "seed": 2}
    model, twin = make_model(n(3), n(T), **{name: n(size) for name, size in sizes.items()}), make_model(3, T, **sizes)
    run = {"steps": 3, "batch_size": 5, "length": T, "warmup": 2, "seed": 1}
    found = train(model, CYCLE, None, **{name: n(value) for name, value in run.items()})
    assert found.equals(train(twin, CYCLE, None, **run))
    prefix = torch.zeros(2, 1, dtype=torch.int64)
    assert torch.equal(generate(model, prefix, n(T), seed=n(1)), generate(twin, prefix, T, seed=1))


def test_training_is_silent_and_touches_no_global_state(capfd):
    before, model = torch.get_rng_state(), make_model(3, 5, d_model=12, num_heads=3)
    first = train(model, CYCLE, None, steps=3, length=5, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    again = train(make_model(3, 5, d_model=12, num_heads=3), CYCLE, None, steps=3, length=5, seed=2)
    assert first.equals(again)


def test_the_progress_bar_goes_to_the_error_stream_and_leaves(capfd):
    train(make_model(3, 5, d_model=12, num_heads=3), CYCLE, None, steps=3, length=5, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "training" in err
    assert err.endswith("\r")  # the cursor is back where the bar began, on a wiped line


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate_at(step, 31, 0.5, 7) for step in range(31)]
    assert rates[:7] == pytest.approx([0.5 * (step + 1) / 7 for step in range(7)])
    assert rates[7] == 0.5
    assert rates[19] == pytest.approx(0.25)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[7:]))
    assert 0 < rates[-1] < 0.01
    assert learning_rate_at(0, 5, 0.5, 0) == 0.5


def calls(model, text):
    """Each bad call with the whole of its message."""
    grammar = english_grammar()
    return {
        "d_model must be an integer of at least 1, got 0.": lambda: make_model(V, T, d_model=0),
        "num_layers must be an integer of at least 1, got 0.": lambda: make_model(V, T, num_layers=0),
        "vocab_size must be an integer of at least 1, got 0.": lambda: make_model(0, T),
        "max_len must be an integer of at least 1, got 2.5.": lambda: make_model(V, 2.5),
        "num_heads must be a positive integer that divides d_model (15), got 4.": lambda: small(num_heads=4),
        "seed must be an integer from 0 to 2**32 - 1, got -1.": lambda: small(seed=-1),
        "seed must be an integer from 0 to 2**32 - 1, got 0.5.": lambda: generate(model, text, 1, seed=0.5),
        "tokens must lie between 0 and 10, got 11.": lambda: model(text + V),
        "tokens must lie between 0 and 10, got -1.": lambda: model(text - 1),
        "tokens must be an int64 tensor, got torch.float32.": lambda: model(text.float()),
        "tokens must have shape [B, T] with T from 1 to 7, got [2, 8].": lambda: model(text.repeat(1, 2)),
        "tokens must have shape [B, T] with T from 1 to 7, got [2, 0].": lambda: model(text[:, :0]),
        "tokens must have shape [B, T] with T from 1 to 7, got [4].": lambda: model(text[0]),
        "mask must end in (queries, keys) = (4, 4), got shape [5, 5].": lambda: model(text, create_causal_mask(5)),
        "caches must be one for each of the 2 layers, got 1.": lambda: model(text, caches=[KeyValueCache(5)]),
        "places must have shape [4] or [2, 4], got [5].": lambda: model(text, places=torch.arange(5)),
        "places must lie between 0 and 6, got 7.": lambda: model(text, places=torch.arange(4) + 4),
        "places must lie between 0 and 6, got -1.": lambda: model(text, places=torch.arange(4) - 1),
        "places must be integers, which find learned ones, got torch.float32.": lambda: model(
            text, places=torch.arange(4.0)
        ),
        "places must be a tensor of real numbers, got list.": lambda: model(text, places=[0, 1, 2, 3]),
        "places must come with a model that has positions, got some for one that has none.": lambda: small(
            positions=None
        )(text, places=torch.arange(4)),
        "targets must have the shape of logits but for the last axis, [2, 4], got [2, 3].": lambda: losses(
            torch.zeros(2, 4, V), text[:, 1:]
        ),
        "tokens must lie between 0 and 2, got 3.": lambda: losses(torch.zeros(2, 4, 3), text + 3),
        "prefix must have shape [B, T] with at least one token each, got [2, 0].": lambda: predict(model, text[:, :0]),
        "prefix must have shape [B, T] with at least one token each, got [4].": lambda: generate(model, text[0], 1),
        "steps must be an integer of at least 1, got 0.": lambda: generate(model, text, 0),
        "steps must be at most 4 after a prefix of 4 tokens, got 5.": lambda: generate(model, text, 5),
        "steps must be an integer of at least 1, got -3.": lambda: train(model, grammar, None, steps=-3),
        "batch_size must be an integer of at least 1, got 0.": lambda: train(model, grammar, None, batch_size=0),
        "length must be an integer of at least 1, got 0.": lambda: train(make_model(3, T), CYCLE, None, length=0),
        "model must know the 24 words of the grammar, got 11.": lambda: train(small(), grammar, None),
        "length must be at most the model's max_len (7), got 9.": lambda: train(
            make_model(3, T, d_model=15, num_heads=3), CYCLE, None, length=9
        ),
        "learning_rate must be positive and finite, got 0.": lambda: train(
            make_model(3, T), CYCLE, None, length=5, learning_rate=0
        ),
        "warmup must be at least 0 steps, got -1.": lambda: train(make_model(3, T), CYCLE, None, length=5, warmup=-1),
        "weight_decay must be finite and at least 0, got nan.": lambda: train(
            make_model(3, T), CYCLE, None, length=5, weight_decay=math.nan
        ),
        "mask must end in (queries, keys) = (5, 5), got shape [7, 7].": lambda: train(
            make_model(3, T), CYCLE, create_causal_mask(T), length=5
        ),
    }


@pytest.mark.parametrize("message", calls(None, torch.zeros(2, 4, dtype=torch.int64)))
def test_bad_arguments(message):
    call = calls(small(), torch.zeros(2, 4, dtype=torch.int64))[message]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
