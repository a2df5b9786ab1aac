"""A try asked a question, beside what is right."""

from collections.abc import Callable
from typing import Any

import torch

from surgeon.practice.comparing import nearly
from surgeon.practice.step import Asked, Misfit, Question, Step


class Unwritten(Exception):
    """The stub is still a stub."""


def ask(step: Step, yours: Callable[..., Any], question: Question) -> Asked:
    """The right answer and that of `yours`, each as the step reads it."""
    right = step.read(step.right(*question.copied()), question)
    return Asked(question, right, answer(step, yours, question))


def answer(
    step: Step, function: Callable[..., Any], question: Question
) -> Any:
    """What a function answers, as the step reads it, or its error."""
    try:
        value = function(*question.copied())
    except NotImplementedError:
        raise Unwritten from None
    except Exception as error:
        return error
    if value is None or value is ...:
        raise Unwritten
    try:
        return step.read(value, question)
    except Misfit as error:
        return error


def alike(asked: Asked) -> bool:
    return nearly(asked.given, asked.right)


def tied(step: Step, asked: list[Asked]) -> bool:
    """Whether an answer is in another precision than the right one."""
    both = [(each.given, each.right) for each in asked]
    return step.floats and any(
        _dtypes(given) != _dtypes(right)
        for given, right in both
        if not isinstance(given, Exception)
    )


def _dtypes(answer: Any) -> list[torch.dtype]:
    return [
        x.dtype for x in (answer if isinstance(answer, tuple) else (answer,))
    ]
