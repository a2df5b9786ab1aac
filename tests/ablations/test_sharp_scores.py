"""Models whose scores grow, what is measured of them, and what is kept of the long run."""

import json
import math
import re
from functools import partial
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch
from oracle import normal
from scipy.stats import ttest_1samp

from experiments import sharp_scores as experiment
from surgeon.ablations.sharp_scores import (
    LIMIT,
    REMEDIES,
    Watched,
    build,
    clip,
    examine,
    in_half,
    losses_of,
    stages_of,
    train_with_remedies,
)
from surgeon.ablations.sharp_starts import FILE, RATES, Growth, beside_none, load_growth
from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.patterns import row_entropy
from surgeon.models.english import english_grammar
from surgeon.models.training import train
from surgeon.models.transformer import make_model

GRAMMAR = english_grammar()
TEXTS = GRAMMAR.sample(7, 11, 3)
remedies = pytest.mark.parametrize("remedy", REMEDIES)


def grown(remedy, factor=5.0):
    """A model whose scores are large, as if it had been trained."""
    model = build(remedy, GRAMMAR, 11, seed=3)
    with torch.no_grad():
        for block in model.blocks:
            block.attention.layer.W_Q.weight.mul_(factor)
            block.attention.layer.W_K.weight.mul_(factor)
    return model


