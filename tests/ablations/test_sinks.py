"""Small models with a sink and without: they start alike, and what is said of their rows is so."""

import math
import re
from functools import partial

import pandas as pd
import pytest
import torch

from experiments import sinks as experiment
from experiments import sinks_language_model as run
from surgeon.ablations.sink_starts import changes, load_large_model, load_small_models, spelled
from surgeon.ablations.sinks import (
    DESIGNS,
    SEEN,
    examine_rows,
    hidden_from_others,
    muted_for_others,
    train_with_sinks,
)
from surgeon.anatomy.masks import create_causal_mask
from surgeon.models import language_model
from surgeon.models.echoes import MARK, START, draw_echoes
from surgeon.models.transformer import losses, make_model

TINY = {"steps": 3, "batch_size": 5, "length": 13, "held_out": 17}
PARTS = ["first", "own", "before", "marks", "rest", "nobody"]


@pytest.fixture(scope="module")
def tiny():
    return train_with_sinks(seeds=[0, 7], record_every=2, **TINY)


def test_there_is_a_row_for_each_model_step_and_kind(tiny):
    assert len(tiny.rows) == 4 * 2 * 2 * 2
    assert len(tiny.values) == 4 * 2 * 2
    assert set(tiny.rows.step) == {2, 3}
    assert set(tiny.models) == {(name, seed) for name in DESIGNS for seed in (0, 7)}


def test_a_row_s_weight_is_counted_once_and_whole(tiny):
    assert (tiny.rows[PARTS].sum(axis=1) - 1).abs().max() < 1e-6
    sunk = tiny.rows.design.isin(["plus one", "learned"])
    assert tiny.rows[sunk].nobody.min() > 0.01
    assert tiny.rows[~sunk].nobody.abs().max() < 1e-6
    assert (tiny.rows[~sunk].unsunk == 0).all()


def test_designs_of_a_seed_start_alike_and_read_the_same():
    one = train_with_sinks(["none", "plus one", "learned"], **(TINY | {"steps": 1})).models
    plain = dict(one["none", 0].named_parameters())
    for name in ("plus one", "learned"):
        drawn = dict(make_model(START + 1, 13, num_heads=1, num_layers=1, seed=0).named_parameters())
        other = dict(one[name, 0].named_parameters())
        assert set(other) - set(plain) == ({"blocks.0.attention.sink"} if name == "learned" else set())
        # after one step each number has moved by no more than the rate and the decay
        assert all((other[n] - drawn[n]).abs().max() < 1e-3 for n in drawn)


def test_a_sink_is_learned_where_it_is_to_be(tiny):
    sinks = {name: tiny.models[name, 0].blocks[0].attention.sink.item() for name in ("plus one", "learned")}
    assert sinks["plus one"] == 0
    assert sinks["learned"] != 0


def test_what_is_measured_is_what_a_model_does():
    """By other means, text by text."""
    model = make_model(START + 1, 13, num_heads=1, num_layers=1, sink=0.75, seed=3)
    tests, mask = draw_echoes(5, 13, 3), create_causal_mask(13)
    (idle, asking), lengths = examine_rows(model, tests)
    layer, found = model.blocks[0].attention, {"idle": [], "asking": []}
    with torch.no_grad():
        for words, least in zip(tests.words, tests.least, strict=True):
            logits, (weights,) = model(words[None, :-1], mask)
            paid = losses(logits, words[None, 1:])[0].double() - least
            x = model.blocks[0].norm_1(model.word(words[:-1]) + model.position.weight[:13])
            out = weights[0, 0] @ (layer.W_V(x) @ layer.W_O.weight.T)
            for t in range(SEEN, 13):
                a = weights[0, 0, t]
                marks = [j for j in range(1, t - 1) if words[j] == MARK]
                rest = [j for j in range(1, t - 1) if words[j] != MARK]
                row = [a[0], a[t], a[t - 1], a[marks].sum(), a[rest].sum(), 1 - a.sum(), out[t].norm(), paid[t]]
                found["asking" if words[t] == MARK else "idle"].append([float(x) for x in row])
    for kind, one in (("idle", idle), ("asking", asking)):
        assert one["kind"] == kind
        expected = torch.tensor(found[kind]).mean(0).tolist()
        assert [one[name] for name in [*PARTS, "brought", "excess"]] == pytest.approx(expected, abs=1e-5)
    assert lengths["sink"] == 0.75


