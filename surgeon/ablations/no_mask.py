"""Language models alike but for the mask: what each learns, and can do."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from surgeon.anatomy.masks import create_causal_mask, create_reverse_mask
from surgeon.arguments import check_seed, positive_integer
from surgeon.book.once import once_each
from surgeon.models.english import english_grammar
from surgeon.models.grammar import Grammar
from surgeon.models.training import train
from surgeon.models.transformer import (
    MaskOf,
    TransformerLM,
    generate,
    losses,
    make_model,
    predict,
)

MASKS: dict[str, MaskOf] = {
    "causal": create_causal_mask,
    "none": lambda seq_len: None,
    "reverse": create_reverse_mask,
}


class Trained(NamedTuple):
    """A model, and how it was trained."""

    model: TransformerLM
    history: pd.DataFrame  #: `step` and `loss`, as `train` gives them
    seconds: float  #: how long it took, here and then


class Asked(NamedTuple):
    """A trained model, and what was found of it by itself."""

    trained: Trained
    generated: Tensor  #: as in `MaskingComparison`, like the tables
    summary: pd.DataFrame
    cross: pd.DataFrame
    by_position: pd.DataFrame


class MaskingComparison(NamedTuple):
    """What `compare_masking` finds. Losses are in nats a word.

    Attributes
    ----------
    summary : pandas.DataFrame
        One row a model: `mask`; `training_loss` (on texts held out, under the
        mask it was trained with) and `training_loss_but_last` (without the
        last position, to which no mask can show the answer); `excess`,
        training loss less the source's own loss on the same texts;
        `prefix_loss`, when only the words so far are given; `generated_nll`,
        exact under the source, of what the model writes; `grammatical_share`
        of the `sentences` it writes. `_se` is a standard error over texts.
        Last, what they are to be held against: `source_nll` (of the texts
        held out), `best_loss`, `one_word_loss`, `uniform_loss`,
        `source_share`.
    cross : pandas.DataFrame
        Loss on the texts held out, by the mask trained with (rows) and the
        mask run with (columns).
    by_position : pandas.DataFrame
        One row a model and position: `mask`, `words_seen`, `training_loss`,
        `prefix_loss`, `best_loss`.
    history : pandas.DataFrame
        One row a model and step: `mask`, `step`, `loss`.
    generated : dict of Tensor
        The texts that each model writes, int64 [texts, 1 + length], each
        beginning with ".".
    samples : dict of list
        The first eight of them in words, without the full stop that they
        begin with.
    models : dict of TransformerLM
        The models, trained.
    grammar : Grammar
        The source.
    seconds : dict of float
        How long each training took, here and then.
    """

    summary: pd.DataFrame
    cross: pd.DataFrame
    by_position: pd.DataFrame
    history: pd.DataFrame
    generated: dict[str, Tensor]
    samples: dict[str, list[str]]
    models: dict[str, TransformerLM]
    grammar: Grammar
    seconds: dict[str, float]


def compare_masking(
    *,
    masks: Sequence[str] = ("causal", "none", "reverse"),
    steps: int = 400,
    batch_size: int = 32,
    length: int = 24,
    learning_rate: float = 5e-3,
    d_model: int = 48,
    num_heads: int = 4,
    num_layers: int = 2,
    slip: float = 0.01,
    held_out: int = 512,
    seed: int = 0,
    progress: bool = False,
) -> MaskingComparison:
    """Train models that differ in the mask alone, beside exact bounds.

    Each starts from the same weights and reads the same texts of
    `english_grammar` in the same order; `measure` then asks each of them the
    same questions.

    Parameters
    ----------
    masks : sequence of str
        Which models: "causal" sees the past, "none" hides nothing, "reverse"
        sees the future.
    steps, batch_size, length, learning_rate
        As `surgeon.models.training.train` takes them.
    d_model, num_heads, num_layers
        As `surgeon.models.transformer.TransformerLM` takes them.
    slip : float
        As `surgeon.models.english.english_grammar` takes it; without slips, a
        stray word has an infinite `generated_nll`.
    held_out : int
        Number of texts, at least 2, to measure losses on, and of texts that
        each model writes.
    seed : int
        Of the initial weights, the texts and the models' writing.
    progress : bool
        Whether each training draws a progress bar.

    Returns
    -------
    MaskingComparison

    Raises
    ------
    ValueError
        If a mask's name is unknown, missing or repeated, if `held_out` is
        less than 2, if the longest sentence does not fit into `length` words,
        or as the functions named above.

    Examples
    --------
    >>> small = {"steps": 1, "length": 11, "d_model": 4, "held_out": 2}
    >>> compare_masking(masks=["reverse"], **small).cross.columns.tolist()
    ['causal', 'none', 'reverse']
    """
    grammar = _check(masks, steps, length, held_out, slip)
    # The same weights and the same texts; the mask is the only difference.
    results = once_each(
        train_and_ask,
        [(name,) for name in masks],
        held_out=held_out,
        steps=steps,
        batch_size=batch_size,
        length=length,
        learning_rate=learning_rate,
        d_model=d_model,
        num_heads=num_heads,
        num_layers=num_layers,
        slip=slip,
        seed=seed,
        progress=progress,
    )
    asked = dict(zip(masks, results, strict=True))
    histories = [
        one.trained.history.assign(mask=name)[["mask", "step", "loss"]]
        for name, one in asked.items()
    ]
    return MaskingComparison(
        summary=pd.concat([x.summary for x in results], ignore_index=True),
        cross=pd.concat([x.cross for x in results]),
        by_position=pd.concat(
            [x.by_position for x in results], ignore_index=True
        ),
        history=pd.concat(histories, ignore_index=True),
        generated={name: one.generated for name, one in asked.items()},
        samples={
            name: [grammar.decode(row[1:]) for row in one.generated[:8]]
            for name, one in asked.items()
        },
        models={name: one.trained.model for name, one in asked.items()},
        grammar=grammar,
        seconds={name: one.trained.seconds for name, one in asked.items()},
    )


def train_and_ask(
    mask: str,
    *,
    held_out: int,
    length: int,
    slip: float,
    seed: int,
    **how: Any,
) -> Asked:
    """One of the models of `compare_masking`, and what it answers.

    Two pages that compare the same models share all of it.

    Parameters
    ----------
    mask : str
        A key of `MASKS`.
    held_out, length, slip, seed
        As `compare_masking` takes them.
    **how
        What else `train_under` takes.

    Returns
    -------
    Asked

    Raises
    ------
    ValueError
        As the functions that `compare_masking` names.

    Examples
    --------
    >>> of = {"length": 11, "slip": 0.01, "seed": 0}
    >>> small = {"steps": 1, "d_model": 4}
    >>> train_and_ask("none", held_out=2, **of, **small).generated.shape
    torch.Size([2, 12])
    """
    trained = train_under(mask, length=length, slip=slip, seed=seed, **how)
    grammar = english_grammar(slip)
    of_held_out, of_writing = _seeds(seed)[2:]
    texts = grammar.sample(held_out, length, of_held_out)
    written = write(trained.model, held_out, length, MASKS[mask], of_writing)
    found = measure({mask: trained.model}, grammar, texts, {mask: written})
    return Asked(trained, written, *found)


def train_under(
    mask: str,
    *,
    steps: int = 400,
    batch_size: int = 32,
    length: int = 24,
    learning_rate: float = 5e-3,
    d_model: int = 48,
    num_heads: int = 4,
    num_layers: int = 2,
    slip: float = 0.01,
    seed: int = 0,
    progress: bool = False,
) -> Trained:
    """Train one of the models of `compare_masking`.

    What comes out depends on the arguments alone, but for the seconds.

    Parameters
    ----------
    mask : str
        A key of `MASKS`.
    steps, batch_size, length, learning_rate, d_model, num_heads, num_layers
        As `compare_masking` takes them.
    slip, seed, progress
        As `compare_masking` takes them.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        As the functions that `compare_masking` names.

    Examples
    --------
    >>> model, history, _ = train_under("none", steps=2, length=5, d_model=4)
    >>> len(history), model.max_len
    (2, 5)
    """
    began = time.perf_counter()
    of_weights, of_texts = _seeds(seed)[:2]
    grammar = english_grammar(slip)
    with torch.device("cpu"):
        model = make_model(
            len(grammar.words),
            length,
            d_model=d_model,
            num_heads=num_heads,
            num_layers=num_layers,
            seed=of_weights,
        )
    history = train(
        model,
        grammar,
        MASKS[mask](length),
        steps=steps,
        batch_size=batch_size,
        length=length,
        learning_rate=learning_rate,
        seed=of_texts,
        progress=progress,
    )
    return Trained(model, history, time.perf_counter() - began)


def measure(
    models: Mapping[str, TransformerLM],
    grammar: Grammar,
    texts: Tensor,
    generated: Mapping[str, Tensor],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ask models about texts, as in training and in use, and judge theirs.

    Parameters
    ----------
    models : mapping
        From a mask's name ("causal", "none", "reverse") to the model that was
        trained with it.
    grammar : Grammar
        The source.
    texts : Tensor
        Texts of the source that no model has read, int64 [B, 1 + T].
    generated : mapping
        From the same names to texts that the models wrote, int64 [any, 1 +
        T].

    Returns
    -------
    summary, cross, by_position : pandas.DataFrame
        As in `MaskingComparison`.
    """
    source, T = grammar.nll(texts), texts.shape[1] - 1  # float64 [B, T]
    bounds = {
        "source_nll": source.mean().item(),
        "best_loss": grammar.best_loss(T),
        "one_word_loss": grammar.one_word_loss(T),
        "uniform_loss": math.log(len(grammar.words)),
        "source_share": grammar.grammatical_share(),
    }
    rows, cross, by_position = [], {}, []
    for name, model in models.items():
        run_with = {
            other: parallel_losses(model, texts, mask_of)
            for other, mask_of in MASKS.items()
        }
        training = run_with[name]
        prefix = prefix_losses(model, texts, MASKS[name])
        sentences, grammatical = (
            int(count.sum()) for count in grammar.judge(generated[name])
        )
        measured = {
            **_mean("training_loss", training),
            "training_loss_but_last": training[:, :-1].mean().item(),
            **_mean("excess", training - source),
            **_mean("prefix_loss", prefix),
            **_mean("generated_nll", grammar.nll(generated[name])),
            "grammatical_share": grammatical / sentences,
            "sentences": sentences,
        }
        rows.append({"mask": name, **measured, **bounds})
        cross[name] = {k: loss.mean().item() for k, loss in run_with.items()}
        columns = {
            "mask": name,
            "words_seen": range(1, T + 1),
            "training_loss": training.mean(0),
            "prefix_loss": prefix.mean(0),
            "best_loss": grammar.best_losses(T),
        }
        by_position.append(pd.DataFrame(columns))
    table = pd.DataFrame(cross).T
    return (
        pd.DataFrame(rows),
        table.rename_axis(index="trained with", columns="run with"),
        pd.concat(by_position, ignore_index=True),
    )


