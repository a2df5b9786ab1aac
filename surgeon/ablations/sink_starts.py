"""Rows that want nothing: small models from several starts, and a large one.

`python -m experiments.sinks` and `python -m experiments.sinks_language_model`
make the data that are read here.
"""

import json
import math
from importlib.resources import files
from typing import Any, NamedTuple

import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor

from surgeon.models.echoes import LETTERS, MARK

SMALL, LARGE = "sinks.json", "sinks_language_model.json"
RATES = ("long", "usual")
MISSES = 0.05  # how often an interval of any column misses


class SmallModels(NamedTuple):
    """What idle rows of trained small models did, with a sink and without.

    Attributes
    ----------
    rows, values : pandas.DataFrame
        As `surgeon.ablations.sinks.train_with_sinks` has them, after the last
        step; with a column `rate`, "long" or "usual", in place of the step.
    texts : dict of str to list of str
        By design, the words of one text that was not trained on.
    weights : dict of str to Tensor
        By design, what the "long" model of the first start gives the words of
        that text, [T, T].
    rates : dict of str to dict
        `learning_rate` and `steps` of each rate.
    seeds : list of int
        Of the starts: of weights and texts.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    rows: pd.DataFrame
    values: pd.DataFrame
    texts: dict[str, list[str]]
    weights: dict[str, Tensor]
    rates: dict[str, dict[str, float]]
    seeds: list[int]
    versions: dict[str, str]
    date: str


def load_small_models() -> SmallModels:
    """What `python -m experiments.sinks` measured.

    Returns
    -------
    SmallModels

    Examples
    --------
    >>> small = load_small_models()
    >>> small.rates["usual"], len(small.weights)
    ({'learning_rate': 0.005, 'steps': 400}, 4)
    """
    kept = read(SMALL)
    rows, values, texts, weights = [], [], {}, {}
    for rate in RATES:
        for design, found in kept[rate]["designs"].items():
            for n, seed in enumerate(kept["seeds"]):
                who = {"rate": rate, "design": design, "seed": seed}
                for kind in ("idle", "asking"):
                    one = {
                        what: all_[n] for what, all_ in found[kind].items()
                    }
                    rows.append(who | {"kind": kind} | one)
                lengths = {w: all_[n] for w, all_ in found["values"].items()}
                values.append(who | lengths)
            if rate == "long":
                texts[design] = spelled(found["text"])
                weights[design] = torch.tensor(found["weights"])
    how = ("learning_rate", "steps")
    return SmallModels(
        pd.DataFrame(rows),
        pd.DataFrame(values),
        texts,
        weights,
        {rate: {name: kept[rate][name] for name in how} for rate in RATES},
        **{name: kept[name] for name in ("seeds", "versions", "date")},
    )


def spelled(words: list[int]) -> list[str]:
    """Words of a text of echoes, as characters.

    Examples
    --------
    >>> spelled([20, 0, 19, 0])
    ['.', 'a', '!', 'a']
    """
    letter = lambda word: chr(ord("a") + word)
    return [
        letter(word) if word < LETTERS else "!" if word == MARK else "."
        for word in words
    ]


class LargeModel(NamedTuple):
    """Where the heads of a language model put their weight, and cuts.

    Attributes
    ----------
    heads : pandas.DataFrame
        One row a head: `layer`, `head`; the mean over texts of the `weight`
        that rows give the first token, from the ninth token on; how long its
        `value` is beside the median of the others', once both have gone
        through the last map; and the mean cosine of what two texts' first
        tokens give, `alike`, and two texts' eleventh tokens, `other`.
    hidden : list of float
        How long the first token's state is beside the median of the others',
        before the first layer and after each.
    losses : pandas.DataFrame
        One row a text, one column a cut, nats a token.
    moved : pandas.DataFrame
        One row for each of five texts: what rows from the twelfth on give
        the `first` token, the `second`, and the `second, first hidden` from
        all others; the mean of all heads.
    tokens : list of int
        Of each text.
    even : float
        What a row that spreads its weight evenly gives the first token.
    window : int
        Keys in the windows.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    heads: pd.DataFrame
    hidden: list[float]
    losses: pd.DataFrame
    moved: pd.DataFrame
    tokens: list[int]
    even: float
    window: int
    versions: dict[str, str]
    date: str


def load_large_model() -> LargeModel:
    """What `python -m experiments.sinks_language_model` measured.

    Returns
    -------
    LargeModel

    Examples
    --------
    >>> large = load_large_model()
    >>> large.heads.shape, large.losses.shape
    ((270, 6), (24, 9))
    """
    kept = read(LARGE)
    heads = [
        {
            "layer": layer,
            "head": head,
            "weight": weight,
            "value": kept["value"][layer][head],
            "alike": kept["alike"][layer][head][0],
            "other": kept["alike"][layer][head][1],
        }
        for layer, row in enumerate(kept["weight"])
        for head, weight in enumerate(row)
    ]
    losses = pd.DataFrame(kept["losses"], index=kept["texts"])
    names = ("tokens", "even", "window", "versions", "date")
    return LargeModel(
        pd.DataFrame(heads),
        kept["hidden"],
        losses,
        pd.DataFrame(kept["moved"]).T,
        **{name: kept[name] for name in names},
    )


def changes(by_row: pd.DataFrame, base: str) -> pd.DataFrame:
    """By how much each column differs from one of them, row by row.

    Parameters
    ----------
    by_row : pandas.DataFrame
        One row a start or a text, one column a design or a cut.
    base : str
        The column to compare with.

    Returns
    -------
    pandas.DataFrame
        Index: the other columns. `change`, the mean difference; and `half`,
        the half width of its interval. All intervals hold together in 95 of
        100 such tables: Student's quantile at 0.05 divided by their number.

    Examples
    --------
    >>> table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]})
    >>> changes(table, "a").change.tolist()
    [1.0]
    """
    difference = by_row.drop(columns=base).sub(by_row[base], axis=0)
    tail = MISSES / difference.shape[1] / 2
    quantile = float(student.isf(tail, len(difference) - 1))
    half = difference.std() * quantile / math.sqrt(len(difference))
    return pd.DataFrame({"change": difference.mean(), "half": half})


def read(name: str) -> dict[str, Any]:
    """The data of a file beside this one."""
    place = files("surgeon.ablations") / name
    return json.loads(place.read_text(encoding="utf8"))
