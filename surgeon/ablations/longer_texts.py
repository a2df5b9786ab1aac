"""Language models alike but for how they are told places, on longer texts.

`python -m experiments.longer` makes the data that `load_runs` reads.
"""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from surgeon.anatomy.masks import create_causal_mask
from surgeon.anatomy.positions import (
    Alibi,
    DistanceBias,
    Positions,
    Rotary,
    Sinusoidal,
)
from surgeon.anatomy.precision import subnormals_as_zero
from surgeon.arguments import check_seed, positive_integer
from surgeon.models.adamw import AdamW
from surgeon.models.english import english_grammar
from surgeon.models.training import learning_rate_at
from surgeon.models.transformer import (
    TransformerLM,
    cross_entropy,
    losses,
    make_model,
)

FILE = "longer_texts.json"
BACK, LETTERS = 3, 24  # of "recall": how far back, and how many there are
BLOCK = 8  # places whose means are kept together
WARMUP = 20  # steps

# From the heads and the length of the texts that a model is trained on to
# what tells it places; None tells it none, and it has its causal mask alone.
Scheme = Callable[[int, int], Positions | str | None]
SCHEMES: dict[str, Scheme] = {
    "none": lambda heads, length: None,
    "learned": lambda heads, length: "learned",
    # waves as high, beside the words, as in the paper
    "sinusoidal": lambda heads, length: Sinusoidal(0.1),
    "rotary": lambda heads, length: Rotary(),
    "alibi": lambda heads, length: Alibi(heads),
    # the last bucket is for the longest distances of the training, and more
    "distance bias": lambda heads, length: DistanceBias(
        heads, num_buckets=16, max_distance=max(length, 9), causal=True
    ),
}


class Lengthened(NamedTuple):
    """A model, and what it makes of longer texts."""

    model: TransformerLM  #: trained
    #: index `place`, from 1, the words read so far; by place, the mean loss
    #: in nats less what the same answers cost whoever knows how the texts are
    #: made
    excess: pd.Series


class Texts(NamedTuple):
    """Texts, and what is to be told at each of their words.

    Attributes
    ----------
    read : Tensor
        What a model reads, int64 [B, T].
    told : Tensor
        What it is to tell at each word from the `first` on, int64 [B, T -
        first].
    least : Tensor
        What that costs whoever knows how the texts are made, in nats,
        float64, of the same shape.
    first : int
        Words at which nothing is to be told.
    """

    read: Tensor
    told: Tensor
    least: Tensor
    first: int


def draw_grammar(count: int, length: int, seed: int) -> Texts:
    """Texts of `english_grammar`, at each word of which the next is told."""
    grammar = english_grammar()
    texts = grammar.sample(count, length, seed)
    return Texts(texts[:, :-1], texts[:, 1:], grammar.nll(texts), 0)


