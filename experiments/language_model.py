"""What each cut costs the language model, text by text: too long for the page *Surgery on a language model*.

python -m experiments.language_model [--part cuts|layers|heads|groups|all]

Cuts in all heads are tried on all 48 texts. Each head is silenced alone on the first 48 tokens of twelve texts, one of
each kind, from the half on which heads may be chosen; each layer alone loses its scale there as well. The heads whose
silence costs most are then silenced together on the other half, beside as many drawn at random and the ones that cost
least. It takes about half an hour on one core. What a part has found is kept, so that parts can be run one by one.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments import ROOT, keep
from surgeon.ablations.language_model import CUTS, each_apart, mean_losses
from surgeon.models.cuts import Cut, silent, unscaled
from surgeon.models.language_model import LanguageModel, load
from surgeon.models.texts import load_texts

PLACE = "surgeon/ablations/language_model.json"
SHORT = 48  # tokens
SEED = 0


def short_texts(model: LanguageModel) -> list[list[int]]:
    """The beginning of one text of each kind, of the half on which heads are chosen."""
    first = {text.kind: text for text in reversed(load_texts(seen=True))}
    return [model.tokenize(text.text)[0][:SHORT] for text in reversed(first.values())]


def of_cuts(model: LanguageModel, found: dict[str, Any]) -> dict[str, Any]:
    texts = load_texts()
    words = [text.text for text in texts]
    losses = {name: mean_losses(model, words, cuts).tolist() for name, cuts in CUTS.items()}
    return {"texts": [f"{text.kind}: {text.name}" for text in texts], "cuts": losses}


def of_layers(model: LanguageModel, found: dict[str, Any]) -> dict[str, Any]:
    make = lambda which: unscaled(heads=which, d_k=64)
    layers = [each_apart(model, ids, make, heads=False) for ids in short_texts(model)]
    return {"unscaled": np.mean(layers, axis=0).tolist()}


def of_heads(model: LanguageModel, found: dict[str, Any]) -> dict[str, Any]:
    make = lambda which: Cut(heads=which, weights=silent)
    texts = short_texts(model)
    before = found.get("before", {}) | {"short": mean_losses(model, texts).tolist()}
    return {"heads": np.stack([each_apart(model, ids, make) for ids in texts], -1).tolist(), "before": before}


def of_groups(model: LanguageModel, found: dict[str, Any]) -> dict[str, Any]:
    cost = (np.array(found["heads"]) - np.array(found["before"]["short"])).mean(-1)
    order = [[int(n) for n in divmod(at, cost.shape[1])] for at in np.argsort(-cost, axis=None)]
    rng = np.random.default_rng(SEED)
    members = {"3 dearest": order[:3], "9 dearest": order[:9], "27 dearest": order[:27]}
    members |= {f"9 at random, {n}": [order[m] for m in rng.permutation(len(order))[:9]] for n in range(3)}
    members |= {f"27 at random, {n}": [order[m] for m in rng.permutation(len(order))[:27]] for n in range(3)}
    members |= {"27 cheapest": order[-27:], "90 cheapest": order[-90:]}
    words = [text.text for text in load_texts(seen=False)]
    groups = {}
    for name, heads in members.items():
        cuts = [Cut(layer, head, weights=silent) for layer, head in heads]
        groups[name] = mean_losses(model, words, cuts).tolist()
    before = found["before"] | {"unseen": mean_losses(model, words).tolist()}
    return {"groups": groups, "members": members, "before": before}


PARTS: dict[str, Callable[[LanguageModel, dict[str, Any]], dict[str, Any]]] = {
    "cuts": of_cuts,
    "layers": of_layers,
    "heads": of_heads,
    "groups": of_groups,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    model = load()
    for name, measure in PARTS.items():
        if options.part in (name, "all"):
            file = ROOT / PLACE
            found = json.loads(file.read_text(encoding="utf8")) if file.exists() else {}
            found = {key: value for key, value in found.items() if key not in ("date", "versions")}
            found |= measure(model, found)
            print(keep(PLACE, found))


if __name__ == "__main__":
    main()
