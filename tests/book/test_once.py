"""What several pages ask alike: computed once a build, by whoever asks first; and room for a measurement."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from types import ModuleType

import pytest

from surgeon.book.once import once, once_each
from surgeon.book.quiet import undisturbed

CALLS: list[tuple] = []


def ask(x: int, y: int = 0, pause: float = 0.0) -> list[int]:
    CALLS.append((x, y))
    time.sleep(pause)
    return [x, y]


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    CALLS.clear()
    monkeypatch.setenv("SURGEON_ONCE", str(tmp_path))


def test_the_same_question_is_answered_once_and_another_anew():
    assert [once(ask, 3), once(ask, 3), once(ask, 3, y=2), once(ask, 5)] == [[3, 0], [3, 0], [3, 2], [5, 0]]
    assert CALLS == [(3, 0), (3, 2), (5, 0)]


def test_everyone_is_handed_a_copy():
    first, second = once(ask, 3), once(ask, 3)
    second.append(1)
    assert (first, once(ask, 3)) == ([3, 0], [3, 0])


def test_outside_of_a_build_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("SURGEON_ONCE")
    assert once(ask, 3) == once(ask, 3) == [3, 0]
    assert once_each(ask, [(3,), (5,)], y=7) == [[3, 7], [5, 7]]
    assert CALLS == [(3, 0), (3, 0), (3, 7), (5, 7)]


def test_what_a_build_has_kept_is_handed_to_whoever_takes_no_note(monkeypatch):
    note = ModuleType("sitecustomize")
    note.noted, note.note = ["before"], None
    monkeypatch.setitem(sys.modules, "sitecustomize", note)
    once(ask, 3)
    monkeypatch.delitem(sys.modules, "sitecustomize")
    assert once(ask, 3) == [3, 0]
    assert CALLS == [(3, 0)]


def test_what_fails_is_not_kept(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            once(divmod, 1, 0)
    assert once(divmod, 7, 2) == (3, 1)
    assert not list(tmp_path.glob("*.half"))


def test_two_that_ask_the_same_at_once_wait_for_each_other_and_others_go_first():
    """The second asks for 3 and 5 while the first is at 3: it computes 5 meanwhile, and is handed 3."""
    first = threading.Thread(target=once, args=(ask, 3), kwargs={"pause": 0.6})
    first.start()
    while not CALLS:
        time.sleep(0.01)
    assert once_each(ask, [(3,), (5,)], pause=0.6) == [[3, 0], [5, 0]]
    first.join()
    assert CALLS == [(3, 0), (5, 0)]


def test_who_is_handed_a_result_has_read_what_it_was_made_from(monkeypatch):
    """The first reads a file while it computes; the second is told, as if it had read it."""
    trace = ModuleType("sitecustomize")
    trace.noted = {"I before any": None}
    trace.note = lambda line: trace.noted.setdefault(line)
    monkeypatch.setitem(sys.modules, "sitecustomize", trace)
    global reading
    reading = lambda: trace.note("F data.csv")
    assert once(read_something, 1) == 1
    trace.noted = {}
    assert once(read_something, 1) == 1
    assert list(trace.noted) == ["F data.csv"]


def read_something(x: int) -> int:
    reading()
    return x


# ---- Alone -----------------------------------------------------------------------------------------------------------


def test_a_measurement_asks_to_be_alone_and_says_when_it_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("SURGEON_KERNELS", str(tmp_path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "kernels"))
    listener.listen()
    heard = []

    def serve():
        asking, _ = listener.accept()
        heard.append(json.loads(asking.recv(1000)))
        asking.send(b"alone")
        heard.append(asking.recv(10))
        asking.close()

    server = threading.Thread(target=serve)
    server.start()
    with undisturbed():
        assert heard == [{"alone": os.getpid()}]
    server.join(10)
    assert heard[1] == b""
    listener.close()


@pytest.mark.parametrize("folder", [None, "/nowhere"], ids=["no build", "a build that is over"])
def test_where_nobody_disturbs_nothing_happens(monkeypatch, folder):
    monkeypatch.delenv("SURGEON_KERNELS", raising=False)
    if folder:
        monkeypatch.setenv("SURGEON_KERNELS", folder)
    with undisturbed():
        done = subprocess.run([sys.executable, "-c", "print(3)"], capture_output=True, text=True)
    assert done.stdout == "3\n"
