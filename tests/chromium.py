"""Chromium for the tests: the one that `make test` found or installed, or the one that is there."""

import subprocess
import sys

from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
from limits import SWIFT

SCRIPT = ROOT / ".ci" / "browser"
QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", SWIFT)


def chromium() -> str:
    """Its path; empty where NO_BROWSER=1 asks for none. Installs nothing."""
    done = subprocess.run(["sh", SCRIPT, "--find"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
