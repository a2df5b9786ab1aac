"""Patience: subjects that never return."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from examined import names
from torch import nn

from surgeon import attention, examine

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="This system has no timer that rings."),
]


def hanging(Q, K, V, mask=None):
    while mask is not None:
        try:
            while True:
                time.sleep(0.01)
        except Exception:
            continue
    return attention(Q, K, V)


def test_a_subject_that_never_returns_is_given_up():
    before = signal.getsignal(signal.SIGALRM)
    report = examine(hanging, mask_shape="T S", patience=0.7)
    assert names(report) == ["answers"]
    said = r"he examination was given up after 0.7 s, while “.+” was tried."
    assert re.fullmatch(f"T{said}", report["answers"].meaning)
    assert re.fullmatch(f"Cannot be told: t{said}", report["gradients"].meaning)
    assert (report["answers"].measured, report["answers"].bound) == ("no answer", "an output each time")
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    class Endless(nn.Module):
        def forward(self, x):
            while True:
                pass

    assert names(examine(Endless(), width=5, patience=0.3)) == ["answers"]


def test_what_was_found_before_it_hung_stays():
    def late(Q, K, V, mask=None):
        return hanging(Q, K, V, True) if Q.requires_grad else attention(Q, K, V, mask)

    report = examine(late, patience=2.0)
    assert names(report) == ["answers"]
    assert report["scale"].passed or "given up after 2 s" in report["scale"].meaning


def test_where_no_timer_can_ring_there_is_no_limit():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(examine, attention, patience=1e-3).result().passed
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        assert examine(attention, patience=1e-3).passed
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert examine(attention, patience=None).passed


SWALLOWS = {
    "one, and goes on hanging": "hang()",
    "one, and answers": "return surgeon.attention(Q, K, V, mask)",
    "one, and raises another": "raise RuntimeError('never mind')",
}
CHILD = """
import time, surgeon
def hang():
    while True:
        time.sleep(0.01)
def subject(Q, K, V, mask=None):
    try:
        hang()
    except BaseException:
        {then}
report = surgeon.examine(subject, patience=0.3)
said = (*(finding.name for finding in report.failed), report["answers"].measured)
print("{said}", ", ".join(said), sep=": ", flush=True)
"""


def test_a_subject_that_swallows_the_end_is_told_again():
    """In a process of its own, which can be killed: a mistake here hangs for good."""
    code = "".join(CHILD.format(said=said, then=then) for said, then in SWALLOWS.items())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "".join(f"{said}: answers, no answer\n" for said in SWALLOWS), done.stderr


def test_what_swallows_every_end_is_ended_with_its_process(tmp_path):
    (tmp_path / "endless.py").write_text(
        "import time\n"
        "def subject(Q, K, V):\n"
        "    while True:\n"
        "        try:\n"
        "            time.sleep(0.01)\n"
        "        except BaseException:\n"
        "            pass\n",
        encoding="utf8",
    )
    code = (
        "import sys; from surgeon.checkup import __main__ as it; it.GRACE = 2.0;"
        " sys.exit(it.main(['endless:subject', '--patience', '0.3']))"
    )
    path = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    said = "address must name something that answers, got 'endless:subject': nothing within 2.3 s."
    assert said in done.stderr


def test_what_pytorch_imports_late_is_whole_before_the_first_subject_is_given_up():
    """An import broken off halfway would fail every later examination of the process."""
    code = """
import sys, time
from surgeon import attention, examine

def hanging(Q, K, V, mask=None):
    while True:
        time.sleep(0.01)

before = set(sys.modules)
examine(hanging, patience=0.01)
before = set(sys.modules)
assert examine(attention).failed == []
late = [name for name in sys.modules if name not in before and name.partition(".")[0] in ("numpy", "sympy", "torch")]
print(late)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
