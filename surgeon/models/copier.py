"""One layer of cross-attention that learns to copy."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.anatomy.masks import create_padding_mask
from surgeon.arguments import check_seed, positive_integer
from surgeon.models.adamw import AdamW
from surgeon.models.copies import PAD, draw_copies
from surgeon.models.training import learning_rate_at
from surgeon.models.transformer import cross_entropy

WARMUP = 20  # steps


class Reading(NamedTuple):
    """What a `Copier` wrote, and where it looked."""

    logits: Tensor  #: scores for each letter, [B, T, 26]
    weights: Tensor  #: from outputs to positions of the source, [B, T, S]
    #: from positions to positions, [B, S, S], if it mixes them before it
    #: reads
    mixing: Tensor | None


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
        self.room = room = positive_integer("room", room)
        d_model = positive_integer("d_model", d_model)
        self.letter = nn.Embedding(PAD + 1, d_model)
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
        """Read texts, and write some of their letters.

        Parameters
        ----------
        source, lengths : Tensor
            Letters, int64 [B, S], and how many of each text are none of the
            padding, [B].
        num_outputs : int
            Letters to write, `T`.
        mask : Tensor, optional
            [B, T, S], or what broadcasts to that: what each output may see.

        Returns
        -------
        Reading
        """
        S, T = source.shape[1], num_outputs
        # [B, T, d_model]: who writes, and how long the text is
        asks = self.output.weight[:T] + self.length(lengths)[:, None]
        # [B, S, d_model]: which letter stands where
        context = self.letter(source) + self.position.weight[:S]
        mixing = None
        if self.mixer is not None:
            real = create_padding_mask(lengths, S, device=source.device)
            context, mixing = self.mixer(context, mask=real)
            mixing = mixing[:, 0]  # of its one head
        # queries from the one, keys and values from the other
        read, weights = self.attention(asks, context, mask)
        return Reading(self.unembed(read), weights[:, 0], mixing)


def make_copier(
    room: int, *, d_model: int = 64, mixed: bool = False, seed: int = 0
) -> Copier:
    """A `Copier` whose initial weights depend on `seed` alone.

    It is made without touching PyTorch's global generator.

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
    >>> source, lengths, _, _ = copies_of(["surgeons"])
    >>> mask = create_padding_mask(lengths, 10)
    >>> reading = make_copier(room=10)(source, lengths, 5, mask)
    >>> list(reading.logits.shape), list(reading.weights.shape)
    ([1, 5, 26], [1, 5, 10])
    """
    seed = check_seed(seed)
    # modules draw from the global generator: seed it, and put it back
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
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
    """Train a copier, in place, on texts that it sees once.

    The padding is hidden from every output. The model is told the letters
    that it should have written, and never where they stood.

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
    _check_run(model, max_len, steps, batch_size, learning_rate)
    texts = draw_copies(
        steps * batch_size,
        stride=stride,
        min_len=min_len,
        max_len=max_len,
        seed=seed,
    )
    device = model.letter.weight.device
    batches = (x.to(device).unflatten(0, (steps, batch_size)) for x in texts)
    optimizer = AdamW(model.parameters())
    history = []
    for step, batch in enumerate(zip(*batches, strict=True)):
        source, lengths, truth, targets = batch
        mask = create_padding_mask(lengths, max_len, device=device)
        logits = model(source, lengths, truth.shape[1], mask).logits
        written = truth >= 0  # elsewhere there is no letter to write
        loss = cross_entropy(logits[written], targets[written])
        loss.backward()
        optimizer.step(learning_rate_at(step, steps, learning_rate, WARMUP))
        history.append(loss.detach())
    losses = torch.stack(history).tolist()
    return pd.DataFrame({"step": range(steps), "loss": losses})


def _check_run(
    model: Copier,
    max_len: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    if positive_integer("max_len", max_len) > model.room:
        raise ValueError(
            f"max_len must be at most the model's room ({model.room}), got"
            f" {max_len}."
        )
    positive_integer("steps", steps)
    positive_integer("batch_size", batch_size)
    learning_rate_at(0, steps, learning_rate, WARMUP)
