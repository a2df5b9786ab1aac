"""How an answer is judged: by numbers, or by what a function gives."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from surgeon.practice.exercises.answers import (
    Function,
    Unreadable,
    read_function,
    read_number,
    read_numbers,
)
from surgeon.practice.verdict import Judged

Slip = TypeVar("Slip")
Slips = Sequence[
    tuple[Slip, str]
]  # what somebody answers, what it looks like

FORMULA = 0.005  # relative: somebody wrote 1.41 for the root of 2


class Raised(Exception):
    """A reader's function raised: the sentence that says so."""


def is_near(given: float, true: float, digits: int = 2) -> bool:
    """Whether a number is the true one, rounded to so many digits or better.

    Digits are counted from the first that is not 0; near 0 itself, that of
    the units.

    Examples
    --------
    >>> is_near(0.45, 0.4527), is_near(0.46, 0.4527)
    (True, False)
    """
    if math.isinf(true):
        return given == true
    size = math.floor(math.log10(abs(true))) if true else 0
    return abs(given - true) <= 0.5000001 * 10.0 ** (size + 1 - digits)


def judge_number(
    answer: Any,
    true: float,
    *,
    right: str,
    hint: str,
    slips: Slips[float] = (),
    digits: int = 2,
) -> Judged:
    """Judge one number.

    Parameters
    ----------
    answer : Any
        What `read_number` reads.
    true : float
        The number.
    right : str
        Why it is right.
    hint : str
        What to think about.
    slips : sequence of (number, str)
        Numbers that somebody may well answer, and what each looks like.
    digits : int
        How many digits of `true` a reader gives.

    Returns
    -------
    Judged
        Right, or what it looks like, with the hint.
    """
    given = read_number(answer)
    if is_near(given, true, digits):
        return Judged(True, right)
    likely = [slip for slip in slips if is_near(given, slip[0], digits)]
    likely.sort(key=lambda slip: abs(given - slip[0]))
    looks = [says for _, says in likely]
    if 0 < true < 1 and is_near(given / 100, true, digits):
        looks.append(
            "That is in per cent, and a share of 1 is asked for: write"
            f' {given:g}/100, or "{given:g}%".'
        )
    elif true and is_near(-given, true, digits):
        looks.append("The size is right, and the sign is not.")
    return Judged(False, [*looks, "That is not the number."][0], hint)


def judge_numbers(
    answer: Any,
    true: Sequence[float],
    names: Sequence[str],
    *,
    right: str,
    hint: str,
    slips: Slips[Sequence[float]] = (),
    digits: int | Sequence[int] = 2,
) -> Judged:
    """Judge several numbers at once; the first that is off is named.

    Parameters
    ----------
    answer : Any
        What `read_numbers` reads.
    true : sequence of float
        The numbers.
    names : sequence of str
        What each is.
    right, hint, slips, digits
        As in `judge_number`; a slip has as many numbers, and there may be as
        many digits.

    Returns
    -------
    Judged
        Right, or what it looks like, with the hint.
    """
    given = read_numbers(answer, len(true))
    each = [digits] * len(true) if isinstance(digits, int) else digits

    def same(others: Sequence[float]) -> bool:
        return all(map(is_near, given, others, each))

    if same(true):
        return Judged(True, right)
    for slip, says in slips:
        if same(slip):
            return Judged(False, says, hint)
    parts = zip(given, true, names, each, strict=True)
    for mine, other, name, many in parts:
        if is_near(mine, other, many):
            continue
        if 0 < other < 1 and is_near(mine / 100, other, many):
            return Judged(False, f"{name} is in per cent, not of 1.", hint)
        return Judged(False, f"{name} is another number.", hint)
    raise AssertionError("one of the numbers is off")


def judge_formula(
    answer: Any,
    true: Callable[..., float],
    cases: Sequence[dict[str, float]],
    *,
    right: str,
    hint: str,
    slips: Slips[Callable[..., float]] = (),
) -> Judged:
    """Judge a function of numbers by its values.

    Parameters
    ----------
    answer : Any
        A function, called with the numbers in the order of a case.
    true : callable
        The right one.
    cases : sequence of dict
        What to ask: a number for each name.
    right, hint, slips
        As in `judge_number`; a slip is a function.

    Returns
    -------
    Judged
        Right, or what it looks like, with the hint.
    """
    function = read_function(answer)
    values = [list(case.values()) for case in cases]
    try:
        given = [_value(call(function, *numbers)) for numbers in values]
    except Raised as error:
        return Judged(False, str(error), hint)

    def same(other: Callable[..., float]) -> bool:
        pairs = zip(given, values, strict=True)
        return all(
            math.isclose(mine, other(*numbers), rel_tol=FORMULA)
            for mine, numbers in pairs
        )

    if same(true):
        return Judged(True, right)
    for slip, says in slips:
        if same(slip):
            return Judged(False, says, hint)
    for case, mine, numbers in zip(cases, given, values, strict=True):
        if not math.isclose(mine, true(*numbers), rel_tol=FORMULA):
            at = ", ".join(f"{name} = {n:g}" for name, n in case.items())
            return Judged(False, f"At {at} it gives another number.", hint)
    raise AssertionError("one of the values is off")


def _value(result: Any) -> float:
    try:
        return read_number(result)
    except Unreadable as error:
        said = f"Your function gives {error} in place of a number."
        raise Raised(said) from None


def call(function: Function, *arguments: Any) -> Any:
    """What a reader's function gives; what it raises is said by `Raised`."""
    try:
        return function(*arguments)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".strip().rstrip(".:")
        said = f"Your function raises {what}."
        raise Raised(" ".join(said.split())) from error


def holds(test: Function, *arguments: Any) -> bool:
    """Whether a reader's test passes: it asserts, or gives a truth.

    What gives nothing has passed. Any error but a failed assertion is
    `Raised`.
    """
    try:
        found = call(test, *arguments)
    except Raised as error:
        if isinstance(error.__cause__, AssertionError):
            return False
        raise
    return found is None or bool(found)