@torch.no_grad()
def parallel_losses(
    model: TransformerLM, texts: Tensor, mask_of: MaskOf
) -> Tensor:
    """Each prediction's loss with the whole text there, as in training.

    [B, 1 + T] -> float64 [B, T]
    """
    mask = mask_of(texts.shape[1] - 1)
    mask = None if mask is None else mask.to(texts.device)
    logits, _ = model(texts[:, :-1], mask)
    return losses(logits, texts[:, 1:]).double()


def prefix_losses(
    model: TransformerLM, texts: Tensor, mask_of: MaskOf
) -> Tensor:
    """Each prediction's loss with the words so far alone, as in use.

    [B, 1 + T] -> float64 [B, T]
    """
    logits = [
        predict(model, texts[:, :seen], mask_of)
        for seen in range(1, texts.shape[1])
    ]
    return losses(torch.stack(logits, 1), texts[:, 1:]).double()


def write(
    model: TransformerLM,
    num_texts: int,
    length: int,
    mask_of: MaskOf,
    seed: int,
) -> Tensor:
    """Texts of `length` words that the model writes after a full stop.

    int64 [num_texts, 1 + length]
    """
    device = next((x.device for x in model.parameters()), "cpu")
    full_stops = torch.zeros(num_texts, 1, dtype=torch.int64, device=device)
    return generate(model, full_stops, length, mask_of, seed=seed)


