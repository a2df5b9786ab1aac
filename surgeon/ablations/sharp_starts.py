"""Growing scores from several starts, and each remedy beside none.

`python -m experiments.sharp_scores` makes the data that are read here.
"""

import json
import math
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

FILE = "sharp_scores.json"
RATES = ("fast", "usual")
# how often an interval of any remedy misses
MISSES = 0.05


class Growth(NamedTuple):
    """What the scores of small language models grew to, and what it cost.

    Attributes
    ----------
    largest : pandas.DataFrame
        One row a model, step, layer and head: `rate` ("fast" or "usual"),
        `remedy` (as `surgeon.ablations.sharp_scores.train_with_remedies`
        names them, and "decayed": none, but for a weight decay), `seed`,
        `step`, `layer`, `head`, and the `largest` score.
    ends : pandas.DataFrame
        The same for the first step and the last alone: `entropy` and
        `gradient`.
    losses : pandas.DataFrame
        One row a trained model: `rate`, `remedy`, `seed`, `excess`.
    halves : pandas.DataFrame
        One row a trained model and half precision: `rate`, `remedy`, `seed`,
        `dtype`, `excess`, `moved`, `other`, `overflow`.
    learning_rates : dict of str to float
        What "fast" and "usual" are.
    seeds : list of int
        Of the starts: of weights and texts.
    steps : int
        Of training.
    limit : float
        The cap, and the threshold of clipping.
    decay : float
        The weight decay of "decayed".
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    largest: pd.DataFrame
    ends: pd.DataFrame
    losses: pd.DataFrame
    halves: pd.DataFrame
    learning_rates: dict[str, float]
    seeds: list[int]
    steps: int
    limit: float
    decay: float
    versions: dict[str, str]
    date: str


def load_growth() -> Growth:
    """What `python -m experiments.sharp_scores` measured.

    Returns
    -------
    Growth

    Examples
    --------
    >>> growth = load_growth()
    >>> growth.learning_rates, growth.losses.remedy.nunique()
    ({'fast': 0.05, 'usual': 0.005}, 7)
    """
    place = files("surgeon.ablations") / FILE
    kept = json.loads(place.read_text(encoding="utf8"))
    largest, ends, losses, halves = [], [], [], []
    for rate in RATES:
        for remedy, found in kept[rate]["remedies"].items():
            for n, seed in enumerate(kept["seeds"]):
                who = {"rate": rate, "remedy": remedy, "seed": seed}
                every = range(0, kept["steps"] + 1, kept["every"])
                by_step = zip(every, found["largest"][n], strict=True)
                for step, heads in by_step:
                    now = who | {"step": step}
                    largest += by_head(now, {"largest": heads})
                for end, step in enumerate((0, kept["steps"])):
                    measured = {
                        name: found[name][n][end]
                        for name in ("entropy", "gradient")
                    }
                    ends += by_head(who | {"step": step}, measured)
                losses.append(who | {"excess": found["excess"][n]})
                for dtype, half in found["halves"].items():
                    one = {name: values[n] for name, values in half.items()}
                    halves.append(who | {"dtype": dtype} | one)
    rates = {rate: kept[rate]["learning_rate"] for rate in RATES}
    names = ("seeds", "steps", "limit", "decay", "versions", "date")
    return Growth(
        pd.DataFrame(largest),
        pd.DataFrame(ends),
        pd.DataFrame(losses),
        pd.DataFrame(halves),
        rates,
        **{name: kept[name] for name in names},
    )


def beside_none(growth: Growth, rate: str) -> pd.DataFrame:
    """How much each remedy takes off the loss, start by start.

    Parameters
    ----------
    growth : Growth
        As `load_growth` gives it.
    rate : str
        "fast" or "usual".

    Returns
    -------
    pandas.DataFrame
        Index `remedy`, without "none": `change`, the mean over starts of the
        excess less that of "none" in the same start, nats a word; and
        `half`, the half width of its interval. All intervals hold together
        in 95 of 100 such runs: Student's quantile at 0.05 divided by the
        number of remedies.

    Raises
    ------
    ValueError
        If `rate` is neither.

    Examples
    --------
    >>> table = beside_none(load_growth(), "fast")
    >>> bool(table.change["clipped"] + table.half["clipped"] < 0)
    True
    """
    if rate not in RATES:
        raise ValueError(
            f"rate must be one of {', '.join(RATES)}, got {rate!r}."
        )
    at_rate = growth.losses[growth.losses.rate == rate]
    by_start = at_rate.pivot(index="seed", columns="remedy", values="excess")
    change = by_start.drop(columns="none").sub(by_start["none"], axis=0)
    tail = MISSES / change.shape[1] / 2
    quantile = float(student.isf(tail, len(change) - 1))
    half = change.std() * quantile / math.sqrt(len(change))
    order = [r for r in at_rate.remedy.unique() if r != "none"]
    return pd.DataFrame({"change": change.mean(), "half": half}).loc[order]


def by_head(who: dict, measured: dict[str, list[float]]) -> list[dict]:
    """A row for each head of each of two layers."""
    columns = np.array(list(measured.values())).reshape(len(measured), 2, -1)
    return [
        who
        | {"layer": layer, "head": head}
        | dict(zip(measured, columns[:, layer, head].tolist(), strict=True))
        for layer, head in np.ndindex(*columns.shape[1:])
    ]
