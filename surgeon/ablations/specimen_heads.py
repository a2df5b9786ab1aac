"""Each of the specimen's heads silenced, on all topics, with intervals.

`python -m experiments.specimen` makes the data that are read here.
"""

import json
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

FILE = "specimen_heads.json"
ENDS = ("change", "low", "high", "at_once_low", "at_once_high")


class Heads(NamedTuple):
    """What silencing one head does, and what mends a window.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a measure, layer and head: `measure`, `layer`, `head`, and the
        `change` of that measure, as
        `surgeon.ablations.specimen_surgery.separation` has it. Between `low`
        and `high` lie 95% of the draws. `at_once_low` and `at_once_high` are
        wider: in 95% of the draws no head leaves its own, in no measure
        but `moved`.
    ratios : dict of str to (float, float, float)
        Median, lower and upper end over the draws: `last_over_others`, of how
        far heads of the last layer move the vectors and how far others do, on
        average; `least_of_last_over_most_of_others`, of the extremes.
    columns : dict of str to (float, float, float)
        What a window of four keys each way gains over unrelated pairs if one
        column is open to all, with its interval; by the column's name.
    cls_over : dict of str to (float, float, float)
        What opening [CLS] gains more than opening another column does.
    topics, draws, seed : int
        Of the bootstrap.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    table: pd.DataFrame
    ratios: dict[str, tuple[float, float, float]]
    columns: dict[str, tuple[float, float, float]]
    cls_over: dict[str, tuple[float, float, float]]
    topics: int
    draws: int
    seed: int
    versions: dict[str, str]
    date: str


def load_heads() -> Heads:
    """What `python -m experiments.specimen` measured.

    Returns
    -------
    Heads

    Examples
    --------
    >>> heads = load_heads()
    >>> len(heads.table), heads.topics
    (288, 40)
    """
    text = (files("surgeon.ablations") / FILE).read_text(encoding="utf-8")
    found = json.loads(text)
    rows = []
    for measure, tables in found["heads"].items():
        values = np.array([tables[end] for end in ENDS])  # [5, 6, 12]
        for layer, head in np.ndindex(*values.shape[1:]):
            row = dict(zip(ENDS, values[:, layer, head], strict=True))
            where = {"measure": measure, "layer": layer, "head": head}
            rows.append(where | row)
    triples = {
        name: {key: tuple(three) for key, three in found[name].items()}
        for name in ("moved", "columns", "cls_over")
    }
    return Heads(
        pd.DataFrame(rows),
        triples["moved"],
        triples["columns"],
        triples["cls_over"],
        found["topics"],
        found["draws"],
        found["seed"],
        found["versions"],
        found["date"],
    )
