"""Every bug of the zoo beside its sound twin, from sixteen starts, and three leaks after four times the training.

python -m experiments.zoo [--starts 16]

A start is a seed: of the weights, the texts and dropout, the same for a bug and its twin. What a page says of the zoo
comes from here (`surgeon.ablations.bug_starts` reads it); the pages of its families run one start beside it. It takes
about fifteen minutes on one core.
"""

import argparse
import math
import time
from collections.abc import Iterable
from typing import Any

import torch

from experiments import keep
from surgeon.ablations.bug_zoo import compare_bugs

PLACE = "surgeon/ablations/bug_starts.json"
MEASURED = ("gap", "use_gap", "whole_gap")
LONGER = 4  # times the steps that pages train
LEAKS = ("masked_after_softmax", "values_one_late", "softmax_over_queries")  # they hide at first


def over_starts(faults: Iterable[str] | None, seeds: list[int], **options: Any) -> dict[str, Any]:
    """What `compare_bugs` measures of each bug, a list over the starts; None where it was not tried."""
    found: dict[str, Any] = {"source": [], "sound": [], "bugs": {}}
    for seed in seeds:
        began = time.perf_counter()
        one = compare_bugs(faults, seed=seed, **options)
        found["source"].append(one.source_loss)
        found["sound"].append(one.sound_loss)
        for row in one.summary.itertuples():
            bug = found["bugs"].setdefault(row.fault, {"changes": [], "loss": []} | {name: [] for name in MEASURED})
            bug["changes"].append(row.changes)
            for name in ("loss", *MEASURED):
                value = float(getattr(row, name))
                bug[name].append(None if math.isnan(value) else value)
        print(f"seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    seeds = list(range(1, options.starts + 1))
    found = {"seeds": seeds, "steps": 80} | over_starts(None, seeds, steps=80)
    found["longer"] = {"steps": 80 * LONGER} | over_starts(LEAKS, seeds, steps=80 * LONGER)
    print(keep(PLACE, found))


if __name__ == "__main__":
    main()
