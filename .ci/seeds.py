"""Runs every page that draws with other seeds: how many of each claim's runs hold, and how near its bound they come.

Called by `make seeds`. What it finds is kept in `book/claims/<page>.draws.json`, where the ledger reads it.

python .ci/seeds.py [page.md ...] [--draws 20] [--threads 1] [--jobs 2] [--dry]
"""

import argparse
import datetime
import json
import math
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import claims

ROOT = claims.ROOT
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from surgeon_book.evidence import digest  # noqa: E402

VERSIONS = ("torch", "numpy")


def inside(made: dict[str, Any]) -> float:
    """How far within its bound a value is; below 0 it breaks it."""
    if made["low"] is None and made["high"] is None:
        return 0.0 if made["holds"] else -1.0
    value, gaps = made["value"], []
    if math.isnan(value):
        return -math.inf
    if made["low"] is not None:
        gaps.append(value - made["low"])
    if made["high"] is not None:
        gaps.append(made["high"] - value)
    return min(gaps)


def gathered(page: Path, runs: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By claim, the number of its runs, of those in which it held, and the value that came nearest to the bound."""
    found: dict[str, dict[str, Any]] = {}
    for said in claims.statements(page):
        mine = [made for run in runs for made in run if made["says"].startswith(said)]
        if not mine:
            continue
        nearest = min(mine, key=inside)
        values = sorted(float(made["value"]) for made in mine)
        middle = values[len(values) // 2]
        found[said] = {"runs": len(mine), "held": sum(made["holds"] for made in mine)}
        if nearest["low"] is not None or nearest["high"] is not None:
            found[said] |= {"nearest": float(f"{nearest['value']:.4g}"), "median": float(f"{middle:.4g}")}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--draws", type=int, default=20, help="how many seeds, from 1 on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs side by side")
    parser.add_argument("--dry", action="store_true", help="tell what came out, and keep nothing")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before PyTorch is imported
    broken = 0
    for page in [page.resolve() for page in options.pages] or claims.pages():
        drawn = any(claims.SEED.search(cell) for cell in claims.cells(page))
        seeds = list(range(1, options.draws + 1)) if drawn else [None]
        began = time.perf_counter()
        done = list(claims.side_by_side([(page, seed) for seed in seeds], options.jobs))
        found = gathered(page, [run["claims"] for run in done])
        print(f"{page.stem}: {len(seeds)} runs, {time.perf_counter() - began:.0f} s", flush=True)
        for said, each in found.items():
            if each["held"] < each["runs"]:
                broken += 1
                print(
                    f"  holds in {each['held']} of {each['runs']}: {said} ({each.get('nearest', 'false')})", flush=True
                )
        if not options.dry:
            kept = {
                "date": datetime.date.today().isoformat(),
                "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
                "draws": len(seeds) if drawn else 0,
                "files": {name: digest(ROOT / name) for name in done[0]["files"]},
                "claims": found,
            }
            text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
            file = claims.table_of(page).with_suffix(".draws.json")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
