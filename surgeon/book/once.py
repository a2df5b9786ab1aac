"""What several pages ask alike is computed once in a build."""

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
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
    folder = os.environ.get("SURGEON_ONCE")
    if not folder:
        return function(*arguments, **options)
    import fcntl  # where there is none, builds share nothing

    asked = pickle.dumps((function, arguments, sorted(options.items())))
    name = hashlib.sha256(asked).hexdigest()[:32]
    kept = Path(folder, name)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            before = len(_noted())
            result = function(*arguments, **options)
            half = kept.with_suffix(".half")
            half.write_bytes(pickle.dumps((result, _noted()[before:])))
            half.rename(kept)
            return result
    result, read = pickle.loads(kept.read_bytes())
    for line in read:  # what it was made from, this page is made from too
        sys.modules["sitecustomize"].note(line)
    return result


def _noted() -> list[str]:
    """What this process has read so far, if the build takes note of it."""
    return list(getattr(sys.modules.get("sitecustomize"), "noted", ()))
