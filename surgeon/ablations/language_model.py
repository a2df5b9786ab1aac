"""What each cut costs a language model, in nats a token.

`python -m experiments.language_model` makes the data that are read here.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from surgeon.ablations.specimen_surgery import TAILS
from surgeon.anatomy.masks import create_reverse_mask
from surgeon.anatomy.positions import Positions, Rotary
from surgeon.arguments import generator_from, positive_integer
from surgeon.models.cuts import (
    Cut,
    own_diagonal,
    silent,
    top_k,
    uniform,
    unscaled,
    windowed,
)
from surgeon.models.language_model import LanguageModel, Text
from surgeon.models.transformer import losses

FILE = "language_model.json"
WIDTHS, SINKS = (8, 16, 32, 64), 4  # of the windows, in tokens
KEPT = (1, 2, 4, 8, 16)  # keys that are kept, `top_k`

#: the cuts of the page, each in all heads of all layers
CUTS: dict[str, list[Cut]] = {
    "whole": [],
    "no scale": [unscaled(d_k=64)],
    "scores doubled": [Cut(scale=2.0)],
    "scores halved": [Cut(scale=0.5)],
    "no mask": [Cut(causal=False)],
    "reverse mask": [Cut(mask=create_reverse_mask, causal=False)],
    "no rotation": [Cut(positions=Positions())],
    "wrong pairs": [
        Cut(positions=Rotary(base=100_000.0, pairs="neighbours"))
    ],
    "base 10,000": [Cut(positions=Rotary(base=10_000.0))],
    "queries one place later": [Cut(shift_queries=1)],
    "all seven places later": [Cut(shift_queries=7, shift_keys=7)],
    **{f"window {w}": [windowed(w)] for w in WIDTHS},
    "window 16, 1 sink": [windowed(16, 1)],
    **{f"window {w}, 4 sinks": [windowed(w, SINKS)] for w in WIDTHS},
    "first token hidden": [Cut(hide=0)],
    "sixth token hidden": [Cut(hide=5)],
    "first token mute": [Cut(mute=0)],
    "sixth token mute": [Cut(mute=5)],
    **{f"top {k}": [Cut(weights=top_k(k))] for k in KEPT},
    "uniform": [Cut(weights=uniform)],
    "own diagonal": [Cut(weights=own_diagonal)],
    "silent": [Cut(weights=silent)],
}


def mean_losses(
    model: LanguageModel, texts: Sequence[Text], cuts: Sequence[Cut] = ()
) -> np.ndarray:
    """The loss of each text after a cut, nats a token, [texts]."""
    return np.array([model.loss(text, cuts=cuts) for text in texts])


@torch.no_grad()
def each_apart(
    model: LanguageModel, text: Text, make: Any, heads: bool = True
) -> np.ndarray:
    """The loss after the same cut in each head, or each layer, alone.

    What lies below the cut is computed once.

    Parameters
    ----------
    model : LanguageModel
        What is cut.
    text : str or sequence of int
        At least two tokens.
    make : callable
        From heads of a layer, or None for all of them, to a `Cut`.
    heads : bool
        Whether heads are cut one by one, or layers.

    Returns
    -------
    array
        Nats a token, [layers, heads], or [layers].
    """
    ids = torch.tensor([model.tokenize(text)[0]])
    x = model.embed(ids)
    before = [x, *(step.x for step in model.walk(x))]
    H = model.sizes.heads
    found = []
    for n in range(model.sizes.layers):
        for which in range(H) if heads else (None,):
            x = before[n]
            for m, layer in enumerate(model.layers[n:]):
                here = [] if m else [make(which)]
                x = layer(x, model.positions, here).x
            nats = losses(model.read(x)[0, :-1], ids[0, 1:])
            found.append(float(nats.mean()))
    shape = (model.sizes.layers, H) if heads else (model.sizes.layers,)
    return np.array(found).reshape(shape)


def changes(
    after: Mapping[str, np.ndarray],
    before: np.ndarray,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """How far each cut moves the mean loss, with intervals over texts.

    Everything is paired: the bootstrap draws texts, the same before a cut and
    after it.

    Parameters
    ----------
    after : mapping of str to array
        The losses of each text after a cut, [texts], by the cut's name.
    before : array
        Those without a cut.
    draws : int
        Draws of the texts.
    seed : int
        Where their randomness comes from.

    Returns
    -------
    DataFrame
        By the cut's name: `loss`, `change`, and the `low` and `high` end of
        95% of the draws of `change`.

    Raises
    ------
    ValueError
        If `draws` is no positive integer, or `seed` is none from 0 to
        2**32 - 1.
    """
    n, generator = len(before), generator_from(seed)
    size = (positive_integer("draws", draws), n)
    drawn = torch.randint(n, size, generator=generator).numpy()
    rows = {}
    for name, nats in after.items():
        change = np.asarray(nats) - before
        low, high = np.quantile(change[drawn].mean(1), TAILS)
        rows[name] = (np.mean(nats), change.mean(), low, high)
    columns = ["loss", "change", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


class Kept(NamedTuple):
    """What the long run measured, in nats a token.

    Attributes
    ----------
    texts : list of str
        Kind and name of each text.
    cuts : dict of str to array
        The loss of each text after each of `CUTS`, [texts].
    unscaled : array
        After the scale is taken from one layer alone, [layers], the mean over
        `short`.
    heads : array
        After each head is silenced alone, [layers, heads, short].
    groups : dict of str to array
        After several heads are silenced together, [unseen texts], and
        `before` without a cut.
    members : dict of str to list
        The heads of each group, as [layer, head].
    before : dict of str to array
        Without a cut: of the `short` texts, and of the `unseen` ones.
    versions : dict of str to str
    date : str
    """

    texts: list[str]
    cuts: dict[str, np.ndarray]
    unscaled: np.ndarray
    heads: np.ndarray
    groups: dict[str, np.ndarray]
    members: dict[str, list[list[int]]]
    before: dict[str, np.ndarray]
    versions: dict[str, str]
    date: str


def load_losses() -> Kept:
    """What `python -m experiments.language_model` measured."""
    text = (files("surgeon.ablations") / FILE).read_text(encoding="utf-8")
    found = json.loads(text)
    arrays = {
        name: {key: np.array(values) for key, values in found[name].items()}
        for name in ("cuts", "groups", "before")
    }
    return Kept(
        texts=found["texts"],
        unscaled=np.array(found["unscaled"]),
        heads=np.array(found["heads"]),
        members=found["members"],
        versions=found["versions"],
        date=found["date"],
        **arrays,
    )
