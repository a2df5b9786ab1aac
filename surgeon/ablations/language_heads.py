"""Each head of a model against the pictures of the assignment, in numbers.

`python -m experiments.language_heads` makes the data that are read here.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.arguments import generator_from, positive_integer
from surgeon.imaging.patterns import row_entropy
from surgeon.imaging.pictures import lead_within, repeat_cells, weight_on

FILE = "language_heads.json"
FAR = 16  # tokens: what is farther back is far
LEAST = 8  # keys that a row must see to be called even or sharp
ENDS = ".!?\n"  # a token that holds one of these ends a sentence
FIRST = 100  # numbers below are marks, and single letters


def is_punctuation(token: str) -> bool:
    """Whether a token holds no letter and no digit.

    Examples
    --------
    >>> [is_punctuation(token) for token in (",", " (", " the", "7", "\\n")]
    [True, True, False, False, True]
    """
    return not any(letter.isalnum() for letter in token)


def cells_of(ids: Sequence[int], tokens: Sequence[str]) -> dict[str, Tensor]:
    """The cells of each picture, for one text.

    Parameters
    ----------
    ids, tokens : sequence of int, sequence of str
        Numbers and names of the `T` tokens.

    Returns
    -------
    dict of str to Tensor
        Booleans [T, T]: `itself`, `previous`, `next` (the token after),
        `first` (the first token), `punctuation` (tokens without a letter or a
        digit), `far` (more than sixteen tokens back, the first token left
        out), `same` (where the token stood before) and `followed` (what
        followed it there).

    Examples
    --------
    >>> cells = cells_of([7, 5, 7], ["cut", ",", " cut"])
    >>> cells["followed"].nonzero().tolist()
    [[2, 1]]
    """
    T = len(ids)
    place = torch.arange(T)
    back = place[:, None] - place
    mark = torch.tensor([is_punctuation(token) for token in tokens])
    return {
        "itself": back == 0,
        "previous": back == 1,
        "next": back == -1,
        "first": (place == 0).expand(T, T),
        "punctuation": mark.expand(T, T),
        "far": (back > FAR) & (place > 0),
        "same": repeat_cells(ids, 0),
        "followed": repeat_cells(ids, 1),
    }


def sentences(tokens: Sequence[str]) -> Tensor:
    """Which sentence each token belongs to; -1 for marks and the first token.

    Examples
    --------
    >>> sentences(["Now", " cut", ".", " And", " look"]).tolist()
    [-1, 0, -1, 1, 1]
    """
    ended = torch.tensor(
        [any(end in token for end in ENDS) for token in tokens]
    )
    group = ended.long().cumsum(0) - ended.long()
    left_out = torch.tensor([is_punctuation(token) for token in tokens])
    left_out[0] = True
    return group.masked_fill(left_out, -1)


def resemblance(
    weights: Tensor,
    ids: Sequence[int],
    tokens: Sequence[str],
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """How much each head looks like each picture, on one text.

    Parameters
    ----------
    weights : Tensor
        [..., T, T].
    ids, tokens : sequence of int, sequence of str
        Numbers and names of the `T` tokens.
    mask : Tensor, optional
        The mask that the weights were made under, [T, T].

    Returns
    -------
    dict of str to Tensor
        [...] for each picture of `cells_of`, the weight on its cells as
        `surgeon.imaging.pictures.weight_on` has it, NaN where no query has a
        choice; `blocks`, the weight within sentences that distance does not
        explain; and `horizontal`, by how much the most even row exceeds the
        median row, in the entropy over its largest, of those rows that see
        eight keys or more. For a baseline, give it
        `surgeon.imaging.patterns.uniform_weights` of the mask.

    Raises
    ------
    ValueError
        As `surgeon.imaging.pictures.weight_on`.

    Examples
    --------
    >>> before = torch.eye(9)[[0, 0, 1, 2, 3, 4, 5, 6, 7]]
    >>> letters = list("abcdefghi")
    >>> found = resemblance(before, range(9), letters)
    >>> float(found["previous"]), float(found["itself"])
    (1.0, 0.1111111119389534)
    """
    shape = weights.shape[-2:]
    seen = visible(mask, shape, weights.device)
    found = {}
    for name, cells in cells_of(ids, tokens).items():
        meant = cells & seen
        choice = meant.any(-1) & (seen & ~meant).any(-1)
        if choice.any():
            found[name] = weight_on(weights, cells, mask=mask)
        else:
            found[name] = weights.new_full(weights.shape[:-2], torch.nan)
    groups = sentences(tokens)
    found["blocks"] = lead_within(weights, groups, mask=mask)
    keys = seen.sum(-1)
    rows = keys >= min(LEAST, shape[1])
    spread = row_entropy(weights)[..., rows] / keys[rows].log()
    found["horizontal"] = spread.amax(-1) - spread.median(-1).values
    return found


def random_repeat(
    length: int, vocabulary: int, seed: int | torch.Generator = 0
) -> list[int]:
    """Tokens drawn at random, and then the same again.

    Parameters
    ----------
    length : int
        How many are drawn, no two alike.
    vocabulary : int
        They are drawn from the numbers 100 to `vocabulary` - 1.
    seed : int or torch.Generator
        Where the randomness comes from.

    Returns
    -------
    list of int
        Twice `length` numbers.

    Raises
    ------
    ValueError
        If there are not that many to draw from, or `length` or `seed` are
        none.

    Examples
    --------
    >>> ids = random_repeat(5, 1000)
    >>> len(ids), ids[:5] == ids[5:], len(set(ids))
    (10, True, 5)
    """
    length = positive_integer("length", length)
    vocabulary = positive_integer("vocabulary", vocabulary)
    if vocabulary - FIRST < length:
        raise ValueError(
            f"vocabulary must be {FIRST + length} or more for {length}"
            f" tokens, got {vocabulary}."
        )
    generator = generator_from(seed)
    drawn = torch.randperm(vocabulary - FIRST, generator=generator)[:length]
    once = (FIRST + drawn).tolist()
    return once + once


class LanguageHeads(NamedTuple):
    """What the heads of the language model, and the encoder's, resemble.

    Attributes
    ----------
    pictures : pandas.DataFrame
        One row a model (`decoder` or `encoder`), picture, layer and head:
        `seen` and `unseen`, the means over the texts of either half, and
        `error`, the standard error of the second.
    even : pandas.DataFrame
        What `uniform_weights` of the mask has: index `model` and `picture`,
        columns `seen` and `unseen`.
    sample : dict of str to Tensor
        What `resemblance` has on the first unseen text, [L, H] each.
    sink : pandas.DataFrame
        One row a layer and head of the decoder, means over all texts:
        `weight`, the first token's share of the weight, and `brought`, its
        share of the length of what is brought.
    values : pandas.DataFrame
        One row a layer and key head: `ratio`, the length of the first token's
        value over the mean length of the others', the median over texts.
    hidden : list of float
        The same of the tokens' own vectors, before the first layer and after
        each.
    repeats : pandas.DataFrame
        One row a cut and draw: `cut`, `heads` (what was silenced, a list of
        pairs), `first` and `second` (the loss on the first copy and on the
        second, in nats a token, the mean over `number` random repeats), and
        `error` (the standard error of the second).
    induction : pandas.DataFrame
        On random repeats, one row a layer and head: `whole`, the weight on
        what followed, and `cut`, the same without `previous`.
    best : list of (int, int)
        The heads that were silenced together, chosen on seen texts.
    previous : (int, int)
        The head that reads the token before.
    prose : dict of str to list of float
        The loss on each unseen text without repetition, `none` and `best`.
    number, length, seed : int
        Of the random repeats.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    pictures: pd.DataFrame
    even: pd.DataFrame
    sample: dict[str, Tensor]
    sink: pd.DataFrame
    values: pd.DataFrame
    hidden: list[float]
    repeats: pd.DataFrame
    induction: pd.DataFrame
    best: list[tuple[int, int]]
    previous: tuple[int, int]
    prose: dict[str, list[float]]
    number: int
    length: int
    seed: int
    versions: dict[str, str]
    date: str