def _mean(name: str, values: Tensor) -> dict[str, float]:
    """Mean over texts and positions, and its standard error over texts.

    The words of one text are not independent.
    """
    by_text = values.mean(1)
    return {
        name: by_text.mean().item(),
        f"{name}_se": (by_text.std() / math.sqrt(len(by_text))).item(),
    }


def _seeds(seed: int) -> list[int]:
    """Of the weights, the texts, the texts held out, and the writing."""
    streams = torch.Generator().manual_seed(check_seed(seed))
    drawn = torch.randint(
        2**31, (4,), generator=streams, device=streams.device
    )
    return drawn.tolist()


def _check(
    masks: Sequence[str], steps: int, length: int, held_out: int, slip: float
) -> Grammar:
    """Find what is wrong before a model is trained; the grammar.

    The functions below would only find it after the first training.
    """
    for name in masks:
        if name not in MASKS:
            raise ValueError(
                f"masks must be names among {', '.join(MASKS)}, got {name!r}."
            )
    if not masks or len(set(masks)) < len(masks):
        raise ValueError(
            f"masks must be at least one name, each once, got {list(masks)}."
        )
    if positive_integer("held_out", held_out) < 2:
        raise ValueError(
            "held_out must be at least 2, or there is no standard error, got"
            f" {held_out}."
        )
    grammar = english_grammar(slip)
    longest = grammar.longest_sentence()
    if positive_integer("length", length) < longest:
        raise ValueError(
            f"length must have room for the longest sentence ({longest}"
            f" words), got {length}."
        )
    positive_integer("steps", steps)
    return grammar
