"""A task in which most rows have nothing to look for: echoes of letters."""

from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.arguments import generator_from, positive_integer

LETTERS = 19
MARK, START = LETTERS, LETTERS + 1  # two more tokens
MARKED = 0.15  # how often a letter is followed by the mark


class Echoes(NamedTuple):
    """Texts in which a mark repeats the letter before it."""

    words: Tensor  #: int64 [B, 1 + T]
    #: what each word but the first costs whoever knows how texts are made,
    #: nats, float64 [B, T]
    least: Tensor


def draw_echoes(
    count: int,
    length: int,
    seed: int | torch.Generator,
    *,
    start: bool = True,
) -> Echoes:
    """Letters that hang on the last one, and marks.

    A letter follows a letter with a probability that the last one decides,
    and a mark with 0.15. After a mark comes the letter before it once more:
    only there does it help to look back. Which letter likes which is the
    same in all texts.

    Parameters
    ----------
    count, length : int
        Texts `B`; words `T` to predict in each.
    seed : int or torch.Generator
        Where the randomness comes from.
    start : bool
        Whether each text begins with a token that says nothing; otherwise
        with a letter.

    Returns
    -------
    Echoes

    Raises
    ------
    ValueError
        If a number is not positive, or `seed` no seed.

    Notes
    -----
    Source: guo2024 (book/references.bib), whose task it is, but for small
    things.

    Examples
    --------
    >>> words = draw_echoes(1, 12, seed=3).words[0].tolist()
    >>> "".join([*map(chr, range(97, 116)), "!", "."][w] for w in words)
    '.ri!i!iq!qohl'
    """
    count = positive_integer("count", count)
    length = positive_integer("length", length)
    draw = generator_from(seed)
    chances = following()
    words = torch.empty(count, 1 + length, dtype=torch.int64, device="cpu")
    least = torch.zeros(count, length, dtype=torch.float64, device="cpu")
    first = torch.randint(LETTERS, (count,), generator=draw, device="cpu")
    words[:, 0] = START if start else first
    for t in range(length):
        last, before = words[:, t], words[:, max(t - 1, 0)]
        # of a mark the row is that of the letter before it, and not used
        row = chances[torch.where(last == MARK, before, last)]
        word = torch.multinomial(row, 1, generator=draw)
        cost = -row.gather(1, word)[:, 0].log()
        marked = last == MARK
        words[:, t + 1] = torch.where(marked, before, word[:, 0])
        least[:, t] = cost.masked_fill(marked, 0.0)
    return Echoes(words, least)


def following() -> Tensor:
    """What may follow each letter, and the start token; rows sum to one.

    [LETTERS + 2, LETTERS + 2], float64; the row of the mark is not used.
    """
    draw = torch.Generator().manual_seed(1000)
    liked = torch.rand(LETTERS, LETTERS, generator=draw, device="cpu")
    liked = liked.double() ** 4 + 1e-3
    rows = torch.zeros(LETTERS + 2, LETTERS + 2, dtype=torch.float64)
    rows[:LETTERS, :LETTERS] = liked / liked.sum(-1, keepdim=True)
    rows[:LETTERS] *= 1 - MARKED
    rows[:LETTERS, MARK] = MARKED
    rows[[MARK, START], :LETTERS] = 1 / LETTERS
    return rows
