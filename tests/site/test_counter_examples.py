"""Every claim of the book can fail: what would break it is put in its place, and it does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from built import ROOT, book

sys.path.insert(0, str(ROOT / ".ci"))
import claims

PAGES = [page.relative_to(ROOT).with_suffix("").as_posix() for page in claims.pages()]


@pytest.fixture(scope="session")
def noted(folder, pytestconfig) -> Path:
    """Where the kernels of this run's build, if it built, noted what came of each claim and of its counter-example."""
    return book(pytestconfig).noted if "SITE" not in os.environ else folder / "nowhere"


@pytest.fixture
def made(monkeypatch, trained, noted, page):
    """What a page's claims came to: noted as it ran in the build, or, if it did not, in a process of its own."""
    note = noted / f"{claims.dashed(ROOT / f'{page}.md')}.jsonl"
    if note.exists():
        return [json.loads(line) for line in note.read_text().splitlines()]
    monkeypatch.setenv("SURGEON_ONCE", str(trained))
    (done,) = claims.side_by_side([(ROOT / f"{page}.md", None, None, True)], 1)
    return done["claims"]


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_of_a_page_holds_and_fails_against_its_counter_example(made, page):
    file = ROOT / f"{page}.md"
    statements = claims.statements(file)
    assert all(any(each["says"].startswith(one) for each in made) for one in statements)
    assert claims.told(file, made, None) == 0
    assert claims.unmatched(file) == []
    assert all("breaks" in each or "fault" in claims.entry(file, each["says"]) for each in made)


@pytest.mark.parametrize("page", PAGES)
def test_under_a_fault_of_a_page_the_claims_fail_that_name_it(trained, page):
    file = ROOT / f"{page}.md"
    environment = os.environ | {"SURGEON_ONCE": str(trained), "OMP_NUM_THREADS": "1"}
    for fault in claims.table(file).get("fault", {}):
        command = [sys.executable, ROOT / ".ci" / "claims.py", file, "--fault", fault, "--jobs", "1"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        assert "FAILS" in done.stdout
