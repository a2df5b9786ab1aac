"""Small language models whose scores grow, and what holds them, from several starts.

python -m experiments.sharp_scores [--starts 6]

At ten times the book's rate of learning, where scores grow, and at the book's own. What the page *Sharp scores* says
of several starts comes from here; the page itself trains two models for a few steps. It takes about six minutes on one
core.
"""

import argparse
from typing import Any

import torch

from experiments import keep
from surgeon.ablations.sharp_scores import LIMIT, REMEDIES, Remedied, train_with_remedies

PLACE = "surgeon/ablations/sharp_scores.json"
STEPS, EVERY = 200, 25
RATES = {"fast": 5e-2, "usual": 5e-3}
DECAY = 0.1


def of_one(found: Remedied, remedy: str) -> dict[str, Any]:
    """What is kept of a remedy, a list entry a seed: what its heads reach, and what it cost."""
    heads, losses, halves = (table[table.remedy == remedy] for table in found[:3])
    ends = heads[heads.step.isin((0, STEPS))]
    by_head = lambda table, name: [
        [list(at[name]) for _, at in one.groupby("step")] for _, one in table.groupby("seed")
    ]
    in_half = {
        dtype: {name: list(table[name]) for name in ("excess", "moved", "other", "overflow")}
        for dtype, table in halves.groupby("dtype", sort=False)
    }
    return {
        "excess": list(losses[losses.step == STEPS].excess),
        "largest": by_head(heads, "largest"),  # [seed][step][head], layer by layer
        "entropy": by_head(ends, "entropy"),  # [seed][start and end][head]
        "gradient": by_head(ends, "gradient"),
        "halves": in_half,
    }


def at_rate(rate: float, seeds: list[int]) -> dict[str, Any]:
    how: dict[str, Any] = {"learning_rate": rate, "steps": STEPS, "record_every": EVERY, "seeds": seeds}
    found = train_with_remedies(**how)
    kept = {remedy: of_one(found, remedy) for remedy in REMEDIES}
    decayed = train_with_remedies(["none"], weight_decay=DECAY, **how)
    return {"learning_rate": rate, "remedies": kept | {"decayed": of_one(decayed, "none")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    seeds = list(range(options.starts))
    found: dict[str, Any] = {"seeds": seeds, "steps": STEPS, "every": EVERY, "limit": LIMIT, "decay": DECAY}
    print(keep(PLACE, found | {name: at_rate(rate, seeds) for name, rate in RATES.items()}))


if __name__ == "__main__":
    main()
