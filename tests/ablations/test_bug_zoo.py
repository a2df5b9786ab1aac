"""Bugs in the small language model, and their pictures: the sound core changes nothing, and each fault is itself."""

import math
import re

import pandas as pd
import pytest
import torch
from foreign import foreign_defaults

from surgeon.ablations.bug_scenes import (
    SCENES,
    describe_scenes,
    plot_scenes,
    scene,
)
from surgeon.ablations.bug_zoo import (
    ask,
    compare_bugs,
    one_step,
    same_step,
)
from surgeon.ablations.no_mask import parallel_losses, prefix_losses
from surgeon.anatomy.masks import create_causal_mask
from surgeon.models.english import english_grammar
from surgeon.models.training import train
from surgeon.models.transformer import make_model
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import CAUSAL, NEEDS, Fault, Layer, right
from surgeon.zoo.housing import (
    Housing,
    house,
    kind_of,
    mask_of,
    put_in,
    quiet,
    told,
)

pytestmark = pytest.mark.long

TINY = {"steps": 3, "last": 2, "batch_size": 5, "length": 7, "d_model": 12, "num_heads": 4, "held_out": 3}
SOUND = Fault("right", "Nothing is wrong.", "", "", "", "", CAUSAL, right)
GRAMMAR = english_grammar()
CHANGE_NOTHING = {
    "half_precision_sums",
    "weights_before_the_mask",
    "scales_in_place",
    "top_left_causal",
    "CausalInTrainingOnly",
    "minus_ten_thousand",
    "minus_ten_billion",
    "dead_rows_nan",
    "dead_rows_uniform",
    "dead_rows_nan_backward",
    "DropoutInEvaluation",
    "scaled_too_late",
    "no_maximum",
    "one_maximum_for_all",
    "clipped_scores",
}


def small_model(seed=0):
    return make_model(len(GRAMMAR.words), 7, d_model=12, num_heads=2, num_layers=2, seed=seed)


TEXTS = GRAMMAR.sample(11, 7, 1)


# In the model


def test_a_sound_core_gives_the_model_s_own_answers():
    model, cured = small_model(), put_in(small_model(), SOUND)
    assert isinstance(cured.blocks[1].attention, Housing)
    for ours, theirs in zip(cured.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    expected = model(TEXTS[:, :-1], create_causal_mask(7))[0]
    torch.testing.assert_close(cured(TEXTS[:, :-1], create_causal_mask(7))[0], expected)
    assert same_step(one_step(model, None, TEXTS, 0), one_step(cured, SOUND, TEXTS, 0))


def test_of_shared_heads_the_first_are_kept():
    model = small_model()
    grouped = put_in(small_model(), None, num_kv_heads=1).blocks[0].attention
    assert torch.equal(grouped.W_K.weight, model.blocks[0].attention.W_K.weight[:6])


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({}, torch.ones(3, 3, dtype=torch.bool).tril()),
        ({"mask": "0-1"}, torch.ones(3, 3).tril()),
        ({"mask": "additive"}, create_causal_mask(3)),
    ],
    ids=["boolean", "0-1", "additive"],
)
def test_a_mask_is_told_in_the_function_s_convention(held, expected):
    (mask,) = told(held, create_causal_mask(3)).values()
    assert mask.dtype == expected.dtype
    assert torch.equal(mask, expected)


def test_a_function_that_is_causal_by_a_flag_gets_the_flag():
    assert told({"causal": "is_causal"}, None) == {"mask": None, "is_causal": True}
    assert mask_of(ZOO["sees_the_next"])(3) is None
    assert torch.equal(mask_of(ZOO["lost_mask"])(3), create_causal_mask(3))
    assert told({}, None) == {}


def test_a_step_that_differs_in_gradients_alone_is_not_the_same():
    model = small_model()
    with torch.no_grad():
        for block in model.blocks:  # queries and keys that matter
            block.attention.W_Q.weight *= 5
    detached = put_in(small_model(), ZOO["detached_weights"])
    detached.load_state_dict(model.state_dict())
    logits = [m(TEXTS[:, :-1], create_causal_mask(7))[0] for m in (model, detached)]
    torch.testing.assert_close(*logits)
    assert not same_step(one_step(model, None, TEXTS, 0), one_step(detached, ZOO["detached_weights"], TEXTS, 0))


@pytest.mark.parametrize("name", sorted(CHANGE_NOTHING - {"DropoutInEvaluation"}))
def test_what_changes_no_step_trains_to_the_same_losses(name):
    """As `compare_bugs` takes for granted; here it is trained."""
    fault, sizes = ZOO[name], {"steps": 9, "batch_size": 5, "length": 7}
    sound, faulty = (train(put_in(small_model(), f), GRAMMAR, mask_of(f)(7), **sizes).loss for f in (None, fault))
    assert faulty.tolist() == pytest.approx(sound.tolist(), abs=1e-3)
    assert sound.iloc[-1] < sound.iloc[0] - 0.1