def draw_recall(count: int, length: int, seed: int) -> Texts:
    """Letters by chance, at each of which the one three before is told.

    The last three are never asked for; whoever can count back is always
    right.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))
    read = torch.randint(
        LETTERS, (count, length), generator=generator, device="cpu"
    )
    told = read[:, :-BACK]
    least = torch.zeros_like(told, dtype=torch.float64)
    return Texts(read, told, least, BACK)


TASKS: dict[str, Callable[[int, int, int], Texts]] = {
    "grammar": draw_grammar,
    "recall": draw_recall,
}


def lengthen(
    scheme: str,
    *,
    task: str = "grammar",
    steps: int = 400,
    batch_size: int = 32,
    length: int = 24,
    longest: int = 96,
    learning_rate: float = 5e-3,
    d_model: int = 48,
    num_heads: int = 4,
    num_layers: int = 2,
    held_out: int = 512,
    seed: int = 0,
) -> Lengthened:
    """Train a model on texts of one length, and ask it about longer ones.

    The mask is causal throughout. Models of one seed read the same texts in
    the same order, start alike but for what their scheme learns, and are
    asked about the same texts.

    Parameters
    ----------
    scheme : str
        How it is told places, a key of `SCHEMES`. The rows of "learned"
        beyond `length` stay as they were drawn, but for the weight decay,
        since no text of the training has a word there.
    task : str
        A key of `TASKS`: "grammar" tells the next word of
        `english_grammar`, "recall" the letter three before.
    steps, batch_size, length : int
        Steps; texts a step; words of each.
    longest : int
        Words of the texts that it is asked about.
    learning_rate : float
        At its peak (see `surgeon.models.training.learning_rate_at`).
    d_model, num_heads, num_layers : int
        As `surgeon.models.transformer.TransformerLM` takes them.
    held_out : int
        Number of texts that it is asked about.
    seed : int
        Of the weights and the texts.

    Returns
    -------
    Lengthened

    Raises
    ------
    ValueError
        If a name is unknown or a number is out of its range.

    Examples
    --------
    >>> small = {"steps": 1, "length": 5, "longest": 7, "held_out": 2}
    >>> lengthen("rotary", **small, d_model=8).excess.index.tolist()
    [1, 2, 3, 4, 5, 6, 7]
    """
    _check(scheme, task, steps, batch_size, length, longest, held_out)
    of_weights, of_texts, of_held_out = _seeds(seed)
    draw = TASKS[task]
    model = make_model(
        LETTERS,
        longest,
        d_model=d_model,
        num_heads=num_heads,
        num_layers=num_layers,
        positions=SCHEMES[scheme](num_heads, length),
        seed=of_weights,
    )
    fit(
        model,
        draw(steps * batch_size, length, of_texts),
        steps=steps,
        learning_rate=learning_rate,
    )
    texts = draw(held_out, longest, of_held_out)
    return Lengthened(model, beyond_the_least(model, texts))


@subnormals_as_zero()
def fit(
    model: TransformerLM, texts: Texts, *, steps: int, learning_rate: float
) -> None:
    """Train a model, in place, on texts that it sees once."""
    read = texts.read.unflatten(0, (steps, -1))
    told = texts.told.unflatten(0, (steps, -1))
    mask = create_causal_mask(texts.read.shape[1], device=read.device)
    optimizer = AdamW(model.parameters())
    for step, (tokens, targets) in enumerate(zip(read, told, strict=True)):
        logits, _ = model(tokens, mask)
        cross_entropy(logits[:, texts.first :], targets).backward()
        optimizer.step(learning_rate_at(step, steps, learning_rate, WARMUP))


@torch.no_grad()
def beyond_the_least(model: TransformerLM, texts: Texts) -> pd.Series:
    """Mean loss at each place less the least, as `Lengthened` has it."""
    mask = create_causal_mask(texts.read.shape[1], device=texts.read.device)
    logits, _ = model(texts.read, mask)
    lost = losses(logits[:, texts.first :], texts.told).double()
    means = (lost - texts.least).mean(0)
    places = range(texts.first + 1, texts.first + 1 + len(means))
    index = pd.Index(places, name="place")
    return pd.Series(means.tolist(), index, name="excess")


class Runs(NamedTuple):
    """Every scheme, on both tasks, from several starts.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a run and block of places: `task`, `scheme`, `seed`; `place`,
        the last of the block, `places`, how many of it were asked, and
        `excess`, their mean loss less the least there is, in nats.
    seeds : list of int
        Of the starts.
    steps, length : int
        Of training; words of the texts that it had.
    versions : dict of str to str
        Of Python and the packages that were used.
    date : str
        Of the run.
    """

    table: pd.DataFrame
    seeds: list[int]
    steps: int
    length: int
    versions: dict[str, str]
    date: str

    def up_to(self, place: int, task: str = "grammar") -> pd.DataFrame:
        """Mean excess over a text's first places, [seeds, schemes].

        Parameters
        ----------
        place : int
            The text's length, a multiple of `BLOCK`.
        task : str
            A key of `TASKS`.

        Returns
        -------
        pandas.DataFrame
            Index `seed`, columns in the order of `SCHEMES`.

        Examples
        --------
        >>> runs = load_runs()
        >>> runs.up_to(runs.length).shape
        (8, 6)
        """
        part = self.table.query("task == @task and place <= @place")
        sums = part.assign(excess=part.excess * part.places)
        sums = sums.groupby(["seed", "scheme"])[["excess", "places"]].sum()
        means = (sums.excess / sums.places).unstack()
        return means[list(SCHEMES)]


def load_runs() -> Runs:
    """What `python -m experiments.longer` measured.

    Returns
    -------
    Runs

    Examples
    --------
    >>> runs = load_runs()
    >>> len(runs.seeds), runs.steps, runs.length
    (8, 400, 24)
    """
    place = files("surgeon.ablations") / FILE
    kept = json.loads(place.read_text(encoding="utf8"))
    rows = []
    for task, schemes in kept["tasks"].items():
        first = 0 if task == "grammar" else BACK
        for scheme, starts in schemes.items():
            for seed, means in zip(kept["seeds"], starts, strict=True):
                for n, mean in enumerate(means):
                    asked = BLOCK - first if n == 0 else BLOCK
                    row = task, scheme, seed, (n + 1) * BLOCK, asked, mean
                    rows.append(row)
    columns = ["task", "scheme", "seed", "place", "places", "excess"]
    table = pd.DataFrame(rows, columns=columns)
    kept = {name: kept[name] for name in Runs._fields[1:]}
    return Runs(table, **kept)


def in_blocks(excess: pd.Series) -> list[float]:
    """Means over blocks of places, as `load_runs` finds them again.

    Parameters
    ----------
    excess : pandas.Series
        As `lengthen` finds it, over a multiple of `BLOCK` places.

    Returns
    -------
    list of float

    Examples
    --------
    >>> in_blocks(pd.Series(1.0, range(4, 17)))
    [1.0, 1.0]
    """
    return excess.groupby((excess.index - 1) // BLOCK).mean().tolist()


def _seeds(seed: int) -> list[int]:
    """Of the weights, the texts, and the texts held out."""
    streams = torch.Generator().manual_seed(check_seed(seed))
    drawn = torch.randint(
        2**31, (3,), generator=streams, device=streams.device
    )
    return drawn.tolist()


def _check(
    scheme: str,
    task: str,
    steps: int,
    batch_size: int,
    length: int,
    longest: int,
    held_out: int,
) -> None:
    for name, given, known in (
        ("scheme", scheme, SCHEMES),
        ("task", task, TASKS),
    ):
        if given not in known:
            raise ValueError(
                f"{name} must be one of {', '.join(known)}, got {given!r}."
            )
    positive_integer("steps", steps)
    positive_integer("batch_size", batch_size)
    positive_integer("held_out", held_out)
    if positive_integer("length", length) <= BACK:
        raise ValueError(
            f"length must be more than {BACK} words, got {length}."
        )
    if positive_integer("longest", longest) < length:
        raise ValueError(
            f"longest must be at least length ({length}), got {longest}."
        )
