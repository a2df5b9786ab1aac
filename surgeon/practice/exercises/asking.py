"""`check`: who judges an answer to an exercise, and what is said."""

import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from surgeon.practice.exercises.answers import Unreadable
from surgeon.practice.verdict import Judged


@dataclass(frozen=True)
class Exercise:
    """What is known of an exercise before anybody answers it.

    Parameters
    ----------
    page : str
        Where it stands, such as "anatomy/softmax".
    wants : str
        What kind of answer it takes; empty if no answer can be judged.
    explains : str
        Why no answer can be judged; empty if one can.
    judges : str
        The module that judges it; empty for that of the page's part.
    """

    page: str
    wants: str = ""
    explains: str = ""
    judges: str = ""

    @property
    def module(self) -> str:
        """Where it is judged."""
        name = self.judges or self.page.split("/")[0]
        return f"{__package__}.{name}"


@cache
def known_exercises() -> dict[str, Exercise]:
    """Every exercise of the book, by its label."""
    file = Path(__file__).with_name("exercises.toml")
    known = tomllib.loads(file.read_text(encoding="utf8"))
    return {label: Exercise(**entry) for label, entry in known.items()}


def check(label: str, answer: Any) -> Judged:
    """Judge an answer to an exercise of the book.

    A number passes if it is right to about two digits, whatever holds it: a
    Python number, a fraction, a tensor, an array, or a text such as "1/3" or
    "3%". A function passes if it does what the exercise asks for on inputs of
    several sizes. A wrong answer gets a hint, and not the solution.

    Parameters
    ----------
    label : str
        The exercise's, as it stands in the page's cell.
    answer : Any
        Yours; ``...`` asks what kind of answer is wanted.

    Returns
    -------
    Judged
        It shows as a line, and its `right` is True, False, or None where
        there is nothing to judge: no answer, one of another kind, or an
        exercise that asks for reasons.

    Raises
    ------
    ValueError
        If no exercise has this label; it names the nearest.

    Examples
    --------
    >>> check("softmax-pencil", ...)
    Put three numbers, the weights of log 1, log 2 and log 5, in place of the
    dots, and run this cell.
    >>> check("softmax-pencil", ["1/8", 0.25, "62.5%"])
    Right. The powers are 1, 2 and 5, and their sum is 8.
    >>> check("softmax-pencil", [0.0, 0.3, 0.7]).right
    False
    """
    known = known_exercises()
    if label not in known:
        near = get_close_matches(str(label), known, n=1, cutoff=0)
        raise ValueError(
            f"label must be that of an exercise, such as {near[0]!r}, got"
            f" {label!r}."
        )
    exercise = known[label]
    if exercise.explains:
        reasons = f"No answer is judged here: {exercise.explains}."
        return Judged(None, f"{reasons} The solution unfolds.", label=label)
    if answer is ...:
        put = (
            f"Put {exercise.wants}, in place of the dots, and run this cell."
        )
        return Judged(None, put, label=label)
    judge = getattr(import_module(exercise.module), label.replace("-", "_"))
    try:
        return replace(judge(answer), label=label)
    except Unreadable as error:
        kind = f"This exercise takes {exercise.wants}; it got {error}."
        return Judged(None, kind, label=label)
