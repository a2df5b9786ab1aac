"""What a number given from outside must be, each said in one sentence."""

import math
import operator
from numbers import Real
from typing import Any

import numpy as np
import torch


def whole_number(value: Any) -> int | None:
    """The integer that a value stands for, NumPy's and PyTorch's included.

    None for everything else: for a float, even a round one, and for a
    boolean, which counts as an integer only in Python.
    """
    if isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def positive_integer(name: str, value: int) -> int:
    """The value, if it is an integer of at least 1; or a ValueError."""
    number = whole_number(value)
    if number is None or number < 1:
        raise ValueError(
            f"{name} must be an integer of at least 1, got {value!r}."
        )
    return number


def natural_number(name: str, value: int) -> int:
    """The value, if it is an integer of at least 0; or a ValueError."""
    number = whole_number(value)
    if number is None or number < 0:
        raise ValueError(
            f"{name} must be an integer of at least 0, got {value!r}."
        )
    return number


def place(name: str, value: int, count: int) -> int:
    """The value, if it is one of `count` places from 0; or a ValueError."""
    number = whole_number(value)
    if number is None or not 0 <= number < count:
        raise ValueError(
            f"{name} must be an integer from 0 to {count - 1}, got {value!r}."
        )
    return number


def divisor(name: str, value: int, of: str, whole: int) -> int:
    """The value, if it is a positive integer that divides `whole`.

    Otherwise a ValueError, in which `of` is what `whole` is called.
    """
    number = whole_number(value)
    if number is None or number < 1 or whole % number:
        raise ValueError(
            f"{name} must be a positive integer that divides {of} ({whole}),"
            f" got {value!r}."
        )
    return number


def positive_number(name: str, value: float) -> float:
    """The value, if it is a number above 0 and finite; or a ValueError."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ValueError(
            f"{name} must be a positive, finite number, got {value!r}."
        )
    return float(value)


def probability(name: str, value: float) -> float:
    """The value, if it lies in [0, 1); otherwise a ValueError.

    1 is refused, since nothing is left without a certainty.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not 0 <= value < 1
    ):
        raise ValueError(
            f"{name} must be a probability in [0, 1), got {value!r}."
        )
    return float(value)


def truth(name: str, value: bool) -> bool:
    """The value, if it is True or False; otherwise a ValueError.

    A number or None is refused, since somebody who writes `scale=0.125` or
    `scale=None` wants something else than True or False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return bool(value)


def check_seed(seed: int) -> int:
    """The seed, if it is an integer from 0 to 2**32 - 1; or a ValueError.

    Of a larger one PyTorch's generator reads the low 32 bits.
    """
    number = whole_number(seed)
    if number is None or not 0 <= number < 2**32:
        raise ValueError(
            f"seed must be an integer from 0 to 2**32 - 1, got {seed!r}."
        )
    return number


def generator_from(seed: int | torch.Generator) -> torch.Generator:
    """A generator of its own for a seed; a generator as it is."""
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator().manual_seed(check_seed(seed))
