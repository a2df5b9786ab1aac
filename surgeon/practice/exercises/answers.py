"""An answer as a reader writes it, read as what an exercise takes."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

Function = Callable[..., Any]


class Unreadable(Exception):
    """An answer of another kind than asked for: what came, in a few words."""


def read_number(answer: Any) -> float:
    """One number, whatever holds it.

    Parameters
    ----------
    answer : number, string, array or tensor
        Python's numbers, fractions, NumPy's and PyTorch's with one entry, and
        texts such as "1/3", "3%" and "2e-4".

    Returns
    -------
    float
        Its value.

    Raises
    ------
    Unreadable
        If it is no real number, or more than one.

    Examples
    --------
    >>> read_number("1/4"), read_number(torch.tensor([0.25]))
    (0.25, 0.25)
    """
    (number,) = read_numbers(answer, 1)
    return number


def read_numbers(answer: Any, *counts: int) -> list[float]:
    """So many numbers, in any nesting, in one row.

    Parameters
    ----------
    answer : Any
        Numbers as `read_number` takes them, in lists, arrays or tensors, or
        in one text with commas between.
    *counts : int
        How many there may be.

    Returns
    -------
    list of float
        In their order.

    Raises
    ------
    Unreadable
        If something in it is no real number, or there are more or fewer.

    Examples
    --------
    >>> read_numbers([("1/2", 3), torch.tensor(0.25)], 3)
    [0.5, 3.0, 0.25]
    """
    found = list(_flat(answer))
    if len(found) not in counts:
        many = "one number" if len(found) == 1 else f"{len(found)} numbers"
        raise Unreadable(many)
    return found


def _flat(answer: Any) -> Iterable[float]:
    if isinstance(answer, str):
        parts = answer.replace(";", ",").split(",")
        yield from (_text(part) for part in parts)
    elif hasattr(answer, "__array__"):
        held = answer
        if isinstance(answer, Tensor):  # bfloat16 is unknown to NumPy
            held = answer.detach().cpu()
            held = held.double() if held.is_floating_point() else held
        values = np.asarray(held)
        if values.dtype.kind not in "iuf":
            raise Unreadable(f"a {type(answer).__name__} without numbers")
        yield from (float(value) for value in values.ravel())
    elif isinstance(answer, list | tuple):
        for part in answer:
            yield from _flat(part)
    elif isinstance(answer, bool | type) or not hasattr(answer, "__float__"):
        raise Unreadable(_kind(answer))
    else:
        yield float(answer)


def _text(text: str) -> float:
    """The number that a text writes."""
    plain = text.strip().replace("−", "-")
    share = plain.endswith("%")
    try:
        number = float(Fraction(plain.rstrip("% ")))
    except (ValueError, ZeroDivisionError):
        try:
            number = float(plain)  # the infinities
        except ValueError:
            raise Unreadable(f"the text {text!r}") from None
    return number / 100 if share else number


def read_sizes(answer: Any, *counts: int) -> list[int]:
    """So many positive integers; otherwise `Unreadable`."""
    numbers = read_numbers(answer, *counts)
    if not all(n >= 1 and math.isfinite(n) and n == int(n) for n in numbers):
        raise Unreadable("numbers that are no sizes")
    return [int(number) for number in numbers]


def read_function(answer: Any) -> Function:
    """Something to call; otherwise `Unreadable`."""
    if not callable(answer) or isinstance(answer, type):
        raise Unreadable(_kind(answer))
    return answer


def read_tensor(answer: Any, *axes: int) -> Tensor:
    """A tensor in float64 with so many axes, from lists and arrays as well.

    Otherwise it raises `Unreadable`.
    """
    try:
        found = torch.as_tensor(answer).detach()
    except (TypeError, ValueError, RuntimeError):
        raise Unreadable(_kind(answer)) from None
    if found.is_complex():
        raise Unreadable("complex numbers")
    tensor = found.to(torch.float64)
    if tensor.ndim not in axes:
        raise Unreadable(f"a tensor with {tensor.ndim} axes")
    return tensor


def _kind(answer: Any) -> str:
    """What an answer is, in words."""
    if answer is None or isinstance(answer, bool):
        return repr(answer)
    if callable(answer):
        return "a function"
    return f"a {type(answer).__name__}"
