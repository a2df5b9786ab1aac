"""What an examination puts up with: a subject that never returns, and one that warns."""

import re
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OutOfPatience(BaseException):
    """No `Exception`: what the subject catches, and what the probes take for its errors, lets this one through."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise `OutOfPatience` once the seconds are over.

    By a timer of the system, which reaches the main thread alone and waits
    for the end of a call into C. In another thread, on a system without such
    timers, or while somebody else's timer runs, there is no limit.
    """
    alone = threading.current_thread() is threading.main_thread() and hasattr(
        signal, "setitimer"
    )
    if (
        seconds is None
        or not alone
        or signal.getitimer(signal.ITIMER_REAL)[0]
    ):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfPatience

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again, for a subject that catches everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def listening(heard: list[str]) -> Iterator[None]:
    """Keep warnings from the reader until the end, and append each once, with how often it came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    counts = Counter(
        f"{each.category.__name__}: {_plain(str(each.message))}"
        for each in caught
    )
    heard += [
        said if count == 1 else f"{said} ({count} times)"
        for said, count in counts.items()
    ]


def _plain(message: str) -> str:
    """In one line, without the place in PyTorch's own source."""
    said = " ".join(
        re.sub(r"\(Triggered internally at [^)]*\)\.?", "", message).split()
    )
    return said if len(said) <= 200 else f"{said[:199]}…"
