"""A task whose alignment is known: copy a text's letters in another order."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.arguments import generator_from, positive_integer

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
PAD = len(ALPHABET)  # the token that fills a text up


class Copies(NamedTuple):
    """Texts, and what is to be written of each."""

    source: Tensor  #: letters, int64 [B, S]; PAD beyond a text's end
    lengths: Tensor  #: letters of each text, [B]
    #: the position that each output comes from, [B, T]; -1 where nothing is
    #: to be written
    truth: Tensor
    #: the letter that stands there, [B, T]; PAD where nothing is to be
    #: written
    targets: Tensor


def copies_of(
    texts: Sequence[str],
    *,
    stride: int = 2,
    max_len: int = 10,
    room: int | None = None,
) -> Copies:
    r"""Texts to be read backwards, every `stride`-th letter.

    Output `t` is the letter at

    .. math:: \pi(t) = L - 1 - t \cdot \text{stride}

    of a text of `L` letters, as long as that is not negative.

    Parameters
    ----------
    texts : sequence of str
        `B` texts of small letters, each of 1 to `max_len`.
    stride : int
        Positions from one output's letter to the next one's.
    max_len : int
        Letters of the longest text that there may be; it sets the number of
        outputs `T`, `max_len` / `stride` rounded up.
    room : int, optional
        Positions `S` that each text is filled up to, at least `max_len`,
        which it is if not given.

    Returns
    -------
    Copies

    Raises
    ------
    ValueError
        If there is no text, if one is empty, too long or not made of small
        letters, or if a number is out of its range.

    Examples
    --------
    >>> copies = copies_of(["wire", "cut"], max_len=4)
    >>> copies.truth.tolist()
    [[3, 1], [2, 0]]
    >>> ["".join(ALPHABET[i] for i in row) for row in copies.targets]
    ['ei', 'tc']
    """
    stride, max_len, room = _sizes(stride, max_len, room)
    _check_texts(texts, max_len)
    letters = [
        [ALPHABET.index(letter) for letter in text.ljust(room, "a")]
        for text in texts
    ]
    lengths = [len(text) for text in texts]
    return _copies(
        torch.tensor(letters, device="cpu"),
        torch.tensor(lengths, device="cpu"),
        stride,
        max_len,
    )


def draw_copies(
    count: int,
    *,
    stride: int = 2,
    min_len: int = 5,
    max_len: int = 10,
    room: int | None = None,
    seed: int | torch.Generator = 0,
) -> Copies:
    """Random texts for `copies_of`.

    Every length is as likely as any other, and in each place every letter.

    Parameters
    ----------
    count : int
        Texts `B`.
    stride, max_len, room
        As `copies_of` takes them.
    min_len : int
        Letters of the shortest text.
    seed : int or torch.Generator
        Where the randomness comes from.

    Returns
    -------
    Copies
        On the generator's device, which is the CPU for a seed.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> [list(x.shape) for x in draw_copies(7)]
    [[7, 10], [7], [7, 5], [7, 5]]
    """
    count = positive_integer("count", count)
    stride, max_len, room = _sizes(stride, max_len, room)
    min_len = positive_integer("min_len", min_len)
    if min_len > max_len:
        raise ValueError(
            f"min_len must be at most max_len ({max_len}), got {min_len}."
        )
    generator = generator_from(seed)

    def draw(low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(
            low, high, shape, generator=generator, device=generator.device
        )

    lengths = draw(min_len, max_len + 1, (count,))
    letters = draw(0, PAD, (count, room))
    return _copies(letters, lengths, stride, max_len)


def _copies(
    letters: Tensor, lengths: Tensor, stride: int, max_len: int
) -> Copies:
    """Letters [B, S] of which the first `lengths` count."""
    places = torch.arange(letters.shape[1], device=letters.device)
    source = letters.masked_fill(places >= lengths[:, None], PAD)
    # T: max_len / stride, rounded up
    outputs = torch.arange(-(-max_len // stride), device=letters.device)
    truth = (lengths[:, None] - 1 - stride * outputs).clamp(min=-1)  # [B, T]
    targets = source.gather(1, truth.clamp(min=0)).masked_fill(truth < 0, PAD)
    return Copies(source, lengths, truth, targets)


def _sizes(
    stride: int, max_len: int, room: int | None
) -> tuple[int, int, int]:
    """The three of them as integers; the room is `max_len` if not given."""
    stride = positive_integer("stride", stride)
    max_len = positive_integer("max_len", max_len)
    room = max_len if room is None else positive_integer("room", room)
    if room < max_len:
        raise ValueError(
            f"room must be at least max_len ({max_len}), got {room}."
        )
    return stride, max_len, room


def _check_texts(texts: Sequence[str], max_len: int) -> None:
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError(
            f"texts must be a sequence of at least one text, got {texts!r}."
        )
    for text in texts:
        if not 1 <= len(text) <= max_len or set(text) - set(ALPHABET):
            raise ValueError(
                f"texts must have from 1 to {max_len} letters from a to z,"
                f" got {text!r}."
            )
