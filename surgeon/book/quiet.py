"""Room for a measurement: while a page takes the time, the others wait."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let nothing else of the book's build run meanwhile.

    A build runs pages side by side, and two that share a machine are no
    measure of either. Inside this context every other page's kernel stands
    still; where no build runs pages side by side, nothing happens.

    Examples
    --------
    >>> import time
    >>> with undisturbed():
    ...     start = time.perf_counter()
    ...     seconds = time.perf_counter() - start
    >>> seconds < 1
    True
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        with suppress(OSError):  # the build is over, and nobody disturbs
            server.connect(os.path.join(_kernels(), "kernels"))
            server.send(json.dumps({"alone": os.getpid()}).encode())
            server.recv(64)
        yield


def _kernels() -> str:
    """The folder in which the build's server of kernels listens."""
    return os.environ.get("SURGEON_KERNELS", "")
