"""Run every page with other seeds, with one thread and two: do its claims hold? Called by `make seeds`.

python .ci/seeds.py [page.md ...] [--seeds 1 2 3 4] [--threads 1 2]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parent.parent
SEED = re.compile(r"^seed = \d+", re.MULTILINE)


def program(page: Path, seed: int) -> str | None:
    """The page's cells as one script with another seed; None if the page has no seed."""
    cells = [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code"]
    code = "\n\n".join(cells)
    return SEED.sub(f"seed = {seed}", code) if SEED.search(code) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    broken = 0
    for page in options.pages or sorted((ROOT / "book").rglob("*.md")):
        for seed in options.seeds:
            code = program(page, seed)
            if code is None:
                continue
            for threads in options.threads:
                began = time.perf_counter()
                with tempfile.TemporaryDirectory() as folder:
                    script = Path(folder, "page.py")
                    script.write_text(code, encoding="utf8")
                    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
                    run = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
                broken += run.returncode != 0
                last = run.stderr.strip().splitlines()[-1:] if run.returncode else ["holds"]
                print(
                    f"{page.stem}, seed {seed}, {threads} thread(s), {time.perf_counter() - began:.0f} s: {last[0]}",
                    flush=True,
                )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