def test_a_model_whose_texts_see_each_other_is_asked_about_them_one_by_one():
    model = put_in(small_model(), ZOO["softmax_over_batch"])
    whole, use = ask(model, TEXTS, create_causal_mask, 0)
    assert whole.shape == use.shape == (11, 7)
    for text, losses in zip(TEXTS.split(1), use, strict=True):
        torch.testing.assert_close(losses[None], prefix_losses(model, text, create_causal_mask))
    assert not torch.allclose(whole, use, atol=1e-3)


def test_others_are_asked_together_and_not_in_training_mode():
    model = put_in(small_model(), None, dropout=0.5)
    whole, use = ask(model, TEXTS, create_causal_mask, 0)
    assert not model.training
    torch.testing.assert_close(whole, parallel_losses(model, TEXTS, create_causal_mask))
    torch.testing.assert_close(use, whole, rtol=1e-4, atol=1e-5)


# The comparison


@pytest.fixture(scope="module")
def comparison():
    return compare_bugs(**TINY)


@pytest.mark.long
def test_every_fault_has_a_row_and_those_of_padding_are_left_out(comparison):
    table = comparison.summary.set_index("fault")
    assert list(table.index) == list(ZOO)
    padding = [name for name, fault in ZOO.items() if fault.needs == "padding"]
    assert list(table.index[table.changes == "no padding here"]) == padding
    assert table.loc[padding, "gap"].isna().all()
    assert table.drop(index=padding)[["loss", "gap", "whole_gap", "use_gap"]].notna().all(axis=None)
    assert (table.finding == [fault.finding for fault in ZOO.values()]).all()


@pytest.mark.long
def test_faults_that_change_nothing_are_known_and_not_trained(comparison):
    table = comparison.summary
    silent = set(table.fault[table.changes == "nothing"])
    assert silent == CHANGE_NOTHING
    assert (table.gap[table.changes == "nothing"] == 0).all()
    trained = set(table.fault[table.changes == "the step"])
    assert set(comparison.history.fault) == trained | {"sound"}
    assert (comparison.history.groupby("fault").size() == TINY["steps"]).all()


@pytest.mark.long
def test_losses_are_means_of_the_last_steps(comparison):
    table = comparison.summary.set_index("fault")
    ends = comparison.history.query("step >= 1").groupby("fault").loss.mean()
    assert comparison.sound_loss == pytest.approx(ends["sound"])
    assert table.loss["lost_mask"] == pytest.approx(ends["lost_mask"])
    assert table.gap["lost_mask"] == pytest.approx(ends["lost_mask"] - ends["sound"])
    assert table.loss["inverted_mask"] == pytest.approx(table.loss["two_conventions"], abs=1e-5)


