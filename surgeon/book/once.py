"""What several pages ask alike is computed once in a build."""

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


def once(
    function: Callable[..., Result], *arguments: Any, **options: Any
) -> Result:
    """What a function gives, computed by whichever page asks first.

    In a build, its result is kept until the build ends, and a page that asks
    the same is handed a copy; two that ask at the same time wait for each
    other. Anywhere else, the function is called.

    Parameters
    ----------
    function : callable
        A function of the package whose result follows from its arguments.
    *arguments, **options
        What it is called with, as pickle can write it.

    Returns
    -------
    Any
        What the function returns.

    Examples
    --------
    >>> once(max, 3, 5)
    5
    """
    (result,) = once_each(function, [arguments], **options)
    return result


def once_each(
    function: Callable[..., Result],
    calls: Sequence[tuple[Any, ...]],
    **options: Any,
) -> list[Result]:
    """`once` for several calls: those that no other page is at come first.

    Parameters
    ----------
    function : callable
        As `once` takes it.
    calls : sequence of tuple
        The positional arguments of each call.
    **options
        What every call is given by name.

    Returns
    -------
    list
        What the function returns, in the order of the calls.

    Examples
    --------
    >>> once_each(max, [(3, 5), (7, 2)])
    [5, 7]
    """
    folder = os.environ.get("SURGEON_ONCE")
    if not folder:
        return [function(*call, **options) for call in calls]
    results: dict[int, Result] = {}
    while len(results) < len(calls):
        waiting = [n for n in range(len(calls)) if n not in results]
        # When others are at all of them, wait for the first.
        for n, wait in [*((n, False) for n in waiting), (waiting[0], True)]:
            with _held(
                Path(folder, _name(function, calls[n], options)), wait
            ) as kept:
                if kept:
                    results[n] = _recalled(kept, function, calls[n], options)
                    break
    return [results[n] for n in range(len(calls))]


def _name(function: Callable, call: tuple, options: dict[str, Any]) -> str:
    asked = pickle.dumps((function, call, sorted(options.items())))
    return hashlib.sha256(asked).hexdigest()[:32]


@contextmanager
def _held(kept: Path, wait: bool) -> Iterator[Path | None]:
    """Where a result is kept, held alone; None if another page is at it."""
    import fcntl  # where there is none, builds share nothing

    with kept.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield kept


def _recalled(
    kept: Path, function: Callable, call: tuple, options: dict[str, Any]
) -> Any:
    """The result that is kept, made if there is none."""
    if not kept.exists():
        before = len(_noted())
        result = function(*call, **options)
        half = kept.with_suffix(".half")
        half.write_bytes(pickle.dumps((result, _noted()[before:])))
        half.rename(kept)
        return result
    result, read = pickle.loads(kept.read_bytes())
    notes = sys.modules.get("sitecustomize")
    if notes and hasattr(notes, "note"):
        for line in read:  # what it was made from, this page is made from too
            notes.note(line)
    return result


def _noted() -> list[str]:
    """What this process has read so far, if the build takes note of it."""
    return list(getattr(sys.modules.get("sitecustomize"), "noted", ()))
