"""The training loop: new text in every step, one mask throughout."""

import math
from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from surgeon.arguments import positive_integer
from surgeon.models.adamw import AdamW
from surgeon.models.grammar import Grammar
from surgeon.models.transformer import TransformerLM, cross_entropy


def train(
    model: TransformerLM,
    grammar: Grammar,
    mask: Tensor | None,
    *,
    steps: int = 400,
    batch_size: int = 32,
    length: int = 24,
    learning_rate: float = 5e-3,
    warmup: int = 20,
    weight_decay: float = 0.01,
    seed: int | torch.Generator = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Train a language model, in place, on text that it sees once.

    In each step it reads `batch_size` new texts, each from a sentence's
    start, and predicts at every position the word that comes next. What it
    may look at meanwhile is what the mask says, the answer included.

    Parameters
    ----------
    model : TransformerLM
        What is trained; its weights change.
    grammar : Grammar
        The source of the texts.
    mask : Tensor or None
        [length, length], as `surgeon.anatomy.mask_reading.as_additive` reads
        it; None hides nothing.
    steps, batch_size, length : int
        Steps; texts a step; words to predict in a text.
    learning_rate, warmup : float, int
        Peak of the learning rate, and the steps it takes to get there (see
        `learning_rate_at`).
    weight_decay : float
        AdamW's.
    seed : int or torch.Generator
        Where the texts come from. Models trained with one seed read the same
        texts in the same order.
    progress : bool
        Whether a progress bar is drawn on the error stream. Off, nothing at
        all is printed: a page leaves it off.

    Returns
    -------
    pandas.DataFrame
        One row a step: `step` from 0, and `loss`, in nats a word, on texts
        not seen before.

    Raises
    ------
    ValueError
        If a number is not positive, if the model does not know the grammar's
        words or that many positions, or if the mask does not fit.

    Notes
    -----
    Source: loshchilov2019 (AdamW) (book/references.bib).

    Examples
    --------
    >>> from surgeon.models.english import english_grammar
    >>> from surgeon.models.transformer import make_model
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> grammar = english_grammar()
    >>> model = make_model(len(grammar.words), 5, d_model=12, num_heads=3)
    >>> mask = create_causal_mask(5)
    >>> history = train(model, grammar, mask, steps=50, length=5)
    >>> bool(history.loss.iloc[-1] < history.loss.iloc[0])
    True
    """
    _check_sizes(model, grammar, steps, batch_size, length)
    _check_rates(learning_rate, warmup, weight_decay)
    device = next(model.parameters()).device
    mask = None if mask is None else mask.to(device)
    # each text is read once
    texts = grammar.sample(steps * batch_size, length, seed).to(device)
    batches = texts.unflatten(0, (steps, batch_size))  # [..., 1 + length]
    optimizer = AdamW(model.parameters(), weight_decay)
    history = []
    for step, batch in enumerate(_bar(batches, progress)):
        # it reads all words but the last, and predicts all but the first
        logits, _ = model(batch[:, :-1], mask)
        loss = cross_entropy(logits, batch[:, 1:])
        loss.backward()
        optimizer.step(learning_rate_at(step, steps, learning_rate, warmup))
        history.append(loss.detach())
    losses = torch.stack(history).tolist()
    return pd.DataFrame({"step": range(steps), "loss": losses})


def learning_rate_at(
    step: int, steps: int, learning_rate: float, warmup: int
) -> float:
    r"""A straight line up over the first `warmup` steps, then a cosine down.

    Half a cosine, :math:`\tfrac12 (1 + \cos \pi x)`, with `x` from 0 to 1.

    Parameters
    ----------
    step, steps : int
        Which step, from 0, of how many.
    learning_rate, warmup : float, int
        The largest rate, and the number of the step, from 1, that reaches it.

    Returns
    -------
    float
        The step's learning rate.

    Raises
    ------
    ValueError
        If `learning_rate` is not positive or `warmup` is negative.

    Examples
    --------
    >>> [round(learning_rate_at(step, 6, 1.0, 2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    _check_rates(learning_rate, warmup)
    if step < warmup:
        return learning_rate * (step + 1) / warmup
    x = (step - warmup) / (steps - warmup)
    return learning_rate * (1 + math.cos(math.pi * x)) / 2


def _bar(batches: Tensor, progress: bool) -> Iterable[Tensor]:
    return tqdm(
        batches,
        desc="training",
        unit="step",
        leave=False,
        disable=not progress,
    )


def _check_sizes(
    model: TransformerLM,
    grammar: Grammar,
    steps: int,
    batch_size: int,
    length: int,
) -> None:
    positive_integer("steps", steps)
    positive_integer("batch_size", batch_size)
    if model.vocab_size != len(grammar.words):
        raise ValueError(
            f"model must know the {len(grammar.words)} words of the grammar,"
            f" got {model.vocab_size}."
        )
    if positive_integer("length", length) > model.max_len:
        raise ValueError(
            f"length must be at most the model's max_len ({model.max_len}),"
            f" got {length}."
        )


def _check_rates(
    learning_rate: float, warmup: int, weight_decay: float = 0.0
) -> None:
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"learning_rate must be positive and finite, got {learning_rate}."
        )
    if warmup < 0:
        raise ValueError(f"warmup must be at least 0 steps, got {warmup}.")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(
            f"weight_decay must be finite and at least 0, got {weight_decay}."
        )
