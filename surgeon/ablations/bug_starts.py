"""Bugs from sixteen starts beside their twins: intervals, no false order.

`python -m experiments.zoo` makes the data that are read here.
"""

import json
import math
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from surgeon.zoo.families import FAMILIES

FILE = "bug_starts.json"
MEASURES = ("gap", "use_gap", "whole_gap", "excess", "unseen")
# nats; a loss this near to the sound model's would make nobody look twice
NEAR = 0.1
# how often an interval misses, or two are told apart wrongly, anywhere
MISSES = 0.05


class Starts(NamedTuple):
    """Every bug beside a sound twin, from several starts.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a bug and start: `fault`, `seed`; `changes`, `gap`, `use_gap`
        and `whole_gap` as `surgeon.ablations.bug_zoo.compare_bugs` gives
        them; `excess`, the loss less the source's own on the same texts; and
        `unseen`, what training does not show: `use_gap` less `gap`. NaN where
        a bug was not tried.
    seeds : list of int
        Of the starts: of weights, texts and dropout.
    steps : int
        Of training.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    table: pd.DataFrame
    seeds: list[int]
    steps: int
    versions: dict[str, str]
    date: str


def load_starts(*, longer: bool = False) -> Starts:
    """What `python -m experiments.zoo` measured.

    Parameters
    ----------
    longer : bool
        The few leaks that were trained four times as long, in place of the
        whole zoo.

    Returns
    -------
    Starts
        Bugs are in the order of the families.

    Examples
    --------
    >>> starts = load_starts()
    >>> len(starts.seeds), starts.steps, starts.table.fault.nunique()
    (16, 80, 45)
    """
    place = files("surgeon.ablations") / FILE
    kept = json.loads(place.read_text(encoding="utf8"))
    run = kept["longer"] if longer else kept
    every = [f.name for family in FAMILIES.values() for f in family.faults]
    tables = []
    for name in every:
        if name in run["bugs"]:
            table = pd.DataFrame(run["bugs"][name])
            table.insert(0, "fault", name)
            table.insert(1, "seed", kept["seeds"])
            table = table.astype(
                dict.fromkeys(("loss", *MEASURES[:3]), float)
            )
            table["excess"] = table.pop("loss") - np.array(run["source"])
            table["unseen"] = table.use_gap - table.gap
            tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    return Starts(
        table, kept["seeds"], run["steps"], kept["versions"], kept["date"]
    )


def intervals(starts: Starts) -> pd.DataFrame:
    """What holds of each bug over the starts.

    Parameters
    ----------
    starts : Starts
        As `load_starts` gives it.

    Returns
    -------
    pandas.DataFrame
        Index `fault`; `changes`, "nothing" if it is so in every start;
        `shows`, as `showing` says it; and of each of `MEASURES` its mean, and
        with `_half` behind its name the half width of an interval for the
        mean. Of one measure, all intervals hold together in 95 of 100 such
        runs: Student's quantile at 0.05 divided by the number of bugs.

    Examples
    --------
    >>> lost = intervals(load_starts()).loc["lost_mask"]
    >>> lost.shows, bool(lost.gap + lost.gap_half < -1)
    ('impossible', True)
    """
    grouped = starts.table.groupby("fault", sort=False)
    changes = grouped.changes.agg(lambda column: max(column, key=_strength))
    found = pd.DataFrame({"changes": changes})
    tried = int((changes != "no padding here").sum())
    for name in MEASURES:
        found[name] = grouped[name].mean()
        reach = _quantile(len(starts.seeds), tried)
        found[f"{name}_half"] = grouped[name].std() * reach
    found.insert(1, "shows", found.apply(showing, axis=1))
    return found


def showing(bug: pd.Series) -> str:
    """What training tells of a bug to somebody who watches the loss.

    Parameters
    ----------
    bug : pandas.Series
        A row of `intervals`.

    Returns
    -------
    str
        "not tried", "nothing" (no step of training is changed), "impossible"
        (below the source's own loss), "as good as sound" (within a tenth of a
        nat of the sound loss), "better" or "worse" by more than that, or two
        of these with "or", where the interval reaches into both.

    Examples
    --------
    >>> near = {"changes": "the step", "gap": -0.1, "gap_half": 0.01}
    >>> showing(pd.Series(near | {"excess": 0.3, "excess_half": 0.1}))
    'better or as good as sound'
    """
    if bug.changes == "no padding here":
        return "not tried"
    if bug.changes == "nothing":
        return "nothing"
    if bug.excess + bug.excess_half < 0:
        return "impossible"
    low, high = bug.gap - bug.gap_half, bug.gap + bug.gap_half
    parts = {
        "impossible": bug.excess - bug.excess_half < 0 and low < -NEAR,
        "better": low < -NEAR and bug.excess + bug.excess_half >= 0,
        "as good as sound": low <= NEAR and high >= -NEAR,
        "worse": high > NEAR,
    }
    return " or ".join(name for name, possible in parts.items() if possible)


def told_apart(starts: Starts, measure: str = "gap") -> pd.DataFrame:
    """Which bugs sixteen starts tell apart.

    Two bugs meet the same weights and texts in each start, so their
    difference is taken start by start.

    Parameters
    ----------
    starts : Starts
        As `load_starts` gives it.
    measure : str
        One of `MEASURES`.

    Returns
    -------
    pandas.DataFrame
        Bugs by bugs that were tried, True where the interval of their mean
        difference leaves out 0. All intervals hold together in 95 of 100
        such runs.

    Examples
    --------
    >>> apart = told_apart(load_starts())
    >>> bool(apart.loc["lost_mask", "unscaled"])
    True
    >>> bool(apart.loc["multiplied_by_zero", "minus_epsilon"])
    False
    """
    values = _columns(starts, measure)
    each = values.to_numpy()  # [starts, bugs]
    differences = each[:, :, None] - each[:, None]
    bugs = values.shape[1]
    reach = _quantile(len(each), max(bugs * (bugs - 1) // 2, 1))
    half = differences.std(0, ddof=1) * reach
    apart = np.abs(differences.mean(0)) > half
    return pd.DataFrame(apart, values.columns, values.columns)


def tiers(starts: Starts, measure: str = "gap") -> pd.Series:
    """Groups of bugs, of which each is above all the groups before it.

    A group begins only where all bugs below are told apart from all above;
    within a group there is no order that sixteen starts support.

    Parameters
    ----------
    starts : Starts
        As `load_starts` gives it.
    measure : str
        One of `MEASURES`.

    Returns
    -------
    pandas.Series
        fault: the number of its group, from 0, the lowest measure.

    Examples
    --------
    >>> group = tiers(load_starts())
    >>> bool(group["lost_mask"] < group["ViewedHeads"] < group["unscaled"])
    True
    """
    apart = told_apart(starts, measure)
    order = _columns(starts, measure).mean().sort_values(kind="stable").index
    sorted_apart = apart.loc[order, order].to_numpy()
    group, groups = 0, [0]
    for place in range(1, len(order)):
        group += bool(sorted_apart[:place, place:].all())
        groups.append(group)
    return pd.Series(groups, order).reindex(apart.index)


def spread(mean: float, half: float) -> str:
    """A mean and the half width of its interval, as pages write them.

    Parameters
    ----------
    mean, half : float
        In nats; NaN is written as a dash.

    Returns
    -------
    str

    Examples
    --------
    >>> spread(-0.5371, 0.0312), spread(0.0, 0.0), spread(math.nan, 1.0)
    ('−0.537 ± 0.031', '0', '–')
    """
    if mean != mean:
        return "–"
    if max(abs(mean), half) < 5e-4:
        return "0"
    return f"{mean:+.3f} ± {half:.3f}".replace("-", "−")


def _columns(starts: Starts, measure: str) -> pd.DataFrame:
    """A measure, [starts, bugs that were tried]."""
    if measure not in MEASURES:
        raise ValueError(
            f"measure must be one of {', '.join(MEASURES)}, got {measure!r}."
        )
    table = starts.table.pivot(index="seed", columns="fault", values=measure)
    return table[starts.table.fault.unique()].dropna(axis="columns")


def _strength(changes: str) -> int:
    return ("no padding here", "nothing", "the step").index(changes)


def _quantile(starts: int, questions: int) -> float:
    """What a standard deviation over the starts is multiplied by."""
    tail = MISSES / questions / 2
    return float(student.isf(tail, starts - 1)) / math.sqrt(starts)
