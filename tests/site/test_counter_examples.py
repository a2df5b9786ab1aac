"""Every claim of the book can fail: what would break it is put in its place, and it does."""

import os
import re
import subprocess
import sys

import pytest
from built import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import claims

PAGES = [page.relative_to(ROOT).as_posix() for page in claims.pages()]
FOLDERS = sorted({page.rpartition("/")[0] for page in PAGES})


@pytest.mark.parametrize("name", FOLDERS)
def test_every_claim_of_a_folder_holds_and_fails_against_its_counter_example(trained, name):
    """One process for a folder's pages: they import PyTorch once, and are handed what the book's build has trained."""
    pages = [page for page in PAGES if page.rpartition("/")[0] == name]
    command = [sys.executable, ROOT / ".ci" / "claims.py", *pages, "--against", "--jobs", "1"]
    environment = os.environ | {"SURGEON_ONCE": str(trained), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    told = re.findall(r"^[\w-]+, (\d+) claims:$", done.stdout, re.MULTILINE)
    assert len(told) == len(pages)
    assert done.stdout.count("breaks it") + done.stdout.count("FAILS") >= sum(map(int, told))
