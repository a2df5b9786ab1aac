"""Each head of the specimen silenced on all forty topics, and a window mended by each of its first columns.

python -m experiments.specimen [--draws 10000]

Everything is paired: the bootstrap draws topics, the same before a cut and after it. An interval holds for one number,
or for all 72 heads and three measures at once. What the page *Surgery on a trained model* says of single heads comes
from here; the page itself silences each on eight topics. It takes about five minutes on one core.
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments import keep
from surgeon import create_window_mask
from surgeon.ablations.specimen_surgery import (
    MEASURES,
    TAILS,
    distinct,
    embed_pairs,
    load_pairs,
    resampled,
    separation,
    silence_each,
)
from surgeon.models.cuts import Cut
from surgeon.models.encoder import HEADS, LAYERS
from surgeon.models.specimen import Specimen, load

PLACE = "surgeon/ablations/specimen_heads.json"
COLUMNS = 5  # the shortest sentences have eight tokens
SEED = 0


def of_heads(specimen: Specimen, pairs: pd.DataFrame, whole: Tensor, draws: int) -> dict[str, Any]:
    """How far each head's silence changes each measure, [6][12]: `change`, and where 95% of the draws lie.

    `at_once_low` and `at_once_high` hold for all heads and the three measures of order at once: a standard error is
    multiplied by what the largest of all studentised deviations stays below in 95% of the draws.
    """
    sentences, places = distinct(pairs)
    cut = silence_each(specimen, sentences)[:, :, places].flatten(0, 1)  # [72, 2, pairs, 384]
    named = {f"{n // HEADS}.{n % HEADS}": vectors for n, vectors in enumerate(cut)}
    before = resampled({"whole": whole}, pairs, whole, draws=draws, seed=SEED)["whole"]
    after = resampled(named, pairs, whole, draws=draws, seed=SEED)
    changes = np.array([[head[name] - before[name] for name in MEASURES] for head in after.values()])
    change, drawn = changes[..., 0], changes[..., 1:]  # [72, 4], [72, 4, draws]
    error = drawn.std(-1)
    low, high = np.quantile(drawn, TAILS, axis=-1)
    deviation = np.abs(drawn - change[..., None])[:, :3]
    sure = error[:, :3, None] == 0  # a change that no draw changes
    studentised = np.divide(deviation, error[:, :3, None], out=np.zeros_like(deviation), where=~sure)
    factor = float(np.quantile(studentised.max((0, 1)), 0.95))
    tables = {
        "change": change,
        "low": low,
        "high": high,
        "at_once_low": change - factor * error,
        "at_once_high": change + factor * error,
    }
    shape = (LAYERS, HEADS, len(MEASURES))
    per_measure = {name: table.reshape(shape).transpose(2, 0, 1) for name, table in tables.items()}
    moved = drawn[:, MEASURES.index("moved")].reshape(LAYERS, HEADS, -1)
    last, others = moved[-1], moved[:-1].reshape((LAYERS - 1) * HEADS, -1)
    ratios = {
        "last_over_others": last.mean(0) / others.mean(0),
        "least_of_last_over_most_of_others": last.min(0) / others.max(0),
    }
    return {
        "factor": factor,
        "heads": {
            measure: {name: table[n].tolist() for name, table in per_measure.items()}
            for n, measure in enumerate(MEASURES)
        },
        "moved": {name: np.quantile(ratio, (0.5, *TAILS)).tolist() for name, ratio in ratios.items()},
    }


def of_columns(specimen: Specimen, pairs: pd.DataFrame, whole: Tensor, draws: int) -> dict[str, Any]:
    """What a window of four keys each way gains by one column open to all, and what [CLS] gains more than another.

    Each is a change of the share over unrelated pairs, with its interval.
    """

    def window(column: int | None) -> list[Cut]:
        def mask_of(T: int) -> Tensor:
            seen = torch.arange(T) == (-1 if column is None else column % T)
            return create_window_mask(T, 4).masked_fill(seen, 0.0)

        return [Cut(mask=mask_of)]

    def embedded(column: int | None) -> Tensor:
        """Sentences of one length at a time, so that nothing is padded and the last column is [SEP]."""
        sentences, places = distinct(pairs)
        lengths = torch.tensor([len(ids) for ids, _ in specimen.tokenize(sentences)])
        vectors = whole.new_empty(len(sentences), whole.shape[-1])
        for T in lengths.unique():
            which = (lengths == T).nonzero()[:, 0].tolist()
            vectors[which] = specimen.encode([sentences[n] for n in which], cuts=window(column))
        return vectors[places]

    def gain(one: Tensor, other: Tensor) -> list[float]:
        table = separation(one, pairs, whole, beside=other, draws=draws, seed=SEED).set_index("measure")
        return [float(table.loc["over_unrelated", each]) for each in ("change", "change_low", "change_high")]

    bare = embedded(None)
    columns = {"[CLS]": 0, **{str(n): n for n in range(1, COLUMNS)}, "[SEP]": -1}
    opened = {name: embedded(column) for name, column in columns.items()}
    return {
        "columns": {name: gain(one, bare) for name, one in opened.items()},
        "cls_over": {name: gain(opened["[CLS]"], one) for name, one in opened.items() if name != "[CLS]"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    specimen, pairs = load(), load_pairs()
    whole = embed_pairs(specimen, pairs)
    found = {"seed": SEED, "draws": options.draws, "topics": int(pairs.topic.nunique())}
    found |= of_columns(specimen, pairs, whole, options.draws)
    found |= of_heads(specimen, pairs, whole, options.draws)
    print(keep(PLACE, found))


if __name__ == "__main__":
    main()
