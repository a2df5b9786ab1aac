"""A function that hands out its weights, wherever a program knows it."""

import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def put_in_place_of(
    function: Callable[..., Any],
    seen: Callable[[Callable[[], Any]], Any],
    undo: ExitStack,
) -> None:
    """Every module that knows a function calls another in its place.

    Parameters
    ----------
    function : callable
        A function, by whatever names modules have imported it.
    seen : callable
        Is given what calls the function, and gives what that gives.
    undo : ExitStack
        Where it is said how to put everything back.
    """

    @functools.wraps(function)
    def instead(*args: Any, **named: Any) -> Any:
        return seen(lambda: function(*args, **named))

    for module in list(sys.modules.values()):
        known = getattr(module, "__dict__", None) or {}
        names = [name for name, value in known.items() if value is function]
        for name in names:
            undo.callback(known.__setitem__, name, function)
            known[name] = instead
