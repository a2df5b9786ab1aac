"""Several texts packed in a row, each of which sees itself alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import Device
from surgeon.anatomy.mask_rules import all_of, documents, mask_of
from surgeon.anatomy.mask_rules import causal as past
from surgeon.anatomy.masks import as_counts
from surgeon.arguments import positive_integer, truth

#: the number of tokens that belong to no text
PADDING = -1


def create_document_mask(
    numbers: Sequence[int] | Tensor | None = None,
    *,
    lengths: Sequence[int] | Sequence[Sequence[int]] | Tensor | None = None,
    seq_len: int | None = None,
    causal: bool = False,
    kind: str = "boolean",
    device: Device = "cpu",
) -> Tensor:
    r"""The mask that keeps the texts of a packed row apart.

    Query `i` may look at key `j` if both are of one text, and with `causal`
    if also `j` :math:`\le` `i`.

    Parameters
    ----------
    numbers : sequence of int or Tensor, optional
        The text that each token belongs to, [T], or [B, T] for rows that are
        packed differently. Equal numbers are one text, wherever they stand.
    lengths : sequence of int, optional
        In its place: how many tokens each text has, one after the other; for
        a batch, one such sequence a row. See `number_documents`.
    seq_len : int, optional
        With `lengths`: tokens `T` that each row was filled up to.
    causal : bool
        Whether the future is hidden as well.
    kind : str
        The convention, as `surgeon.mask_of` takes it: "boolean", "integer",
        "zero-one", "additive" or "blocked".
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        [T, T], or [B, T, T] for a batch; with heads, add ``[:, None]``. No
        row is empty: padding sees padding.

    Raises
    ------
    ValueError
        If both or none of `numbers` and `lengths` are given, if there is a
        `seq_len` without `lengths`, if the numbers are no integers [T] or
        [B, T], if `causal` is no boolean, or as `number_documents` and
        `surgeon.mask_of`.

    Notes
    -----
    In tiles, of which the empty ones are skipped, it is a rule:
    ``flash_attention(Q, K, V, rule=documents(numbers), causal=True)``, with
    `surgeon.anatomy.mask_rules.documents`.

    Examples
    --------
    >>> create_document_mask([0, 0, 1], causal=True)
    tensor([[ True, False, False],
            [ True,  True, False],
            [False, False,  True]])

    A token's place in its own text is how many it sees before itself:

    >>> create_document_mask(lengths=[3, 2], causal=True).sum(-1) - 1
    tensor([0, 1, 2, 0, 1])
    """
    if (numbers is None) == (lengths is None):
        got = "none" if numbers is None else "both"
        raise ValueError(
            f"one of numbers and lengths must be given, got {got}."
        )
    if lengths is not None:
        numbers = number_documents(lengths, seq_len)
    elif seq_len is not None:
        raise ValueError(
            "seq_len must come with lengths, whose rows it fills up, got it"
            " with numbers."
        )
    numbers = as_numbers(numbers).to(device)
    same_text, causal = documents(numbers), truth("causal", causal)
    T = positive_integer("seq_len", numbers.shape[-1])

    # 1. A query sees the keys of its own text, and of those the past.
    rule = all_of(past, same_text) if causal else same_text
    # 2. The rule, asked for every pair of tokens.
    shape = (*numbers.shape[:-1], T, T)
    return mask_of(rule, shape, kind=kind, device=device)


def number_documents(
    lengths: Sequence[int] | Sequence[Sequence[int]] | Tensor,
    seq_len: int | None = None,
    *,
    device: Device = "cpu",
) -> Tensor:
    """Which text each token of a packed row belongs to.

    Parameters
    ----------
    lengths : sequence of int
        Tokens in each text of the row, each at least 0, in their order; for a
        batch, one such sequence a row.
    seq_len : int, optional
        Tokens `T` that each row was filled up to. The longest row's, if not
        given.
    device : str or torch.device
        Where the numbers are made.

    Returns
    -------
    Tensor
        int64 [T], or [B, T] for a batch: 0 for the tokens of the first text,
        1 for those of the second, and so on; -1 for padding at the end.

    Raises
    ------
    ValueError
        If `seq_len` is not a positive integer, if a length is no integer of
        at least 0, or if the texts of a row have more tokens than it.

    Examples
    --------
    >>> number_documents([2, 3], seq_len=6)
    tensor([ 0,  0,  1,  1,  1, -1])
    >>> number_documents([[2, 1], [3]])
    tensor([[0, 0, 1],
            [0, 0, 0]])
    """
    rows = rows_of(lengths)
    counts = [as_counts(row).cpu() for row in rows or [lengths]]
    if any((row < 0).any() for row in counts):
        raise ValueError(
            "lengths must be at least 0, got"
            f" {[row.tolist() for row in counts]}."
        )
    totals = [int(row.sum()) for row in counts]
    T = positive_integer(
        "seq_len", max(totals) if seq_len is None else seq_len
    )
    if max(totals) > T:
        raise ValueError(
            f"lengths must add up to at most seq_len ({T}) in a row, got"
            f" {max(totals)}."
        )
    numbers = torch.full((len(counts), T), PADDING, device=device)
    for row, count, total in zip(numbers, counts, totals, strict=True):
        texts = torch.arange(len(count), device="cpu")
        row[:total] = texts.repeat_interleave(count).to(device)
    return numbers if rows else numbers[0]


def rows_of(lengths: Sequence[Any] | Tensor) -> list[Any]:
    """The rows of a batch, or none if these are the lengths of one row."""
    if isinstance(lengths, Tensor):
        return list(lengths) if lengths.ndim > 1 else []
    several = isinstance(lengths, Sequence) and len(lengths) > 0
    if several and all(isinstance(row, Sequence | Tensor) for row in lengths):
        return list(lengths)
    return []


def as_numbers(numbers: Sequence[int] | Tensor | None) -> Tensor:
    """The numbers as a tensor; `documents` looks at their kind."""
    if isinstance(numbers, Tensor):
        return numbers
    try:
        return torch.as_tensor(numbers, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"numbers must be integers [T] or [B, T], got {numbers!r}."
        ) from None
