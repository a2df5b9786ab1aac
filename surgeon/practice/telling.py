"""Which mistake a try looks like, from all that it answered."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.practice.asking import alike, answer, tied
from surgeon.practice.comparing import (
    gradients,
    nearly,
    same,
    written_over,
)
from surgeon.practice.step import (
    MANNERS,
    Asked,
    Function,
    Misfit,
    Question,
    Step,
)
from surgeon.practice.verdict import Verdict

SHAPES = "Write the shape behind each line, for these sizes."
HERE = "What a cell uses is imported or written in a cell above it."
OWN = (
    "What is assigned in a function is its own there, from the first line:"
    " give the result another name than the function that makes it."
)
HIDDEN = (
    "An argument hides the function of its name: give the function a second"
    " name above."
)


def _known(step: Step, name: str) -> Verdict:
    mistake = step.mistakes.get(name) or MANNERS[name]
    return Verdict(
        False, mistake.looks, mistake.hint, mistake.page, step.name, name
    )


def not_yet(step: Step, says: str, hint: str = "") -> Verdict:
    return Verdict(False, says, hint, step.page, step.name)


def mistake_of(
    step: Step, yours: Callable[..., Any], asked: list[Asked]
) -> Verdict | None:
    """The mistake that a try looks like, or None if all is right."""
    counted = [each for each in asked if not each.question.note]
    failed = [each for each in counted if not alike(each)]
    if not failed:
        return _bad_manners(step, yours, asked)
    first = failed[0].given
    if isinstance(first, Misfit) and first.mistake:
        return _known(step, first.mistake)
    plain = [each for each in counted if not each.question.edge]
    for name, holds in step.laws.items():
        if holds(counted):
            return _known(step, name)
    if all(alike(each) for each in plain) and tied(step, plain):
        return _known(step, "tied to float32")
    for some in (counted, plain):
        if not all(alike(each) for each in some):
            for name, mistake in step.mistakes.items():
                wrong = mistake.instead
                if wrong and all(_looks(step, wrong, each) for each in some):
                    return _known(step, name)
    return _in_a_sentence(step, failed)


def _looks(step: Step, wrong: Callable[..., Any], asked: Asked) -> bool:
    """Whether a mistake answers a question as it was answered."""
    return same(answer(step, wrong, asked.question), asked.given)


def _in_a_sentence(step: Step, failed: list[Asked]) -> Verdict:
    """Of the first question that was failed: what is known of it."""
    first = failed[0]
    with_ = _described(step, first.question)
    if isinstance(first.given, Misfit):
        return not_yet(step, f"{first.given} (Asked with {with_}.)")
    if isinstance(first.given, Exception):
        said = " ".join(str(first.given).split())
        for words, name in step.raising.items():
            if words in said:
                return _known(step, name)
        if first.question.edge:
            return _known(step, first.question.edge)
        kind = type(first.given).__name__
        short = said if len(said) <= 120 else f"{said[:119]}…"
        return not_yet(
            step,
            f"Asked with {with_}, it raises {kind}: {short.rstrip('.')}.",
            _hint(first.given, said),
        )
    given, right = map(_shapes, (first.given, first.right))
    if given != right:
        both = isinstance(first.right, tuple)
        shape, is_ = ("shapes", "are") if both else ("shape", "is")
        return not_yet(
            step,
            f"Asked with {with_}, it gives the {shape} {given} where {right}"
            f" {is_} wanted.",
            SHAPES,
        )
    if first.question.edge:
        return _known(step, first.question.edge)
    return not_yet(
        step,
        f"Asked with {with_}, it gives {_first_off(first)}.",
        "Take numbers that a pencil can follow, and print each line.",
    )


def _hint(error: Exception, said: str) -> str:
    if isinstance(error, UnboundLocalError):
        return OWN
    if isinstance(error, NameError):
        return HERE
    return HIDDEN if "object is not callable" in said else SHAPES


def _shapes(answer: Any) -> Any:
    """Of a tensor, or of each of several."""
    if isinstance(answer, tuple):
        return " and ".join(map(_shapes, answer))
    return f"{list(answer.shape)}" if isinstance(answer, Tensor) else ""


def _first_off(asked: Asked) -> str:
    """The first number that is off, and the right one."""
    given, right = asked.given, asked.right
    if isinstance(right, dict):
        name = next(k for k in right if not nearly(given.get(k), right[k]))
        return (
            f"{name} = {given.get(name):.4g} where {right[name]:.4g} is right"
        )
    if isinstance(right, tuple):
        pairs = zip(given, right, strict=True)
        given, right = next(p for p in pairs if not nearly(*p))
    off = ~torch.isclose(
        given.to(right.dtype), right, rtol=1e-6, atol=1e-6, equal_nan=True
    )
    place = tuple(off.nonzero()[0].tolist())
    there = ", ".join(map(str, place))
    return (
        f"{float(given[place]):.4g} at [{there}] where"
        f" {float(right[place]):.4g} is right"
    )


def _described(step: Step, question: Question) -> str:
    """The arguments of a question: names, and shapes or values."""
    names = inspect.signature(step.right).parameters
    return ", ".join(
        f"{name} {list(x.shape)}"
        if isinstance(x, Tensor)
        else f"{name} = {x}"
        for name, x in zip(names, question.args, strict=False)
    )


def _bad_manners(
    step: Step, yours: Callable[..., Any], asked: list[Asked]
) -> Verdict | None:
    """What else is asked of right numbers."""
    plain = [each.question for each in asked if not each.question.edge]
    for each in asked:
        if not each.question.note and written_over(yours, each.question):
            return _known(step, "changes its input")
    again = Asked(plain[0], asked[0].given, answer(step, yours, plain[0]))
    if not alike(again):
        return _known(step, "another answer each time")
    if not step.floats:
        return None
    if tied(step, asked):
        return _known(step, "tied to float32")
    if not gradients(
        _behind(step, yours), _behind(step, step.right), plain[0]
    ):
        return _known(step, "cuts the gradient")
    return None


def _behind(step: Step, function: Function) -> Function:
    """A function after what makes its argument, if that counts."""
    before = step.before
    return (lambda x: function(before(x))) if before else function
