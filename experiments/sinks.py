"""Small models in which most rows want nothing, with a sink and without, from several starts.

python -m experiments.sinks [--starts 5]

What the page *Sinks* says of trained small models comes from here. It takes about five minutes on one core.
"""

import argparse
from typing import Any

import torch

from experiments import keep
from surgeon.ablations.sinks import DESIGNS, train_with_sinks
from surgeon.anatomy.masks import create_causal_mask
from surgeon.models.echoes import draw_echoes

PLACE = "surgeon/ablations/sinks.json"
LENGTH = 24
# the book's usual rate and steps, and twice the rate for longer
RATES = {"long": {"learning_rate": 1e-2, "steps": 600}, "usual": {"learning_rate": 5e-3, "steps": 400}}
ROWS = ("first", "own", "before", "marks", "rest", "nobody", "brought", "excess", "hidden", "unsunk")
VALUES = ("first", "letters", "marks", "sink")
DRAWN = 100  # the seed of the one text whose weights are kept


def of_design(name: str, seeds: list[int], **how: Any) -> dict[str, Any]:
    """What is kept of a design: a list entry a seed; and of the first seed, one text's weights."""
    found = train_with_sinks([name], seeds=seeds, length=LENGTH, record_every=how["steps"], **how)
    kept: dict[str, Any] = {
        kind: {what: list(found.rows[found.rows.kind == kind][what]) for what in ROWS} for kind in ("idle", "asking")
    }
    kept["values"] = {what: list(found.values[what]) for what in VALUES}
    if DESIGNS[name][0] is False:
        del kept["values"]["sink"]
    words = draw_echoes(1, LENGTH, DRAWN, start=DESIGNS[name][1]).words[:, :-1]
    with torch.no_grad():
        _, (weights,) = found.models[name, seeds[0]](words, create_causal_mask(LENGTH))
    rounded = [[round(a, 3) for a in row] for row in weights[0, 0].tolist()]
    return kept | {"text": words[0].tolist(), "weights": rounded}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    seeds = list(range(options.starts))
    kept: dict[str, Any] = {"seeds": seeds, "length": LENGTH}
    for rate, how in RATES.items():
        kept[rate] = how | {"designs": {name: of_design(name, seeds, **how) for name in DESIGNS}}
        print(rate, flush=True)
    print(keep(PLACE, kept))


if __name__ == "__main__":
    main()
