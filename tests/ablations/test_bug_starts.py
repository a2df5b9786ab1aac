"""Intervals over starts, and the order that they support: held against closed forms and made-up starts."""

import json
import math
import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from surgeon.ablations.bug_starts import (
    FILE,
    MEASURES,
    NEAR,
    Starts,
    intervals,
    load_starts,
    showing,
    spread,
    tiers,
    told_apart,
)
from surgeon.ablations.bug_zoo import compare_bugs
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES


def made(**bugs) -> Starts:
    """Starts of which every measure is the same."""
    seeds = list(range(len(next(iter(bugs.values())))))
    tables = [
        pd.DataFrame({"fault": name, "seed": seeds, "changes": "the step"} | dict.fromkeys(MEASURES, values))
        for name, values in bugs.items()
    ]
    return Starts(pd.concat(tables, ignore_index=True), seeds, 80, {}, "")


# What is kept


def test_what_is_kept_is_the_whole_zoo_from_sixteen_starts_with_versions():
    starts, longer = load_starts(), load_starts(longer=True)
    assert len(starts.seeds) == len(set(starts.seeds)) >= 16
    assert list(starts.table.fault.unique()) == [f.name for family in FAMILIES.values() for f in family.faults]
    assert (starts.table.groupby("fault").seed.apply(list).map(lambda seeds: seeds == starts.seeds)).all()
    assert {"python", "torch", "numpy"} <= set(starts.versions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", starts.date)
    assert longer.steps > starts.steps
    assert set(longer.table.fault) < set(ZOO)
    untried = starts.table[starts.table.changes == "no padding here"]
    assert untried[list(MEASURES)].isna().all(axis=None)
    assert not starts.table.drop(untried.index).isna().any(axis=None)


def test_the_excess_is_the_loss_less_the_sources():
    kept = json.loads((files("surgeon.ablations") / FILE).read_text(encoding="utf8"))
    found = load_starts().table.set_index(["fault", "seed"]).excess["unscaled"]
    assert found.to_list() == pytest.approx(np.array(kept["bugs"]["unscaled"]["loss"]) - np.array(kept["source"]))
    gap = np.array(kept["bugs"]["unscaled"]["loss"]) - np.array(kept["sound"])
    assert kept["bugs"]["unscaled"]["gap"] == pytest.approx(gap, abs=1e-5)


@pytest.mark.long
def test_a_start_can_be_made_again():
    """What one seed gave is what it gives here, but for what another machine's sums may do to a training."""
    starts = load_starts()
    seed = starts.seeds[0]
    again = compare_bugs(["lost_mask", "unscaled"], seed=seed, steps=starts.steps).summary.set_index("fault")
    kept = starts.table[starts.table.seed == seed].set_index("fault")
    for name in again.index:
        assert again.gap[name] == pytest.approx(kept.gap[name], abs=0.02)
        assert again.use_gap[name] == pytest.approx(kept.use_gap[name], abs=0.05)


# Intervals


def test_an_interval_is_students_at_a_twentieth_divided_by_the_number_of_bugs():
    draws = np.random.default_rng(3).normal(0.2, 0.1, (2, 7))
    found = intervals(made(a=draws[0], b=draws[1]))
    for name, row in zip("ab", draws, strict=True):
        low, high = ttest_1samp(row, 0).confidence_interval(1 - 0.05 / 2)
        assert found.gap[name] - found.gap_half[name] == pytest.approx(low)
        assert found.gap[name] + found.gap_half[name] == pytest.approx(high)


@pytest.mark.long
def test_all_intervals_hold_together_in_95_of_a_hundred_runs():
    draw = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = intervals(made(**{f"b{n}": draw.normal(n, 0.1, 16) for n in range(5)}))
        held += bool(((found.gap - np.arange(5)).abs() <= found.gap_half).all())
    assert 0.92 <= held / 200 <= 0.99


def test_a_bug_that_changes_one_start_changes_the_step():
    starts = made(a=[0.0, 0.1])
    starts.table.loc[0, "changes"] = "nothing"
    assert intervals(starts).changes["a"] == "the step"


@pytest.mark.parametrize(
    ("changes", "gap", "excess", "expected"),
    [
        ("no padding here", math.nan, math.nan, "not tried"),
        ("nothing", 0.0, 0.1, "nothing"),
        ("the step", -0.5, -0.1, "impossible"),
        ("the step", -0.05, -0.04, "impossible"),
        ("the step", -0.5, 0.1, "better"),
        ("the step", -0.5, 0.01, "impossible or better"),
        ("the step", 0.0, 0.1, "as good as sound"),
        ("the step", -NEAR, 0.1, "better or as good as sound"),
        ("the step", NEAR, 0.1, "as good as sound or worse"),
        ("the step", NEAR + 0.04, 0.3, "worse"),
    ],
)
def test_what_training_shows_follows_from_intervals(changes, gap, excess, expected):
    bug = {"changes": changes, "gap": gap, "gap_half": 0.03, "excess": excess, "excess_half": 0.03}
    assert showing(pd.Series(bug)) == expected


# Order


def test_bugs_are_told_apart_start_by_start():
    """The starts differ by far more than the bugs, and the bugs by the same in each."""
    level = np.random.default_rng(7).normal(0, 10, 9)
    jitter = np.random.default_rng(8).normal(0, 0.01, 9)
    starts = made(a=level, b=level + 0.5 + jitter, c=level + 0.5 - jitter)
    apart = told_apart(starts)
    assert apart.loc["a", "b"]
    assert apart.loc["b", "a"]
    assert not apart.loc["b", "c"]
    assert not np.diag(apart).any()
    difference = 0.5 + jitter
    assert abs(difference.mean()) > difference.std(ddof=1) / 3 * t.isf(0.05 / 3 / 2, 8)


def test_a_group_begins_where_all_below_are_told_apart_from_all_above():
    base = np.random.default_rng(9).normal(0, 1e-3, (4, 16))
    wide = 0.5 + 0.9 * np.array([-1.0, 1.0] * 8)  # its mean is between, and it is told from none but the last
    group = tiers(made(last=9 + base[3], a=base[0], wide=wide, b=1 + base[1], c=2 + base[2]))
    assert group.to_dict() == {"a": 0, "wide": 0, "b": 0, "c": 1, "last": 2}


def test_bugs_that_are_the_same_share_a_group():
    same = [0.1, 0.2, 0.3]
    assert tiers(made(a=same, b=same)).to_dict() == {"a": 0, "b": 0}


def test_groups_of_the_zoo_are_told_apart_and_leave_out_what_was_not_tried():
    starts = load_starts()
    for measure in ("gap", "use_gap"):
        group, apart = tiers(starts, measure), told_apart(starts, measure)
        means = intervals(starts)[measure]
        for one in group.index:
            above = group.index[group > group[one]]
            assert apart.loc[one, above].all()
            assert (means[above] > means[one]).all()
        assert "padding_on_queries" not in group.index


def test_a_measure_that_is_none_is_refused():
    said = "measure must be one of gap, use_gap, whole_gap, excess, unseen, got 'loss'."
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        tiers(load_starts(), "loss")


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (1.2344, 0.0501, "+1.234 ± 0.050"),
        (-0.5, 0.01, "−0.500 ± 0.010"),
        (0.0001, 0.0004, "0"),
        (0.0001, 0.02, "+0.000 ± 0.020"),
        (math.nan, math.nan, "–"),
    ],
)
def test_a_mean_is_written_with_its_interval(mean, half, expected):
    assert spread(mean, half) == expected
