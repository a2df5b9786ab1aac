"""The real book, built strictly once for all the tests that look at it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_book import COLOUR, ROOT, START, STRICT

# Before PyTorch is imported. Two threads that wait for a busy core make small models up to thirty times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def site() -> tuple[Path, str]:
    """The folder of the built site and what the build said. A warm `_build` makes it fast."""
    command = [sys.executable, "-c", START, "build", str(ROOT), *STRICT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = COLOUR.sub("", done.stdout + done.stderr)
    assert done.returncode == 0, f"The strict build fails:\n{said[-6000:]}"
    return ROOT / "_build" / "html", said