def test_the_sound_model_stays_as_it_was_trained_whoever_is_held_against_it():
    """It is trained once, and asked for again and again."""
    names = ["CausalInTrainingOnly", "lost_mask", "top_left_causal"]
    first, again = (compare_bugs(names, **TINY).summary for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_the_comparison_leaves_the_global_generator_alone_and_depends_on_the_seed_only():
    names = ["SeedsEverything", "DropoutInEvaluation"]
    state = torch.get_rng_state()
    first, second = (compare_bugs(names, **TINY).summary for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.equals(second)
    assert not first.equals(compare_bugs(names, **TINY, seed=1).summary)


@pytest.mark.parametrize(
    "option",
    [
        {"batch_size": 4},
        {"length": 8},
        {"learning_rate": 1e-3},
        {"d_model": 8},
        {"num_heads": 2},
        {"num_layers": 2},
        {"dropout": 0.5},
        {"last": 1},
    ],
    ids=lambda option: next(iter(option)),
)
def test_every_option_reaches_the_models(option):
    names = ["SeedsEverything", "HeadsInTurns"]
    usual, other = (compare_bugs(names, **TINY | more).summary.set_index("fault").loss for more in ({}, option))
    assert usual["SeedsEverything"] != other["SeedsEverything"]
    assert (usual["HeadsInTurns"] == other["HeadsInTurns"]) == ("dropout" in option)


def test_a_default_device_without_numbers_is_not_used():
    with foreign_defaults():
        summary = compare_bugs(["lost_mask", "HeadsInTurns", "DropoutInEvaluation"], **TINY).summary
        seen = scene(ZOO["lost_mask"])
        assert int(seen.leaks.sum()) == 10
        assert describe_scenes([seen]).endswith("10 pairs of tokens leak.")
    assert summary.loss.map(math.isfinite).all()
    assert {(x.dtype, x.device.type) for x in (seen.sound, seen.faulty, seen.reach)} == {(torch.float32, "cpu")}


@pytest.mark.long
def test_a_cheat_is_below_the_source_and_pays_for_it():
    names = ["lost_mask", "sees_the_next", "unscaled", "softmax_over_batch"]
    result = compare_bugs(names, steps=60, held_out=31)
    table = result.summary.set_index("fault")
    assert table.cheats.tolist() == [True, True, False, False]
    assert (table.loss[:2] < result.source_loss - 0.3).all()
    assert (table.use_gap[["lost_mask", "sees_the_next", "softmax_over_batch"]] > 0.5).all()
    assert result.source_loss < result.sound_loss < math.log(len(GRAMMAR.words)) - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faults": ["none"]}, "faults must be names of the zoo, such as '.+', got 'none'."),
        ({"last": 4}, "last must be at most the number of steps (3), got 4."),
        ({"num_heads": 3}, "num_heads must be even, because heads are shared by two, got 3."),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_the_comparison_says_what_is_wrong(changes, message):
    pattern = message if ".+" in message else re.escape(message)
    with pytest.raises(ValueError, match=pattern):
        compare_bugs(**{**TINY, **changes})


# The pictures


@pytest.fixture(scope="module")
def scenes():
    return {name: scene(fault) for name, fault in ZOO.items() if fault.scene}


def test_every_circumstance_brings_out_a_fault_and_every_need_is_somebody_s():
    assert {fault.scene for fault in ZOO.values()} - {""} == set(SCENES)
    assert {fault.needs for fault in ZOO.values()} == set(NEEDS)


@pytest.mark.parametrize("name", ["half_precision_sums", "SeedsEverything"])
def test_a_fault_that_five_tokens_cannot_show_has_no_scene(name):
    with pytest.raises(ValueError, match=f"^fault must be one that five tokens show, got {name}.$"):
        scene(ZOO[name])


@pytest.mark.parametrize("name", [name for name in ZOO if ZOO[name].scene])
def test_each_scene_shows_its_fault_and_a_sound_layer_beside_it(name, scenes):
    seen = scenes[name]
    assert seen.fault == name
    assert (seen.sound[~seen.allowed] == 0).all() or seen.where == "training"
    rows = seen.sound.sum(-1)
    if ZOO[name].needs != "dropout":
        torch.testing.assert_close(rows, seen.allowed.any(-1).float(), rtol=0, atol=1e-2)
    same_weights = torch.allclose(seen.sound, seen.faulty, atol=1e-4)
    only_in_outputs = {"detached_weights", "ViewedMerge", "keys_from_the_other_end", "values_one_late"}
    assert same_weights == (name in only_in_outputs | {"dead_rows_nan_backward"})


@pytest.mark.parametrize("seed", range(3))
def test_leaks_are_where_they_must_be(seed):
    pairs = {name: int(scene(ZOO[name], seed=seed).leaks.sum()) for name in ("lost_mask", "sees_the_next", "unscaled")}
    assert pairs == {"lost_mask": 10, "sees_the_next": 4, "unscaled": 0}
    assert scene(ZOO["values_one_late"], seed=seed).leaks[:, -1].tolist() == [True] * 4 + [False]


def test_a_detached_query_reaches_through_values_alone():
    """Output 0 has one key: it depends on token 0 by its value only, so detaching changes nothing there."""
    detached, sound = scene(ZOO["detached_weights"]), scene(ZOO["weights_before_the_mask"])
    torch.testing.assert_close(detached.reach[0], sound.reach[0])
    assert not torch.allclose(detached.reach[1:], sound.reach[1:], atol=1e-3)


def test_nan_is_seen(scenes):
    assert scenes["dead_rows_nan"].faulty.isnan().any(-1).tolist() == [True, True, False, False, False]
    assert scenes["scaled_too_late"].faulty.isnan().any()
    assert scenes["dead_rows_nan_backward"].reach.isnan().any()


def test_scenes_are_drawn_in_rows_of_three(scenes):
    drawn = [scenes[name] for name in ("lost_mask", "dead_rows_nan", "top_left_causal")]
    (ax,) = plot_scenes(drawn).axes
    assert len(ax.images) == 9
    words = [text.get_text() for text in ax.texts]
    assert words[:6] == [word for seen in drawn for word in (seen.fault, seen.where)]
    edges = [patch for patch in ax.patches if patch.get_edgecolor()[:3] == pytest.approx((0.835, 0.369, 0.0), abs=0.01)]
    expected = sum(int((~seen.allowed & (seen.faulty > 0)).sum() + seen.leaks.sum()) for seen in drawn)
    assert len(edges) == expected > 10
    assert ax.images[4].get_array()[0, 0, :3].tolist() == [0, 0, 0]  # NaN is black
    assert "dead_rows_nan, two queries see nothing: 2 of 5 rows NaN" in describe_scenes(drawn)


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match=re.escape("scenes must hold at least one scene, got none.")):
        plot_scenes([])


@pytest.mark.parametrize(
    ("needs", "expected"),
    [("", {}), ("padding", {}), ("dropout", {"dropout": 0.25}), ("shared heads", {"num_kv_heads": 3})],
)
def test_a_layer_has_what_its_fault_needs(needs, expected):
    assert kind_of(needs, 6, 0.25) == expected


def test_houses_are_made_of_the_right_kind():
    with quiet(0):
        assert type(house(None, 12, 2)) is Layer
        assert type(house(ZOO["ViewedHeads"], 12, 2)) is ZOO["ViewedHeads"].made
        assert house(ZOO["lost_mask"], 12, 2).fault is ZOO["lost_mask"]
