"""Models told places in five ways, and in none, trained on short texts and asked about longer ones, from eight starts.

python -m experiments.longer

What the page *Positions* says of longer texts comes from here; the page itself trains one model with fewer steps. It
takes about half an hour on one core.
"""

from typing import Any

from experiments import keep
from surgeon.ablations.longer_texts import SCHEMES, TASKS, in_blocks, lengthen

PLACE = "surgeon/ablations/longer_texts.json"
SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
STEPS, LENGTH = 400, 24


def over_starts(seeds: list[int], **options: Any) -> dict[str, Any]:
    """By task and scheme, the excess of each start by blocks of places, [starts][blocks]."""
    return {
        task: {
            scheme: [in_blocks(lengthen(scheme, task=task, seed=seed, **options).excess) for seed in seeds]
            for scheme in SCHEMES
        }
        for task in TASKS
    }


if __name__ == "__main__":
    measured = over_starts(SEEDS, steps=STEPS, length=LENGTH)
    found = {"seeds": SEEDS, "steps": STEPS, "length": LENGTH, "tasks": measured}
    print(keep(PLACE, found))