@remedies
def test_watching_a_layer_changes_nothing(remedy):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = MultiHeadAttention(42, 3, **REMEDIES[remedy])
    x, mask = normal(2, 5, 42, grad=False).float(), create_causal_mask(5)
    watched = Watched(layer)
    for ours, theirs in zip(watched(x, mask), layer(x, mask=mask), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(watched.stages.weights, layer(x, mask=mask)[1])


def test_all_remedies_start_from_the_same_weights():
    plain = make_model(len(GRAMMAR.words), 11, seed=3).state_dict()
    for remedy in REMEDIES:
        built = build(remedy, GRAMMAR, 11, seed=3).state_dict()
        for name, values in plain.items():
            assert torch.equal(built[name.replace("attention.", "attention.layer.")], values)


def test_without_a_remedy_it_is_the_book_s_training():
    how = {"steps": 7, "batch_size": 5, "length": 11, "learning_rate": 0.05, "weight_decay": 0.1}
    found = train_with_remedies(["none"], seeds=[3], held_out=5, **how).models["none", 3].state_dict()
    model = make_model(len(GRAMMAR.words), 11, seed=3)
    train(model, GRAMMAR, create_causal_mask(11), seed=3, **how)
    for name, values in model.state_dict().items():
        assert torch.equal(found[name.replace("attention.", "attention.layer.")], values)


@pytest.mark.parametrize("remedy", ["none", "normalised", "temperature"])
def test_what_is_measured_is_what_autograd_and_the_stages_say(remedy):
    model = grown(remedy)
    excess, rows = examine(model, GRAMMAR, TEXTS)
    paid = losses_of(model, TEXTS)
    assert excess == pytest.approx(float(paid.detach().mean()) - float(GRAMMAR.nll(TEXTS).mean()), abs=1e-6)
    stages = stages_of(model)
    # none of these caps, so what softmax sees is what the gradient is of
    gradients = torch.autograd.grad(paid.sum(), [stage.scaled for stage in stages])
    table = pd.DataFrame(rows).set_index(["layer", "head"])
    for layer, head in table.index:
        masked, weights = stages[layer].masked[:, head], stages[layer].weights[:, head]
        row = table.loc[(layer, head)]
        assert row.largest == pytest.approx(float(masked.detach().max()))
        assert row.entropy == pytest.approx(float(row_entropy(weights.detach()).mean()), rel=1e-5)
        lengths = gradients[layer][:, head, 1:].norm(dim=-1)
        assert row.gradient == pytest.approx(float(lengths.flatten().median()), rel=1e-4)


def test_a_cap_takes_from_the_gradient_what_its_slope_takes():
    """Measured before the cap, so that this shows."""
    model = grown("capped", 20.0)
    _, rows = examine(model, GRAMMAR, TEXTS)
    paid = losses_of(model, TEXTS)
    stage = stages_of(model)[1]
    (after,) = torch.autograd.grad(paid.sum(), [stage.scaled])
    slope = 1 - (stage.scaled.detach() / LIMIT) ** 2
    lengths = (after * slope)[:, 0, 1:].norm(dim=-1)
    row = next(row for row in rows if (row["layer"], row["head"]) == (1, 0))
    assert row["gradient"] == pytest.approx(float(lengths.flatten().median()), rel=1e-3)
    assert row["largest"] <= LIMIT


def test_clipping_brings_each_head_to_the_threshold():
    model = grown("clipped", 20.0)
    losses_of(model, TEXTS)
    before = stages_of(model)[0].masked.detach().amax((0, 2, 3))
    clip(model, threshold := float(before.median()))
    losses_of(model, TEXTS)
    after = stages_of(model)[0].masked.detach().amax((0, 2, 3))  # of the first layer, whose input stays
    torch.testing.assert_close(after, before.clamp(max=threshold))
    assert (before > threshold).any()


@pytest.mark.long
def test_scores_grow_at_a_high_rate_and_remedies_hold_them():
    small = {"length": 13, "batch_size": 16, "held_out": 64}
    compared = ["none", "normalised", "capped", "clipped"]
    found = train_with_remedies(compared, steps=60, seeds=[0], record_every=30, **small)
    largest = found.heads.groupby(["remedy", "step"]).largest.max().unstack()
    assert largest.loc["none", 60] > 20 * largest.loc["none", 0]
    assert largest.loc["normalised", 60] < 10
    assert largest.loc["capped", 60] <= LIMIT
    assert largest.loc["clipped", 60] < 2 * LIMIT
    assert list(found.losses.step.unique()) == [0, 30, 60]
    ends = found.heads.query("remedy == 'none'").groupby("step")[["entropy", "gradient"]].median()
    assert (ends.loc[60] < 0.5 * ends.loc[0]).all()


@pytest.mark.parametrize(
    ("texts", "factor"), [(TEXTS, 1.0), (GRAMMAR.sample(7, 2, 3), 1e-9)], ids=["as they are", "two keys alike"]
)
def test_rows_are_counted_whose_favourite_half_precision_loses(texts, factor):
    """Scores that are even but for less than half a step apart are one in bfloat16."""
    model = grown("none", factor)
    found = in_half(model, GRAMMAR, texts, "bfloat16")
    losses_of(model, texts)
    moved, other = [], []
    for stage in stages_of(model):
        for exact, masked in zip(stage.weights.flatten(0, -2), stage.masked.flatten(0, -2), strict=True):
            rounded = masked.detach().bfloat16().float().softmax(-1)
            moved.append(float((rounded - exact.detach()).clamp(min=0).sum()))
            if (exact > 0).sum() > 1:
                best = rounded == rounded.max()
                other.append(bool(best.sum() > 1 or not best[exact.argmax()]))
    assert found["moved"] == pytest.approx(np.mean(moved), rel=1e-3)
    assert found["other"] == pytest.approx(np.mean(other))
    assert found["overflow"] == 0
    plain = float(losses_of(model, texts).detach().mean()) - float(GRAMMAR.nll(texts).mean())
    assert found["excess"] == pytest.approx(plain, abs=0.05)
    assert found["excess"] != plain


def test_a_product_beyond_half_precision_is_counted():
    model = grown("none", 300.0)
    assert in_half(model, GRAMMAR, TEXTS, "float16")["overflow"] > 0.5
    assert in_half(model, GRAMMAR, TEXTS, "bfloat16")["overflow"] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: train_with_remedies(["decay"]),
            "remedies must be among none, normalised, cosine, capped, clipped, temperature, got 'decay'.",
        ),
        (lambda: train_with_remedies([]), "remedies and seeds must hold at least one each, got 0 and 2."),
        (lambda: train_with_remedies(seeds=[]), "remedies and seeds must hold at least one each, got 6 and 0."),
        (lambda: train_with_remedies(seeds=[-1]), "seed must be an integer from 0 to 2**32 - 1, got -1."),
        *(
            (lambda name=name: train_with_remedies(**{name: 0}), f"{name} must be an integer of at least 1, got 0.")
            for name in ("steps", "batch_size", "length", "held_out", "record_every")
        ),
        (
            lambda: train_with_remedies(["none"], learning_rate=-1.0, steps=1),
            "learning_rate must be positive and finite, got -1.0.",
        ),
        (lambda: beside_none(load_growth(), "slow"), "rate must be one of fast, usual, got 'slow'."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


# The long run


def test_what_is_kept_is_every_remedy_from_several_starts_with_versions():
    growth = load_growth()
    assert len(growth.seeds) == len(set(growth.seeds)) >= 5
    assert set(growth.losses.remedy) == {*REMEDIES, "decayed"}
    assert growth.limit == LIMIT
    assert {"python", "torch", "numpy"} <= set(growth.versions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", growth.date)
    models = len(RATES) * 7 * len(growth.seeds)
    assert len(growth.losses) == models
    assert len(growth.halves) == 2 * models
    assert len(growth.ends) == models * 2 * 8
    assert growth.ends.step.isin([0, growth.steps]).all()
    assert growth.largest.step.max() == growth.steps
    for table in growth[:4]:
        assert not table.isna().any(axis=None)
    capped = growth.largest.query("remedy == 'capped'").largest
    assert capped.max() <= growth.limit


def test_a_kept_number_is_its_head_s():
    kept = json.loads((files("surgeon.ablations") / FILE).read_text(encoding="utf8"))
    growth = load_growth()
    one = growth.largest.query("rate == 'fast' and remedy == 'clipped' and layer == 1 and head == 2")
    one = one.set_index(["seed", "step"]).largest
    assert one[growth.seeds[1], 100] == kept["fast"]["remedies"]["clipped"]["largest"][1][100 // kept["every"]][6]
    end = growth.ends.query("rate == 'usual' and remedy == 'none' and layer == 0 and head == 3")
    end = end.set_index(["seed", "step"]).gradient
    assert end[growth.seeds[0], growth.steps] == kept["usual"]["remedies"]["none"]["gradient"][0][1][3]


@pytest.mark.long
def test_the_experiment_keeps_what_a_training_finds(monkeypatch):
    monkeypatch.setattr(experiment, "STEPS", 4)
    monkeypatch.setattr(experiment, "EVERY", 2)
    on_few = partial(train_with_remedies, batch_size=5, held_out=11)
    monkeypatch.setattr(experiment, "train_with_remedies", on_few)
    kept = experiment.at_rate(0.05, [3, 5])["remedies"]
    assert set(kept) == {*REMEDIES, "decayed"}
    how = {"learning_rate": 0.05, "steps": 4, "record_every": 2, "seeds": [5]}
    one = on_few(["capped"], **how)
    assert kept["capped"]["excess"][1] == one.losses.excess.iloc[-1]
    assert kept["capped"]["largest"][1][1] == one.heads.query("step == 2").largest.to_list()
    assert kept["capped"]["gradient"][1][1] == one.heads.query("step == 4").gradient.to_list()
    assert kept["capped"]["halves"]["float16"]["moved"][1] == one.halves.moved.iloc[0]
    decayed = on_few(["none"], weight_decay=experiment.DECAY, **how)
    assert kept["decayed"]["excess"][1] == decayed.losses.excess.iloc[-1]


@pytest.mark.long
def test_a_start_can_be_made_again():
    """A few steps of it: another machine's sums may lead a long training elsewhere."""
    growth = load_growth()
    seed = growth.seeds[0]
    again = train_with_remedies(["none"], seeds=[seed], steps=growth.steps, record_every=growth.steps).heads
    kept = growth.largest.query("rate == 'fast' and remedy == 'none' and seed == @seed")
    start = kept.query("step == 0").largest.to_numpy()
    assert again.query("step == 0").largest.to_numpy() == pytest.approx(start, rel=1e-4)
    end = math.log(kept.query("step == @growth.steps").largest.max())
    assert math.log(again.query("step == @growth.steps").largest.max()) == pytest.approx(end, abs=0.7)


def test_changes_are_taken_start_by_start_and_their_intervals_are_students():
    draw = np.random.default_rng(3)
    level, change = draw.normal(0, 10, 9), draw.normal(0.2, 0.1, (2, 9))
    rows = [
        {"rate": rate, "remedy": remedy, "seed": seed, "excess": value}
        for rate in RATES
        for remedy, values in {"none": level, "a": level + change[0], "b": level + change[1]}.items()
        for seed, value in enumerate(values if rate == "fast" else 0 * values)
    ]
    nothing = pd.DataFrame()
    growth = Growth(nothing, nothing, pd.DataFrame(rows), nothing, {}, [], 4, 20.0, 0.1, {}, "")
    found = beside_none(growth, "fast")
    assert list(found.index) == ["a", "b"]
    for name, row in zip("ab", change, strict=True):
        low, high = ttest_1samp(row, 0).confidence_interval(1 - 0.05 / 2)
        assert found.change[name] - found.half[name] == pytest.approx(low)
        assert found.change[name] + found.half[name] == pytest.approx(high)
    assert (beside_none(growth, "usual") == 0).all(axis=None)
