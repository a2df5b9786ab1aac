import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from foreign import foreign_defaults

from surgeon.ablations.no_scale import (
    NUM_VALUES,
    Recall,
    experiment_scaling_factor,
    recall_episodes,
    train_with_and_without_scale,
)

pytestmark = pytest.mark.long

WIDTHS = (16, 64, 256, 1024)
MEASURED = [
    "max_mean",
    "max_median",
    "saturated",
    "entropy",
    "score_std",
    "score_gradient_mean",
    "score_gradient_median",
    "query_gradient_mean",
    "query_gradient_median",
]


@pytest.fixture(scope="module")
def table():
    return experiment_scaling_factor()


def only(table, scaled):
    return table[table.scaled == scaled].set_index("d_k")


def near(one, other, one_se, other_se=0.0, errors=5):
    return abs(one - other) <= errors * math.hypot(one_se, other_se)


def test_one_tidy_row_a_width_and_scale(table):
    assert list(table.columns) == ["d_k", "scaled", *(name + end for name in MEASURED for end in ("", "_se"))]
    assert list(zip(table.d_k, table.scaled, strict=True)) == [(d, s) for d in WIDTHS for s in (False, True)]
    assert np.isfinite(table.drop(columns=["d_k", "scaled"])).all(axis=None)


@pytest.mark.parametrize("scaled", [False, True])
def test_it_measures_what_it_says(scaled):
    """Everything once more, from the same draws, by PyTorch's softmax and the gradients' formulas."""
    draw = torch.Generator().manual_seed(3)
    Q, K, V, u = (torch.randn(11, *s, generator=draw, dtype=torch.float64) for s in [(7, 13), (5, 13), (5, 2), (7, 2)])
    factor = 13**-0.5 if scaled else 1.0
    scores = torch.einsum("btd,bsd->bts", Q, K) * factor
    a = torch.softmax(scores, -1)
    told = torch.einsum("bsv,btv->bts", V, u)  # what each value is worth to each query's loss
    ds = a * (told - (a * told).sum(-1, keepdim=True))
    dq = factor * ds @ K
    top, ds, dq = a.amax(-1).numpy(), ds.norm(dim=-1).numpy(), dq.norm(dim=-1).numpy()
    expected = {
        "max_mean": top.mean(),
        "max_median": np.median(top),
        "saturated": (top > 0.9).mean(),
        "entropy": float(torch.special.entr(a).sum(-1).mean()),
        "score_std": scores.numpy().reshape(11, -1).std(1, ddof=1).mean(),
        "score_gradient_mean": ds.mean(),
        "score_gradient_median": np.median(ds),
        "query_gradient_mean": dq.mean(),
        "query_gradient_median": np.median(dq),
        "max_mean_se": top.mean(1).std(ddof=1) / math.sqrt(11),
        "query_gradient_mean_se": dq.mean(1).std(ddof=1) / math.sqrt(11),
    }
    found = only(
        experiment_scaling_factor([13], num_keys=5, num_queries=7, trials=11, d_v=2, threshold=0.9, seed=3), scaled
    ).loc[13]
    assert found[list(expected)].to_dict() == pytest.approx(expected, rel=1e-10)


def test_unless_it_is_said_otherwise_it_is_measured_as_it_is_documented():
    said = {"num_keys": 4, "num_queries": 64, "trials": 100, "d_v": 16, "threshold": 0.99, "seed": 0}
    pd.testing.assert_frame_equal(experiment_scaling_factor([3]), experiment_scaling_factor([3], **said))


def test_the_assignments_table_lies_between_the_mean_and_the_median(table):
    unscaled, scaled = only(table, False), only(table, True)
    for d_k, assigned in zip(WIDTHS, (0.8, 0.95, 0.99, 1.0), strict=True):
        assert unscaled.max_mean[d_k] - 0.03 <= assigned <= unscaled.max_median[d_k] + 0.03
    assert ((scaled.max_mean - 0.5).abs() < 0.03).all()
    assert ((scaled.max_median - 0.5).abs() < 0.03).all()


