"""What can be practised: a step, what it is asked, how it goes wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """A way to get a step wrong.

    Parameters
    ----------
    looks : str
        What the try looks like, in a sentence.
    hint : str
        What to think about. It is no solution.
    page : str
        The page about it.
    instead : callable, optional
        The step with this mistake, where the answer tells it from others.
    """

    looks: str
    hint: str
    page: str
    instead: Function | None = None


@dataclass(frozen=True)
class Question:
    """What a try is asked once.

    Parameters
    ----------
    args : tuple
        The arguments; tensors are copied for each call.
    edge : str
        The mistake that is made by whoever fails this question alone; empty
        for a plain one.
    note : str
        What is said, where others answer differently too, and are right.
    """

    args: tuple[Any, ...]
    edge: str = ""
    note: str = ""

    def copied(self) -> tuple[Any, ...]:
        return tuple(
            x.detach().clone() if isinstance(x, Tensor) else x
            for x in self.args
        )


class Misfit(Exception):
    """An answer that cannot be compared: why, in a sentence.

    Or the name of the `mistake` that answers so, which says it.
    """

    def __init__(self, why: str = "", *, mistake: str = "") -> None:
        super().__init__(why or mistake)
        self.mistake = mistake


@dataclass(frozen=True)
class Asked:
    """A question, with the right answer and the one that was given.

    Both as the step reads them; an exception where there is none.
    """

    question: Question
    right: Any
    given: Any


def as_it_is(value: Any, question: Question) -> Any:
    """A tensor, or a `Misfit`."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise Misfit(
            f"It gives a value of type {kind} where a tensor is wanted."
        )
    return value


@dataclass(frozen=True)
class Step:
    """Something to write, and all that the judge knows of it.

    Parameters
    ----------
    name : str
        What to call it.
    asks : str
        What the function is to give, after "write what".
    holds : str
        What holds of a right one, in a sentence.
    page : str
        The page about it.
    right : callable
        A right one, to compare with.
    questions : callable
        A list of `Question` for a generator.
    mistakes : mapping
        name: `Mistake`.
    solution : sequence of (function, part)
        What `surgeon.book.page.source` shows for it: a part, or None for
        the whole.
    read : callable
        The answer in a form that can be compared, or a `Misfit`.
    laws : mapping
        The name of a mistake: whether what was asked shows it.
    raising : mapping
        Words of an error: the name of the mistake that raises it.
    inside : callable, optional
        For a right or a wrong one, an attention ``f(Q, K, V, mask)`` made
        with it, for the check-up.
    adapt : callable, optional
        A try in the form in which the step is asked.
    before : callable, optional
        What makes its argument, where a gradient is sought through both: a
        softmax, say, which knows only changes that keep the sum of a row.
    floats : bool
        Whether its answer takes the precision of what comes, and lets
        gradients through.
    """

    name: str
    asks: str
    holds: str
    page: str
    right: Function
    questions: Callable[[torch.Generator], list[Question]]
    mistakes: Mapping[str, Mistake]
    solution: Sequence[tuple[Function, str | tuple[str, ...] | None]]
    read: Callable[[Any, Question], Any] = as_it_is
    laws: Mapping[str, Callable[[list[Asked]], bool]] = field(
        default_factory=dict
    )
    raising: Mapping[str, str] = field(default_factory=dict)
    inside: Callable[[Function], Function] | None = None
    adapt: Callable[[Function], Function] | None = None
    before: Function | None = None
    floats: bool = True


#: Mistakes that any step can have
MANNERS = {
    "tied to float32": Mistake(
        "The numbers are right, and in another precision than came in: it"
        " is tied to one.",
        "What does it make new, or convert, and in which dtype?",
        "anatomy/softmax",
    ),
    "changes its input": Mistake(
        "The answer is right, and afterwards the caller's tensor is no"
        " longer what it was.",
        "Which of your operations write into the tensor that came in?",
        "ablations/zoo/memory",
    ),
    "cuts the gradient": Mistake(
        "The numbers are right, but no right gradient comes back.",
        "What on the way leaves autograd, or divides by zero?",
        "ablations/zoo/memory",
    ),
    "another answer each time": Mistake(
        "Asked the same again, it answers something else.",
        "What does it keep between calls, and where is chance at work?",
        "ablations/zoo/dropout",
    ),
}


def normal(generator: torch.Generator, *shape: int, **how: Any) -> Tensor:
    """Standard normal numbers in float64, unless something else is asked."""
    how = {"dtype": torch.float64} | how
    return torch.randn(*shape, generator=generator, **how)
