"""Chromium for the tests: the one that `make test` found or installed, or the one that is there."""

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "browser"
QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")


def chromium() -> str:
    """Its path; empty where NO_BROWSER=1 asks for none. Installs nothing."""
    done = subprocess.run(["sh", SCRIPT, "--find"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