def test_half_is_a_fact_about_four_keys():
    found = only(experiment_scaling_factor([64], num_keys=32, trials=20), True).loc[64]
    assert 0.14 < found.max_mean < 0.19


@pytest.mark.parametrize("name", MEASURED)
def test_scaled_attention_does_not_know_its_width(table, name):
    """From 64 on: at 16 the scores are not yet normal, and their tails are a little heavier."""
    scaled = only(table, True)
    for d_k in (64, 256):
        assert near(scaled[name][d_k], scaled[name][1024], scaled[f"{name}_se"][d_k], scaled[f"{name}_se"][1024])


def test_scores_spread_as_the_root_of_the_width(table):
    for scaled in (False, True):
        for d_k, row in only(table, scaled).iterrows():
            assert near(row.score_std, 1.0 if scaled else math.sqrt(d_k), row.score_std_se)


@pytest.mark.parametrize("num_keys", [4, 7])
def test_the_mean_saturates_as_near_ties_become_rare(num_keys):
    """Rows stay soft only where the two best scores nearly tie: (1 − mean max) √d_k → log 2 · density of a tie.

    That density is n (n − 1) ∫ φ² Φⁿ⁻² for n independent standard-normal scores.
    """
    x = np.linspace(-9, 9, 20_001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([(1 + math.erf(z / math.sqrt(2))) / 2 for z in x])
    tie = num_keys * (num_keys - 1) * float((density**2 * below ** (num_keys - 2)).sum() * (x[1] - x[0]))
    found = only(experiment_scaling_factor([256, 1024], num_keys=num_keys, trials=60), False)
    for d_k, row in found.iterrows():
        assert near((1 - row.max_mean) * math.sqrt(d_k), math.log(2) * tie, row.max_mean_se * math.sqrt(d_k))


def test_which_gradient_vanishes_and_which_does_not(table):
    unscaled, scaled = only(table, False), only(table, True)
    assert unscaled.score_gradient_median.is_monotonic_decreasing
    assert unscaled.score_gradient_median[1024] < 1e-3 * scaled.score_gradient_median[1024]
    assert unscaled.query_gradient_median[1024] < 1e-2 * scaled.query_gradient_median[1024]
    assert unscaled.score_gradient_mean[1024] < unscaled.score_gradient_mean[16] / 4  # as 1/√d_k: by 8
    assert unscaled.query_gradient_mean[1024] > unscaled.query_gradient_mean[16]  # the keys' length makes up for it
    assert unscaled.query_gradient_mean[1024] > scaled.query_gradient_mean[1024]


def test_gradients_stay_within_half_of_what_the_values_could_say(table):
    """Softmax's Jacobian has norm at most 1/2, and E‖Vu‖ ≤ √(S d_v)."""
    assert (table.score_gradient_mean <= math.sqrt(4 * 16) / 2).all()


def test_wider_values_bring_more_gradient_and_change_nothing_else():
    one, nine = (experiment_scaling_factor([16], d_v=d_v, trials=50) for d_v in (1, 9))
    assert one.max_mean.tolist() == nine.max_mean.tolist()
    big = experiment_scaling_factor([16], d_v=36, trials=50)
    for i in range(2):
        errors = (2 * nine.score_gradient_mean_se[i], big.score_gradient_mean_se[i])
        assert near(2 * nine.score_gradient_mean[i], big.score_gradient_mean[i], *errors)


def test_a_single_key_leaves_nothing_to_choose():
    found = experiment_scaling_factor([7], num_keys=1, num_queries=3, trials=5)
    assert (found[["max_mean", "max_median", "saturated"]] == 1).all(axis=None)
    assert (found[["entropy", "score_gradient_mean", "query_gradient_median"]] == 0).all(axis=None)


@pytest.mark.parametrize("name", ["max_mean", "max_median", "score_gradient_median", "query_gradient_mean"])
def test_standard_errors_are_the_spread_over_seeds(name):
    runs = pd.concat(experiment_scaling_factor([16], num_queries=31, trials=30, seed=seed) for seed in range(40))
    for scaled in (False, True):
        found = only(runs, scaled)
        ratio = found[name].std() / found[f"{name}_se"].mean()
        assert 0.65 < ratio < 1.5  # 40 seeds know a standard deviation to within 11%


def test_the_threshold_is_the_largest_weight_a_row_may_have_unsaturated():
    shares = [experiment_scaling_factor([16], threshold=t, trials=20).saturated[0] for t in (0.3, 0.6, 0.9)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2] > 0
    assert experiment_scaling_factor([16], threshold=0.25 - 1e-9, trials=5).saturated.tolist() == [1, 1]  # 1/4 at least


def test_a_seed_gives_the_same_rows_whatever_else_is_asked_for():
    state = torch.get_rng_state()
    whole = experiment_scaling_factor([5, 16, 64], trials=7, seed=2)
    part = experiment_scaling_factor((16,), trials=7, seed=2)
    other = experiment_scaling_factor([16], trials=7, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(whole[whole.d_k == 16].reset_index(drop=True), part)
    assert not part.equals(other)


# Models trained with the scale and without it


def ends(table):
    return table[table.step == table.step.max()]


def test_both_models_start_alike_and_width_one_needs_no_scale():
    found = train_with_and_without_scale([1], steps=5, seeds=[0, 3], record_every=2)
    assert list(found.columns) == ["width", "scaled", "seed", "step", "loss", "accuracy", "entropy", "gradient"]
    for seed in (0, 3):
        with_scale, without = (found[(found.seed == seed) & (found.scaled == s)] for s in (True, False))
        assert with_scale.step.tolist() == [0, 2, 4, 5]
        pd.testing.assert_frame_equal(
            with_scale.drop(columns="scaled").reset_index(drop=True),
            without.drop(columns="scaled").reset_index(drop=True),
        )
        assert with_scale.loss.nunique() == 4


@pytest.fixture(scope="module")
def wide():
    return train_with_and_without_scale([256], steps=60, seeds=[0, 1], record_every=60)


@pytest.mark.long
def test_without_the_scale_a_wide_head_starts_saturated_and_learns_late(wide):
    start, end = wide[wide.step == 0], ends(wide)
    for seed in (0, 1):
        without, with_scale = (start[(start.seed == seed) & (start.scaled == s)].iloc[0] for s in (False, True))
        assert without.entropy < with_scale.entropy / 4
        assert without.gradient < with_scale.gradient / 50
        assert with_scale.entropy < math.log(8)
        without, with_scale = (end[(end.seed == seed) & (end.scaled == s)].iloc[0] for s in (False, True))
        assert with_scale.accuracy > 0.99
        assert with_scale.loss < 0.05
        assert without.loss > 10 * with_scale.loss


@pytest.mark.long
def test_with_the_scale_one_learning_rate_serves_all_widths():
    end = ends(train_with_and_without_scale([16, 64], steps=200, seeds=[1], record_every=200))
    assert (end[end.scaled].accuracy > 0.95).all()
    assert end[(end.width == 16) & ~end.scaled].accuracy.item() > 0.95  # a narrow head does without


def test_pytorch_s_initialisation_softens_the_start():
    """Its matrices have a third of the variance each, so the scores have a third of the spread."""
    unit, pytorch = (
        train_with_and_without_scale([64], init=init, steps=1, seeds=range(5), record_every=1).query("step == 0")
        for init in ("unit", "pytorch")
    )
    for scaled in (False, True):
        assert unit[unit.scaled == scaled].entropy.max() < pytorch[pytorch.scaled == scaled].entropy.min()


@pytest.mark.parametrize(("init", "spread"), [("unit", 1.0), ("pytorch", 1 / 3)])
def test_initial_scores_have_the_spread_that_each_premise_gives(init, spread):
    stds = []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        model = Recall(127, True, init, generator)
        symbols, values, asked, _ = recall_episodes(499, 7, generator)
        stds.append(float(model(symbols, values, asked)[1].scaled.detach().std()))
    assert np.mean(stds) == pytest.approx(spread, rel=0.1)


def test_the_start_is_measured_by_the_gradient_s_formula():
    """dL/ds_j = a_j (v_j − Σ a v) · g, with g what the loss passes back to the output."""
    generator = torch.Generator().manual_seed(2)
    model = Recall(13, False, "unit", generator)
    symbols, values, asked, answers = recall_episodes(256, 5, generator)
    with torch.no_grad():
        scores = torch.einsum("bw,bsw->bs", model.symbol[asked] @ model.W_Q, model.symbol[symbols] @ model.W_K)
        a, V = torch.softmax(scores, -1), model.value[values]
        logits = torch.einsum("bs,bsw->bw", a, V) @ model.unembed
        g = (torch.softmax(logits, -1) - torch.eye(NUM_VALUES)[answers]) @ model.unembed.T
        told = torch.einsum("bsw,bw->bs", V, g)
        ds = a * (told - (a * told).sum(-1, keepdim=True))
    expected = {
        "loss": float(torch.nn.functional.cross_entropy(logits, answers)),
        "accuracy": float((logits.argmax(-1) == answers).double().mean()),
        "entropy": float(torch.special.entr(a).sum(-1).mean()),
        "gradient": float(ds.norm(dim=-1).median()),
    }
    found = train_with_and_without_scale([13], steps=1, seeds=[2], num_pairs=5)
    assert found.iloc[0][list(expected)].to_dict() == pytest.approx(expected, rel=1e-4)


def test_adam_and_sgd_take_different_ways_from_one_start():
    sgd, adam = (
        train_with_and_without_scale([16], optimizer=name, learning_rate=0.01, steps=3, seeds=[0], record_every=3)
        for name in ("sgd", "adam")
    )
    assert sgd[sgd.step == 0].equals(adam[adam.step == 0])
    assert not np.isclose(sgd[sgd.step == 3].loss, adam[adam.step == 3].loss, rtol=1e-3).any()


def test_training_is_settled_by_its_seed_and_leaves_global_randomness_alone():
    state = torch.get_rng_state()
    once, again, other = (train_with_and_without_scale([5], steps=3, seeds=[seed], num_pairs=3) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(once, again)
    assert not np.isclose(once.loss, other.loss).any()


@pytest.mark.parametrize("option", [{"batch_size": 7}, {"learning_rate": 0.01}], ids=lambda option: next(iter(option)))
def test_what_training_is_told_changes_what_it_does_and_not_where_it_starts(option):
    usual, other = (train_with_and_without_scale([5], steps=3, seeds=[0], **more) for more in ({}, option))
    assert usual[usual.step == 0].equals(other[other.step == 0])
    assert (usual[usual.step == 3].loss != other[other.step == 3].loss).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_are_those_of_pytorch_s_own_classes(optimizer):
    """One step from the start: the table's next row, by the class that PyTorch has."""
    draw = torch.Generator().manual_seed(3)
    model = Recall(5, True, "unit", draw)
    held_out = recall_episodes(256, 8, draw)
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](model.parameters(), lr=0.05)
    *episode, answers = recall_episodes(64, 8, draw)
    torch.nn.functional.cross_entropy(model(*episode)[0], answers).backward()
    rule.step()
    logits, _ = model(*held_out[:3])
    expected = float(torch.nn.functional.cross_entropy(logits, held_out[3]).detach())
    found = train_with_and_without_scale([5], optimizer=optimizer, learning_rate=0.05, steps=1, seeds=[3])
    assert found.query("scaled and step == 1").loss.item() == pytest.approx(expected, rel=1e-5)


def test_other_people_s_defaults_change_nothing():
    def everything():
        return (
            experiment_scaling_factor([5], trials=3, num_queries=7),
            train_with_and_without_scale([5], steps=2, seeds=[0]),
        )

    ours = everything()
    with foreign_defaults():
        theirs = everything()
    for one, other in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_an_episode_asks_for_one_of_its_symbols():
    symbols, values, asked, answers = recall_episodes(997, 7, torch.Generator().manual_seed(0))
    assert symbols.shape == values.shape == (997, 7)
    assert all(len(set(row)) == 7 for row in symbols.tolist())
    found = symbols == asked[:, None]
    assert (found.sum(-1) == 1).all()
    assert torch.equal(values[found], answers)
    assert found.double().mean(0).numpy() == pytest.approx(1 / 7, abs=0.06)


def test_no_model_that_cannot_tell_symbols_apart_beats_counting():
    """The best guess is each value's share of the pairs: loss log S − E log(1 + B)."""
    S = 8
    _, values, _, answers = recall_episodes(20_011, S, torch.Generator().manual_seed(1))
    own = (values == answers[:, None]).sum(-1)  # pairs that hold the value asked for
    losses = math.log(S) - torch.log(own.double())
    p = 1 / NUM_VALUES
    chances = [math.comb(S - 1, b) * p**b * (1 - p) ** (S - 1 - b) for b in range(S)]
    floor = math.log(S) - sum(chance * math.log(1 + b) for b, chance in enumerate(chances))
    assert near(float(losses.mean()), floor, float(losses.std()) / math.sqrt(len(losses)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: experiment_scaling_factor([]), "d_k_values must be a sequence of at least one width, got []."),
        (lambda: experiment_scaling_factor(64), "d_k_values must be a sequence of at least one width, got 64."),
        (lambda: experiment_scaling_factor([5, 0]), "d_k_values[1] must be an integer of at least 1, got 0."),
        (lambda: experiment_scaling_factor([5.0]), "d_k_values[0] must be an integer of at least 1, got 5.0."),
        (lambda: experiment_scaling_factor(num_keys=0), "num_keys must be an integer of at least 1, got 0."),
        (lambda: experiment_scaling_factor(num_queries=0), "num_queries must be an integer of at least 1, got 0."),
        (lambda: experiment_scaling_factor(d_v=-1), "d_v must be an integer of at least 1, got -1."),
        (lambda: experiment_scaling_factor(trials=1), "trials must be at least 2, for a standard error, got 1."),
        (lambda: experiment_scaling_factor(threshold=1.0), "threshold must be between 0 and 1, got 1.0."),
        (lambda: experiment_scaling_factor([5], seed=-1), "seed must be an integer from 0 to 2**32 - 1, got -1."),
        (lambda: train_with_and_without_scale([]), "widths must be a sequence of at least one width, got []."),
        (lambda: train_with_and_without_scale([5, True]), "widths[1] must be an integer of at least 1, got True."),
        (lambda: train_with_and_without_scale(init="zero"), "init must be one of unit, pytorch, got 'zero'."),
        (lambda: train_with_and_without_scale(optimizer="lion"), "optimizer must be one of sgd, adam, got 'lion'."),
        (
            lambda: train_with_and_without_scale(learning_rate=0.0),
            "learning_rate must be positive and finite, got 0.0.",
        ),
        (lambda: train_with_and_without_scale(steps=0), "steps must be an integer of at least 1, got 0."),
        (lambda: train_with_and_without_scale(batch_size=0), "batch_size must be an integer of at least 1, got 0."),
        (lambda: train_with_and_without_scale(record_every=0), "record_every must be an integer of at least 1, got 0."),
        (lambda: train_with_and_without_scale(num_pairs=1), "num_pairs must be from 2 to 32, got 1."),
        (lambda: train_with_and_without_scale(num_pairs=33), "num_pairs must be from 2 to 32, got 33."),
        (lambda: train_with_and_without_scale(seeds=[]), "seeds must hold at least one seed, got none."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
