"""The one place where a subject is called, and where its errors are its own.

Whatever else is raised during an examination is a bug of the examination,
and nobody catches it.
"""

from collections.abc import Callable
from typing import Any

from surgeon.checkup.patience import insist


class SubjectError(Exception):
    """The subject raised something, or returned what is no answer."""


class Aside(SubjectError):
    """It does not go through that by which it should be asked."""


def answer(asked: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
    """What a call of the subject, or of what it brought along, returns.

    Raises
    ------
    SubjectError
        If it raises; from its error, which is told in one line.
    OutOfPatience
        If it swallowed the one that should have ended it.
    """
    try:
        returned = asked(*given, **named)
    except SubjectError:
        raise
    except Exception as error:
        insist()
        raise SubjectError(_in_one_line(error)) from error
    insist()
    return returned


def _in_one_line(error: Exception) -> str:
    kind, said = type(error).__name__, " ".join(str(error).split())
    return f"{kind}: {said[:200]}" if said else kind