def load_language_heads() -> LanguageHeads:
    """What `python -m experiments.language_heads` measured.

    Returns
    -------
    LanguageHeads

    Examples
    --------
    >>> heads = load_language_heads()
    >>> len(heads.sink), heads.pictures.picture.nunique()
    (270, 10)
    """
    text = (files("surgeon.ablations") / FILE).read_text(encoding="utf-8")
    kept = json.loads(text)
    pictures, even = [], []
    for model, by_picture in kept["pictures"].items():
        for picture, found in by_picture.items():
            who = {"model": model, "picture": picture}
            pictures += _by_place(who, found["heads"])
            even.append(who | found["even"])
    induction = kept["induction"]
    return LanguageHeads(
        pd.DataFrame(pictures),
        pd.DataFrame(even).set_index(["model", "picture"]),
        {name: torch.tensor(each) for name, each in kept["sample"].items()},
        pd.DataFrame(_by_place({}, kept["sink"])),
        pd.DataFrame(_by_place({}, {"ratio": kept["values"]})).rename(
            columns={"head": "key_head"}
        ),
        kept["hidden"],
        pd.DataFrame(kept["repeats"]),
        pd.DataFrame(_by_place({}, induction)),
        [(layer, head) for layer, head in kept["best"]],
        tuple(kept["previous"]),
        kept["prose"],
        **{
            name: kept[name]
            for name in ("number", "length", "seed", "versions", "date")
        },
    )


def _by_place(who: dict, tables: dict[str, list]) -> list[dict]:
    """A row for each layer and head, with its number of each table."""
    numbers = {name: np.array(table) for name, table in tables.items()}
    shape = next(iter(numbers.values())).shape
    return [
        who
        | {"layer": layer, "head": head}
        | {name: float(table[layer, head]) for name, table in numbers.items()}
        for layer, head in np.ndindex(*shape)
    ]