def test_hiding_and_taking_away_are_measured_as_rises_of_the_loss():
    model = make_model(START + 1, 13, num_heads=1, num_layers=1, sink=0.75, seed=3)
    tests = draw_echoes(23, 13, 3)
    rows, _ = examine_rows(model, tests)
    model.blocks[0].attention.sink = None
    without, lengths = examine_rows(model, tests)
    for a, b in zip(rows, without, strict=True):
        assert b["excess"] - a["excess"] == pytest.approx(a["unsunk"], abs=1e-6)
        assert a["unsunk"] != 0
        assert a["hidden"] != 0
    assert math.isnan(lengths["sink"])


def test_a_token_is_hidden_from_others_alone():
    seen = hidden_from_others(5, 2)
    assert (~seen).sum() == 4
    assert seen[2].all()
    assert not seen[[0, 1, 3, 4], 2].any()


def test_a_token_is_muted_for_others_alone():
    weights = torch.rand(2, 3, 5, 5)
    before = weights.clone()
    muted = muted_for_others(weights, 2)
    assert torch.equal(weights, before)
    changed = muted != weights
    assert changed.sum() == 2 * 3 * 4
    assert (muted[..., [0, 1, 3, 4], 2] == 0).all()
    assert torch.equal(muted[..., 2, :], weights[..., 2, :])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"designs": ["none", "two"]},
            "designs must be among none, plus one, learned, none, no start token, got 'two'.",
        ),
        ({"designs": []}, "designs and seeds must hold at least one each, got 0 and 1."),
        ({"seeds": []}, "designs and seeds must hold at least one each, got 4 and 0."),
        ({"length": 8}, "length must be above 8, got 8."),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0."),
        ({"record_every": 0}, "record_every must be an integer of at least 1, got 0."),
        ({"held_out": 0}, "count must be an integer of at least 1, got 0."),
        ({"seeds": [-1]}, "seed must be an integer from 0 to 2**32 - 1, got -1."),
    ],
)
def test_bad_arguments_are_refused(given, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        train_with_sinks(**(TINY | given))


# The language model's run, on a model that has learned nothing


@pytest.fixture(scope="module")
def decoder():
    sizes = language_model.Sizes(
        vocabulary=53, layers=2, heads=6, key_heads=3, d_k=4, width=24, inner=29, base=100.0, epsilon=1e-5, limit=64
    )
    return language_model.untrained(sizes, seed=3)


IDS = [(7 * n * n + 3) % 53 for n in range(41)]


@torch.no_grad()
def test_what_values_give_adds_up_to_what_attention_adds(decoder):
    trace, given = decoder.trace(IDS), run.brought(decoder, decoder.trace(IDS).values)
    assert given.shape == (2, 6, 41, 24)
    layer = decoder.layers[1]
    heads = (trace.weights[1] @ trace.values[1].repeat_interleave(2, 0)).transpose(0, 1).flatten(1)
    torch.testing.assert_close((trace.weights[1] @ given[1]).sum(0), layer.W_O(heads), rtol=1e-4, atol=1e-6)


def test_a_look_is_at_late_rows_and_held_against_the_others(decoder):
    found, trace = run.look(decoder, IDS), decoder.trace(IDS)
    lengths = run.brought(decoder, trace.values).norm(dim=-1)
    torch.testing.assert_close(found["weight"], trace.weights[:, :, 8:, 0].mean(-1))
    assert float(found["value"][1, 4]) == pytest.approx(float(lengths[1, 4, 0] / lengths[1, 4, 1:].median()), rel=1e-5)
    assert float(found["even"]) == pytest.approx(sum(1 / n for n in range(9, 42)) / 33)
    assert float(found["hidden"][2]) == pytest.approx(
        float(trace.hidden[2, 0].norm() / trace.hidden[2, 1:].norm(dim=-1).median()), rel=1e-5
    )


def test_where_weight_moves_is_read_from_late_rows(decoder):
    found = run.moved(decoder, IDS)
    whole, cut = (decoder.trace(IDS, cuts=cuts).weights[:, :, 11:] for cuts in ([], run.CUTS["first hidden"]))
    assert found["first"] == pytest.approx(float(whole[..., 0].mean()), abs=1e-3)
    assert found["second"] == pytest.approx(float(whole[..., 1].mean()), abs=1e-3)
    assert found["second, first hidden"] == pytest.approx(float(cut[..., 1].mean()), abs=1e-3)
    assert found["second, first hidden"] > found["second"]


def test_cuts_hide_and_mute_what_they_say(decoder):
    weights = {name: decoder.trace(IDS, cuts=cuts).weights for name, cuts in run.CUTS.items()}
    rows = torch.arange(41)
    for token, name in ((0, "first"), (run.OTHER, "another")):
        later = rows > token
        for how in ("hidden", "muted"):
            one = weights[f"{name} {how}"]
            assert (one[..., later, token] == 0).all()
            assert (one[..., token, token] > 0).all()
        assert (weights[f"{name} hidden"].sum(-1) - 1).abs().max() < 1e-5
        assert (weights[f"{name} muted"][..., later, :].sum(-1) < 1 - 1e-4).all()
    late = slice(run.WINDOW, None)
    seen = {name: (one[..., late, :] > 0).sum(-1) for name, one in weights.items()}
    assert (seen["window"] == run.WINDOW).all()
    assert (seen["window, first kept"] == run.WINDOW + 1).all()
    assert (seen["window, first kept, muted"] == run.WINDOW).all()
    assert (seen["window, four kept"] >= run.WINDOW + 1).all()


# What was kept


def test_the_experiment_keeps_what_a_training_finds(monkeypatch):
    on_few = partial(train_with_sinks, batch_size=5, held_out=17)
    monkeypatch.setattr(experiment, "train_with_sinks", on_few)
    kept = experiment.of_design("learned", [3, 5], steps=2, learning_rate=0.01)
    for n, seed in enumerate((3, 5)):
        found = on_few(["learned"], seeds=[seed], steps=2, learning_rate=0.01, length=24)
        idle = found.rows.set_index("kind").loc["idle"]
        assert {what: kept["idle"][what][n] for what in experiment.ROWS} == idle[list(experiment.ROWS)].to_dict()
        assert kept["values"]["sink"][n] == found.values.sink[0]
    weights = torch.tensor(kept["weights"])
    assert weights.shape == (24, 24)
    assert (weights.sum(-1) < 1).all()
    assert "sink" not in experiment.of_design("none", [3], steps=1, learning_rate=0.01)["values"]


def test_gifts_that_point_one_way_are_alike():
    given = torch.randn(5, 2, 3, 1, 7, generator=torch.Generator().manual_seed(0)).abs().repeat(1, 1, 1, 2, 1)
    given[..., 1, :] = given[:1, ..., 1, :] * torch.arange(1, 6)[:, None, None, None]
    cosines = torch.nn.functional.cosine_similarity(given[:, None], given[None], dim=-1)
    expected = (cosines.sum((0, 1)) - 5) / 20
    torch.testing.assert_close(run.alike(given), expected)
    torch.testing.assert_close(run.alike(given)[..., 1], torch.ones(2, 3))


def test_what_was_kept_of_small_models_is_read_as_it_was_measured():
    small = load_small_models()
    assert len(small.rows) == 2 * 4 * 2 * len(small.seeds)
    assert len(small.values) == 2 * 4 * len(small.seeds)
    assert (small.rows[PARTS].sum(axis=1) - 1).abs().max() < 1e-5
    assert not small.rows.drop(columns=["rate", "design", "kind"]).isna().any(axis=None)
    assert small.values.sink.isna().equals(small.values.design.str.startswith("none"))
    for name, words in small.texts.items():
        weights = small.weights[name]
        assert weights.shape == (len(words), len(words))
        assert (weights.triu(1) == 0).all()
        most = weights.sum(-1) <= 1.02  # rounded, number by number
        assert most.all()
        assert (words[0] == ".") == DESIGNS[name][1]


def test_what_was_kept_of_the_language_model_is_in_its_order():
    large = load_large_model()
    assert list(large.heads.layer) == [layer for layer in range(30) for _ in range(9)]
    assert large.heads.weight.between(0, 1).all()
    assert (large.heads.value > 0).all()
    assert large.heads[["alike", "other"]].abs().max(axis=None) <= 1
    assert len(large.hidden) == 31
    assert next(iter(large.losses)) == "as trained"
    assert large.losses.index.is_unique
    assert large.moved.index.equals(large.losses.index[run.FEW])
    assert large.moved.stack().between(0, 1).all()
    assert len(large.tokens) == len(large.losses)


def test_an_interval_is_student_s():
    table = pd.DataFrame({"a": [1.0, 2.0, 4.0, 3.0], "b": [2.0, 2.0, 5.0, 4.0], "c": [0.0, 0.0, 0.0, 1.0]})
    found = changes(table, "a")
    assert found.change.tolist() == [0.75, -2.25]
    # t(3) at 0.0125 from above is 4.1765
    assert found.half["b"] == pytest.approx(4.1765 * 0.5 / 2, rel=1e-4)


def test_words_are_spelled():
    assert "".join(spelled([START, 0, 18, MARK, 18])) == ".as!s"
