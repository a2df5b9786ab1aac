"""A process that has imported what pages import, and forks a kernel for whoever asks.

A kernel that imports PyTorch, pandas and Matplotlib is seconds old before it runs its first cell; one that is forked
here is not. A page cannot tell: it has its own random state, working folder, environment, streams and session, can be
interrupted and killed, and ends with the build, however that ends.

Whoever asks sends one message over a local socket and keeps it open:

{"kernel": arguments, "cwd": ..., "environment": ...}, with three streams
    a kernel is started; the answers are its process id and, later, its exit status. When the socket closes, it is
    killed.
{"alone": process id}
    every other kernel stands still from the answer on until the socket closes, and none is started.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import random
import selectors
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterable
from typing import Any

LONGEST = 2**20  # bytes of a message: an environment is most of it
KERNEL = ("ipykernel.ipkernel", "ipykernel.kernelapp")
# Of a package, what is used of it.
PARTS = {"matplotlib": "matplotlib.pyplot", "pandas": "pandas.io.formats.style", "scipy": "scipy.optimize"}
LAUNCHER = os.path.join(sysconfig.get_path("purelib"), "ipykernel_launcher.py")  # what a new kernel is started by


def serve(folder: str, packages: Iterable[str]) -> None:
    """Listen in a folder of the build's until the build ends."""
    end_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address(folder))
    listener.listen(64)  # who asks before the imports are done, waits
    sys.modules["sitecustomize"].noted.clear()  # what this program reads and imports is no page's doing
    try:
        with contextlib.suppress(SystemExit):  # which the signal raises
            preload(packages)
            gc.collect()
            gc.freeze()  # a collection in a kernel would copy all that it shares with the others
            Server(listener).run()
    finally:
        for leave in (lambda: os.unlink(address(folder)), lambda: os.rmdir(folder)):
            with contextlib.suppress(OSError):
                leave()
    os._exit(0)  # PyTorch takes seconds to leave, for which the build would wait


def address(folder: str) -> str:
    return os.path.join(folder, "kernels")


def preload(packages: Iterable[str]) -> None:
    """Import what pages import, and read what that reads when it is first used."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel sets it
    for name in (*KERNEL, *(PARTS.get(package, package) for package in packages)):
        importlib.import_module(name)
    # No page is debugged. Each kernel would import the debugger when it is asked, half of all that it does to begin.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    importlib.import_module("ipykernel.debugger")
    del sys.modules["debugpy"]
    if "matplotlib" in packages:
        figure = sys.modules["matplotlib.figure"].Figure(figsize=(1, 1))
        figure.subplots().set_title("$x$")
        figure.savefig(io.BytesIO(), format="svg")  # reads the fonts


def end_with_parent(signal_: int) -> None:
    """Be sent a signal when the parent is no more, however it ends (Linux)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal_)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_)


class Server:
    """Kernels by the sockets of those who asked for them, and whoever wants to be alone."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.selector = selectors.DefaultSelector()
        self.kernels: dict[socket.socket, int] = {}
        self.alone: list[tuple[socket.socket, int]] = []  # the first one is, the others wait
        self.waiting: list[tuple[socket.socket, dict[str, Any], list[int]]] = []  # for a kernel, until nobody is alone
        self.watch(listener, self.accept)

    def watch(self, what: Any, then: Callable[[], None]) -> None:
        self.selector.register(what, selectors.EVENT_READ, then)

    def run(self) -> None:
        try:
            while True:
                for key, _ in self.selector.select():
                    if key.fd in self.selector.get_map():  # not left while this round went on
                        key.data()
        finally:
            for pid in self.kernels.values():
                kill(pid, signal.SIGKILL)

    def accept(self) -> None:
        asking, _ = self.listener.accept()
        self.watch(asking, lambda: self.hear(asking))

    def hear(self, asking: socket.socket) -> None:
        message, streams, *_ = socket.recv_fds(asking, LONGEST, 3)
        if not message:
            return self.leave(asking)
        asked = json.loads(message)
        if "alone" in asked:
            self.alone.append((asking, asked["alone"]))
            if len(self.alone) == 1:
                self.let_be_alone()
        elif self.alone:
            self.waiting.append((asking, asked, streams))
        else:
            self.start(asking, asked, streams)

    def leave(self, asking: socket.socket) -> None:
        """Whoever asked is gone: so is its kernel, or its wish to be alone."""
        self.selector.unregister(asking)
        asking.close()
        if asking in self.kernels:
            kill(self.kernels[asking], signal.SIGKILL)  # and the end of it is noticed as any other
        self.waiting = [entry for entry in self.waiting if entry[0] is not asking]
        if asking not in [other for other, _ in self.alone]:
            return
        was_first = self.alone[0][0] is asking
        self.alone = [entry for entry in self.alone if entry[0] is not asking]
        if was_first and self.alone:
            self.let_be_alone()
        elif was_first:
            for pid in self.kernels.values():
                kill(pid, signal.SIGCONT)
            waiting, self.waiting = self.waiting, []
            for entry in waiting:
                self.start(*entry)

    def let_be_alone(self) -> None:
        asking, who = self.alone[0]
        for pid in self.kernels.values():
            kill(pid, signal.SIGCONT if pid == who else signal.SIGSTOP)
        answer(asking, "alone")

    def start(self, asking: socket.socket, asked: dict[str, Any], streams: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            become_kernel(asked, streams)
        for stream in streams:
            os.close(stream)
        self.kernels[asking] = pid
        end = os.pidfd_open(pid)
        self.watch(end, lambda: self.bury(asking, pid, end))
        answer(asking, str(pid))

    def bury(self, asking: socket.socket, pid: int, end: int) -> None:
        self.selector.unregister(end)
        os.close(end)
        _, status = os.waitpid(pid, 0)
        del self.kernels[asking]
        if asking.fileno() != -1:
            answer(asking, str(os.waitstatus_to_exitcode(status)))


def answer(asking: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # it has left, and we shall hear of it
        asking.send(text.encode())


def kill(pid: int, signal_: int) -> None:
    """A kernel leads a session: what it has started is meant as well."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal_)


def become_kernel(asked: dict[str, Any], streams: list[int]) -> None:
    """In the child: nothing of the others is left, and everything is as a new process has it."""
    code = 1
    try:
        os.setsid()
        end_with_parent(signal.SIGKILL)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
        for signal_, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(signal_, action)
        os.chdir(asked["cwd"])
        os.environ.clear()
        parent = str(os.getppid())
        os.environ.update(asked["environment"], JPY_PARENT_PID=parent)
        sys.argv = [LAUNCHER, *asked["kernel"]]
        random.seed()
        for name in ("numpy", "torch"):  # each was seeded by chance when it was imported, for all kernels alike
            if name in sys.modules:
                sys.modules[name].random.seed()
        if trace := asked["environment"].get("SURGEON_TRACE"):
            sys.modules["sitecustomize"].begin(trace)
        from ipykernel.kernelapp import IPKernelApp

        # ipykernel looks into the environment when it is imported, which the server may have done; and a kernel that
        # knows of no parent tells how to end it.
        IPKernelApp.launch_instance(argv=[*asked["kernel"], f"--IPKernelApp.parent_handle={parent}"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
