"""One layer of cross-attention that learns to copy, and how well its weights tell where it copied from."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.anatomy.masks import create_padding_mask
from surgeon.arguments import check_seed, positive_integer
from surgeon.imaging.patterns import check_weights
from surgeon.models.copies import PAD, draw_copies
from surgeon.models.training import learning_rate_at
from surgeon.models.transformer import cross_entropy


class Reading(NamedTuple):
    """What a `Copier` wrote, and where it looked."""

    logits: Tensor  #: scores for each letter, [B, T, 26]
    weights: Tensor  #: from outputs to positions of the source, [B, T, S]
    mixing: (
        Tensor | None
        #: from positions to positions, [B, S, S], if it mixes them before it
        #: reads
    )


class Copier(nn.Module):
    """One layer of cross-attention that writes letters of a source.

    An output asks with its own place and the length of the text; a position
    of the source answers with its letter and its place. Nothing else tells an
    output where to look.

    Parameters
    ----------
    room : int
        Positions of a source that it knows.
    d_model : int
        Width of all vectors.
    mixed : bool
        Whether the positions of the source attend to each other first, in a
        layer without a residual connection. What stands at a position
        afterwards is a mixture of the whole text.

    Raises
    ------
    ValueError
        If a number is not a positive integer.

    Notes
    -----
    Its initial weights come from PyTorch's global generator; `make_copier`
    leaves that untouched.
    """

    def __init__(
        self, room: int, *, d_model: int = 64, mixed: bool = False
    ) -> None:
        super().__init__()
        self.room = positive_integer("room", room)
        self.letter = nn.Embedding(
            PAD + 1, positive_integer("d_model", d_model)
        )
        self.position = nn.Embedding(room, d_model)
        self.output = nn.Embedding(room, d_model)
        self.length = nn.Embedding(room + 1, d_model)
        self.mixer = MultiHeadAttention(d_model, 1) if mixed else None
        self.attention = MultiHeadAttention(d_model, 1)
        self.unembed = nn.Linear(d_model, PAD)
        for table in (self.letter, self.position, self.output, self.length):
            nn.init.normal_(table.weight, std=0.5)

    def forward(
        self,
        source: Tensor,
        lengths: Tensor,
        num_outputs: int,
        mask: Tensor | None = None,
    ) -> Reading:
        """Read sources [B, S] of these lengths [B] and write `num_outputs` letters; the mask is one of [B, T, S]."""
        asks = (
            self.output.weight[:num_outputs] + self.length(lengths)[:, None]
        )  # [B, T, d_model]
        context = (
            self.letter(source) + self.position.weight[: source.shape[1]]
        )  # [B, S, d_model]
        mixing = None
        if self.mixer is not None:
            real = create_padding_mask(lengths, source.shape[1])
            context, mixing = self.mixer(context, mask=real)
        # queries from the one, keys and values from the other
        read, weights = self.attention(asks, context, mask)
        return Reading(
            self.unembed(read),
            weights[:, 0],
            None if mixing is None else mixing[:, 0],
        )


def make_copier(
    room: int, *, d_model: int = 64, mixed: bool = False, seed: int = 0
) -> Copier:
    """A `Copier` whose initial weights depend on `seed` alone, made without touching PyTorch's global generator.

    Parameters
    ----------
    room, d_model, mixed
        As `Copier` takes them.
    seed : int
        The same seed and sizes give the same weights.

    Returns
    -------
    Copier

    Raises
    ------
    ValueError
        As `Copier`, or if `seed` is not an integer from 0 to 2**32 - 1.

    Examples
    --------
    >>> from surgeon.models.copies import copies_of
    >>> copies = copies_of(["surgeons"])
    >>> reading = make_copier(room=10)(copies.source, copies.lengths, 5, create_padding_mask(copies.lengths, 10))
    >>> list(reading.logits.shape), list(reading.weights.shape)
    ([1, 5, 26], [1, 5, 10])
    """
    with torch.random.fork_rng(
        devices=[]
    ):  # modules draw from the global generator: seed it, and put it back
        torch.default_generator.manual_seed(check_seed(seed))
        return Copier(room, d_model=d_model, mixed=mixed)


def train_copier(
    model: Copier,
    *,
    stride: int = 2,
    min_len: int = 5,
    max_len: int = 10,
    steps: int = 300,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    seed: int | torch.Generator = 0,
) -> pd.DataFrame:
    """Train a copier, in place, on texts that it sees once, with the padding hidden from every output.

    It is told the letters that it should have written, and never where they
    stood.

    Parameters
    ----------
    model : Copier
        What is trained.
    stride, min_len, max_len, seed
        As `draw_copies` takes them.
    steps, batch_size : int
        Steps; texts a step.
    learning_rate : float
        AdamW's, at its peak (see `surgeon.models.training.learning_rate_at`).

    Returns
    -------
    pandas.DataFrame
        One row a step: `step` from 0, and `loss`, in nats a letter, on texts
        not seen before.

    Raises
    ------
    ValueError
        If a number is out of its range, or the model has not the room.

    Notes
    -----
    Source: loshchilov2019 (AdamW) (book/references.bib).

    Examples
    --------
    >>> history = train_copier(make_copier(room=7), max_len=7, steps=100)
    >>> bool(history.loss.iloc[-1] < history.loss.iloc[0])
    True
    """
    if positive_integer("max_len", max_len) > model.room:
        raise ValueError(
            f"max_len must be at most the model's room ({model.room}), got"
            f" {max_len}."
        )
    learning_rate_at(
        0, positive_integer("steps", steps), learning_rate, 20
    )  # complains now, before texts are drawn
    count = steps * positive_integer("batch_size", batch_size)
    texts = draw_copies(
        count, stride=stride, min_len=min_len, max_len=max_len, seed=seed
    )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    history = []
    for step, batch in enumerate(
        zip(*(x.split(batch_size) for x in texts), strict=True)
    ):
        source, lengths, truth, targets = batch
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, steps, learning_rate, 20)
        mask = create_padding_mask(lengths, source.shape[1])
        logits = model(source, lengths, truth.shape[1], mask).logits
        loss = cross_entropy(logits[truth >= 0], targets[truth >= 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.detach())
    return pd.DataFrame(
        {"step": range(steps), "loss": torch.stack(history).tolist()}
    )


def score_alignment(
    attention_weights: Tensor, truth: Tensor
) -> dict[str, float]:
    r"""Weights against an alignment that is known: with :math:`\pi` the truth, means over all outputs with one.

    .. math:: \text{on\_truth} = \overline{a_{t\,\pi(t)}}, \qquad
              \text{argmax\_right} = \overline{[\operatorname{argmax}_j a_{tj}
              = \pi(t)]}

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, S], rows that sum to one or to zero.
    truth : Tensor
        Integers [..., T], each a key from 0 to S - 1, or negative where there
        is none to find.

    Returns
    -------
    dict
        `on_truth` and `argmax_right`, both from 0 to 1. An even row has 1 /
        (visible keys) for the first.

    Raises
    ------
    ValueError
        If the weights are none, if shapes disagree, if a truth is no key, or
        if no output has one.

    Notes
    -----
    A row of zeros has its largest weight nowhere, and is wrong.

    Examples
    --------
    >>> score_alignment(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]]), torch.tensor([1, 2]))
    {'on_truth': 0.625, 'argmax_right': 0.5}
    """
    weights = check_weights(attention_weights).detach()
    expected = list(weights.shape[:-1])
    if list(truth.shape) != expected:
        raise ValueError(
            "truth must have the shape of the weights but for the last axis,"
            f" {expected}, got {list(truth.shape)}."
        )
    if truth.is_floating_point() or (truth >= weights.shape[-1]).any():
        raise ValueError(
            "truth must be integers below the number of keys"
            f" ({weights.shape[-1]}), got {truth.max().item()}."
        )
    known = truth >= 0
    if not known.any():
        raise ValueError(
            "truth must name a key for at least one output, got none."
        )
    rows, keys = weights[known], truth[known]  # [outputs, S], [outputs]
    largest = rows.max(-1)
    right = (largest.indices == keys) & (largest.values > 0)
    on_truth = rows.gather(-1, keys[:, None])
    return {
        "on_truth": float(on_truth.double().mean()),
        "argmax_right": float(right.double().mean()),
    }
