"""What is put up with: subjects that never return, and that warn."""

import importlib
import re
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType

AGAIN = 1.0  # seconds until whoever swallowed the end hears of it once more
# What PyTorch imports when it first needs it. An import that is broken off
# leaves half of it behind, for as long as the process lives.
IMPORTED_LATE = (
    "numpy.random",
    "torch.fx.experimental.symbolic_shapes",  # and sympy
    "torch.utils._device",
)


class OutOfPatience(BaseException):
    """No `Exception`: what catches errors lets this one through."""


@dataclass
class Limit:
    """Of one examination; `over` once its seconds are."""

    over: bool = False


_limit: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise `OutOfPatience` once the seconds are over, and again.

    By a timer of the system, which reaches the main thread alone and waits
    for the end of a call into C. In another thread, on a system without such
    timers, or while somebody else's timer runs, there is no limit.

    A subject that swallows it is told so a second later, and `insist` raises
    it where the next answer is read. Only one that swallows it for ever, in
    one call, is not ended by this; the command line ends its process then.
    """
    if seconds is None or not _may_ring():
        yield
        return
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    limit = Limit()

    def ring(number: int, frame: FrameType | None) -> None:
        limit.over = True
        raise OutOfPatience

    token = _limit.set(limit)
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        _limit.reset(token)


def _may_ring() -> bool:
    """Whether a timer reaches this thread, and nobody else waits for it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        return False
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    return left == 0


def insist() -> None:
    """Raise `OutOfPatience` if it has been raised, and did not arrive."""
    limit = _limit.get()
    if limit is not None and limit.over:
        raise OutOfPatience


@contextmanager
def listening(heard: list[str]) -> Iterator[None]:
    """Keep warnings from the reader until the end.

    Each is appended to `heard` once, with how often it came.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    counts = Counter(
        f"{each.category.__name__}: {_in_short(str(each.message))}"
        for each in caught
    )
    heard += [
        said if count == 1 else f"{said} ({count} times)"
        for said, count in counts.items()
    ]


def _in_short(message: str) -> str:
    """In one line, without the place in PyTorch's own source."""
    place = r"\(Triggered internally at [^)]*\)\.?"
    said = " ".join(re.sub(place, "", message).split())
    return said if len(said) <= 200 else f"{said[:199]}…"
