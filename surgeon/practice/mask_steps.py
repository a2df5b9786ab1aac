"""The masks that one makes: causal, reverse, padding."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.masks import (
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
)
from surgeon.practice.hiding_step import LOWEST
from surgeon.practice.step import (
    Function,
    Misfit,
    Mistake,
    Question,
    Step,
    as_it_is,
)

PAGE = "anatomy/masking"


def readable(value: Any, question: Question) -> Tensor:
    """A mask whose convention can be read, with -inf for the lowest."""
    mask: Tensor = as_it_is(value, question)
    if not mask.is_floating_point():
        return mask
    if mask.isnan().any():
        raise Misfit(mistake="zero times infinity")
    if (mask == math.inf).any():
        raise Misfit(mistake="plus infinity")
    mask = mask.masked_fill(mask < LOWEST, -math.inf)
    finite = mask[mask.isfinite()]
    if finite.numel() and finite.min() < 0:
        raise Misfit(mistake="a finite number")
    return mask


def read_square(value: Any, question: Question) -> Tensor:
    """Who may look at whom, as booleans [T, T], in any convention."""
    mask, (T, *_) = readable(value, question), question.args
    while mask.ndim > 2 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.shape != (T, T):
        raise Misfit(
            f"It gives the shape {list(mask.shape)}, not [{T}, {T}]."
        )
    return visible(mask, (T, T))


def read_padding(value: Any, question: Question) -> Tensor:
    """Which key of which text is real, as booleans [B, S]."""
    mask, (lengths, S) = readable(value, question), question.args
    B = len(lengths)
    if mask.shape == (B, S):
        mask = mask[:, None]
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.shape == (B, S, 1):
        raise Misfit(mistake="on the queries")
    if mask.ndim != 3 or mask.shape[::2] != (B, S):
        raise Misfit(
            f"It gives the shape {list(value.shape)}, where [{B}, 1, {S}] is"
            " wanted."
        )
    seen = visible(mask, mask.shape)
    if (seen != seen[:, :1]).any():
        alike = (seen == seen[..., :1]).all()
        raise Misfit(mistake="on the queries" if alike else "on both axes")
    return seen[:, 0]


def in_one_convention(yours: Function) -> Function:
    """A try, asked for its ones and zeros as booleans, at every length.

    For one token alone, [[0.0]] could be a mask to add, which hides nothing.
    """
    try:
        long = as_it_is(yours(7), Question((7,)))
    except Exception:  # told when it is asked
        return yours
    if not long.is_floating_point() or not (long == 1).any():
        return yours

    def asked(seq_len: int) -> Any:
        mask = as_it_is(yours(seq_len), Question((seq_len,)))
        return mask != 0 if ((mask == 0) | (mask == 1)).all() else mask

    return asked


def ask_sizes(generator: torch.Generator) -> list[Question]:
    return [Question((T,)) for T in (3, 5, 1, 7)]


def triangle(low: int | None = None, high: int | None = None) -> Function:
    """A mask that shows the diagonals from `low` to `high`."""

    def mask(seq_len: int) -> Tensor:
        ones = torch.ones(seq_len, seq_len, dtype=torch.bool)
        ones = ones if low is None else ones.triu(low)
        return ones if high is None else ones.tril(high)

    return mask


IN_ANY_MASK = {
    "hides nothing": Mistake(
        "Everybody sees everybody.",
        "Which number is -∞, and where does it stand?",
        "ablations/no-mask",
        triangle(),
    ),
    "zero times infinity": Mistake(
        "The mask holds NaN: 0 was multiplied by infinity.",
        "What is 0 · ∞? Choose between two numbers, do not multiply.",
        "checks/minus-infinity",
    ),
    "a finite number": Mistake(
        "What it hides is a finite number, which outbids any lower score.",
        "Is there a number that no score falls below?",
        "checks/minus-infinity",
    ),
    "plus infinity": Mistake(
        "The mask holds plus infinity, which takes everything.",
        "Which score has the share 0?",
        "checks/minus-infinity",
    ),
}

TO_GIVE = (
    "gives [seq_len, seq_len]: 0 where a query may look and -∞ elsewhere, or"
    " True and False"
)


def square(
    name: str, holds: str, right: Function, mistakes: Mapping[str, Mistake]
) -> Step:
    return Step(
        name,
        TO_GIVE,
        holds,
        PAGE,
        lambda seq_len: right(seq_len),
        ask_sizes,
        {**mistakes, **IN_ANY_MASK},
        [(right, None)],
        read=read_square,
        adapt=in_one_convention,
        floats=False,
    )


CAUSAL = square(
    "create_causal_mask",
    "A token sees itself and what came before it.",
    create_causal_mask,
    {
        "strict": Mistake(
            "The diagonal is hidden as well: no token sees itself, and the"
            " first sees nobody.",
            "What may the first word look at?",
            PAGE,
            triangle(high=-1),
        ),
        "sees the next": Mistake(
            "It is one diagonal too wide: each token sees the next one, which"
            " it is to predict.",
            "At which diagonal does the future begin?",
            PAGE,
            triangle(high=1),
        ),
        "transposed": Mistake(
            "The past is hidden, and the future seen.",
            "Rows are queries. Which side of the diagonal is the future?",
            "ablations/wrong-mask",
            triangle(low=0),
        ),
        "inverted": Mistake(
            "What it shows should be hidden, and what it hides be shown; or"
            " True stands for what is blocked.",
            "Read the first row aloud: who may look at whom?",
            PAGE,
            triangle(low=1),
        ),
        "itself alone": Mistake(
            "Each token sees itself and nobody else.",
            "What came before it?",
            PAGE,
            triangle(0, 0),
        ),
    },
)

REVERSE = square(
    "create_reverse_mask",
    "A token sees itself and what comes after it: wrong as it is meant to"
    " be.",
    create_reverse_mask,
    {
        "causal": Mistake(
            "This is the causal mask, the one that does not cheat.",
            "Rows are queries. Which side of the diagonal is the future?",
            "ablations/wrong-mask",
            triangle(high=0),
        ),
        "strict": Mistake(
            "The diagonal is hidden as well: the last token sees nobody.",
            "What may the last word look at?",
            PAGE,
            triangle(low=1),
        ),
        "inverted": Mistake(
            "What it shows should be hidden, and what it hides be shown; or"
            " True stands for what is blocked.",
            "Read the last row aloud: who may look at whom?",
            PAGE,
            triangle(high=-1),
        ),
        "sees the last": Mistake(
            "It is one diagonal too wide: each token sees the one before it,"
            " too.",
            "At which diagonal does the past begin?",
            PAGE,
            triangle(low=-1),
        ),
    },
)


# Padding


def ask_lengths(generator: torch.Generator) -> list[Question]:
    return [
        Question(([2, 3], 4)),
        Question(([2, 5, 3], 5)),
        Question(([1, 3, 7, 2], 7)),
    ]


def in_either_form(yours: Function) -> Function:
    """A try, asked with a list, and where that fails, with a tensor."""

    def asked(lengths: list[int], seq_len: int) -> Any:
        try:
            return yours(list(lengths), seq_len)
        except (TypeError, AttributeError):
            return yours(torch.tensor(lengths), seq_len)

    return asked


def shown(first: int, last: int) -> Function:
    """Keys from `first` to as many as are real, `last` more."""

    def mask(lengths: list[int], seq_len: int) -> Tensor:
        place = torch.arange(seq_len)
        real = torch.tensor(lengths)[:, None]
        return (place >= first) & (place < real + last)

    return mask


PADDING = Step(
    "create_padding_mask",
    "gives [B, 1, seq_len]: True where a key is real",
    "Padding is hidden from every query of its own text, and nothing else.",
    PAGE,
    create_padding_mask,
    ask_lengths,
    {
        "inverted": Mistake(
            "The padding is shown and the words are hidden; or True stands"
            " for padding, as in PyTorch's key_padding_mask.",
            "In this book, may a query look where a mask is True?",
            PAGE,
            lambda lengths, S: ~shown(0, 0)(lengths, S),
        ),
        "one too many": Mistake(
            "One key of the padding is seen.",
            "Places are counted from 0. Which is the last real one?",
            PAGE,
            shown(0, 1),
        ),
        "one too few": Mistake(
            "The last word of each text is hidden.",
            "Places are counted from 0. Which is the last real one?",
            PAGE,
            shown(0, -1),
        ),
        "first word hidden": Mistake(
            "The first word of each text is hidden, and one key of the"
            " padding seen.",
            "Places are counted from 0, not from 1.",
            PAGE,
            shown(1, 1),
        ),
        "padding first": Mistake(
            "The words are looked for at the end, and padding at the"
            " beginning.",
            "On which side was the text filled up?",
            PAGE,
            lambda lengths, S: (
                torch.arange(S) >= S - torch.tensor(lengths)[:, None]
            ),
        ),
        "on the queries": Mistake(
            "The mask lies across the queries: padding asks nobody, and"
            " everybody sees the padding.",
            "Which of the last two axes are the keys?",
            "ablations/zoo/padding",
        ),
        "on both axes": Mistake(
            "Queries of the padding are emptied as well, and a row with"
            " nothing to look at is the next trouble.",
            "Whose output is thrown away anyhow?",
            "ablations/zoo/padding",
        ),
        **IN_ANY_MASK,
        "hides nothing": replace(
            IN_ANY_MASK["hides nothing"],
            instead=lambda lengths, S: torch.ones(
                len(lengths), S, dtype=torch.bool
            ),
        ),
    },
    [(create_padding_mask, None)],
    read=read_padding,
    floats=False,
    adapt=in_either_form,
)
