"""Every head of the language model against the pictures of the assignment, and the heads of repetition cut.

python -m experiments.language_heads [--count 8] [--draws 20]

Pictures are measured on the forty-eight texts of `surgeon.models.texts`, in two halves, for the language model and the
encoder. Repetition is tested on tokens drawn at random and said twice: the five heads that look most at what followed,
chosen on the seen texts, are silenced together, beside as many others at random, of all layers and of the same layers.
It takes some ten minutes on one quiet core.
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from experiments import keep
from surgeon import create_causal_mask
from surgeon.ablations.language_heads import FILE, random_repeat, resemblance
from surgeon.imaging.patterns import uniform_weights
from surgeon.imaging.pictures import repeat_cells, weight_on
from surgeon.models import language_model, specimen
from surgeon.models.cuts import Cut, silent
from surgeon.models.language_model import LanguageModel, Trace
from surgeon.models.texts import Text, load_texts
from surgeon.models.transformer import losses

PLACE = f"surgeon/ablations/{FILE}"
BEST = 5  # heads silenced together
LENGTH = 32  # tokens drawn, and then said again
TRACED = 4  # of the random repeats, whose weights are looked at too
SEED = 0

Heads = Sequence[tuple[int, int]]


def silencing(heads: Heads) -> list[Cut]:
    """Cuts that silence these heads, a layer each."""
    layers = sorted({layer for layer, _ in heads})
    return [Cut(layers=n, heads=[head for layer, head in heads if layer == n], weights=silent) for n in layers]


def rounded(numbers: Tensor) -> Any:
    return [[round(each, 4) for each in row] for row in numbers.tolist()]


def over_texts(found: Sequence[tuple[Text, dict[str, Tensor], dict[str, Tensor]]], absent: str) -> dict[str, Any]:
    """Means over the texts of either half, of every head and of an even one, for each picture.

    What followed a token is asked where all is said twice; elsewhere a word or two is.
    """
    kept = {}
    for picture in found[0][1]:
        if picture == absent:
            continue
        here = [one for one in found if picture != "followed" or one[0].kind == "repetition"]
        halves = {}
        for name, seen in (("seen", True), ("unseen", False)):
            heads = torch.stack([one[picture] for text, one, _ in here if text.seen == seen])
            even = torch.stack([one[picture] for text, _, one in here if text.seen == seen])
            halves[name] = heads, float(even.nanmean())
        unseen = halves["unseen"][0]
        error = unseen.std(0) / len(unseen) ** 0.5
        means = {name: rounded(heads.nanmean(0)) for name, (heads, _) in halves.items()}
        kept[picture] = {
            "heads": means | {"error": rounded(error)},
            "even": {name: even for name, (_, even) in halves.items()},
        }
    return kept


def of_sink(model: LanguageModel, trace: Trace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first token's share of the weight and of what is brought, [2, L, H]; its value and itself over the others."""
    groups = model.sizes.heads // model.sizes.key_heads
    brought = []
    for weights, values, layer in zip(trace.weights, trace.values, model.layers, strict=True):
        out = layer.W_O.weight.T.unflatten(0, (model.sizes.heads, -1))  # [H, d_k, D]
        lengths = (values.repeat_interleave(groups, 0) @ out).norm(dim=-1)  # [H, T]
        brought.append(weights * lengths[:, None])
    share = [each[..., 1:, 0].div(each[..., 1:, :].sum(-1)).mean(-1) for each in (trace.weights, torch.stack(brought))]
    lengths, hidden = trace.values.norm(dim=-1), trace.hidden.norm(dim=-1)
    return *share, lengths[..., 0] / lengths[..., 1:].mean(-1), hidden[..., 0] / hidden[..., 1:].mean(-1)


def of_texts(model: LanguageModel, encoder: specimen.Specimen) -> dict[str, Any]:
    """The pictures in both models, and the first token's part in one."""
    read, other, sinks = [], [], []
    for text in load_texts():
        trace = model.trace(text.text)
        ids, tokens, T = trace.ids, trace.tokens, len(trace.ids)
        mask = create_causal_mask(T)
        even = resemblance(uniform_weights(mask), ids, tokens, mask)
        read.append((text, resemblance(trace.weights, ids, tokens, mask), even))
        sinks.append(of_sink(model, trace))
        ((ids, tokens),) = encoder.tokenize([text.text])
        even = resemblance(uniform_weights(shape=(len(ids), len(ids))), ids, tokens)
        other.append((text, resemblance(encoder.trace(text.text).weights, ids, tokens), even))
    sample = next(one for text, one, _ in read if not text.seen)
    weight, brought, values, hidden = (torch.stack(each) for each in zip(*sinks, strict=True))
    return {
        "pictures": {"decoder": over_texts(read, "next"), "encoder": over_texts(other, "")},
        "sample": {name: rounded(each) for name, each in sample.items() if name != "next"},
        "sink": {"weight": rounded(weight.mean(0)), "brought": rounded(brought.mean(0))},
        "values": rounded(values.median(0).values),
        "hidden": [round(each, 3) for each in hidden.median(0).values.tolist()],
    }


@torch.no_grad()
def of_cut(model: LanguageModel, ids: Tensor, heads: Heads) -> dict[str, Any]:
    """The loss on the first copy and on the second, the mean over random repeats [B, 2 length]."""
    logits = model(ids, silencing(heads))
    each = losses(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).unflatten(0, (len(ids), -1))
    first, second = each[:, : ids.shape[1] // 2 - 1], each[:, ids.shape[1] // 2 :]
    per_text = second.mean(1).tolist()
    error = statistics.stdev(per_text) / len(per_text) ** 0.5
    return {
        "heads": [list(one) for one in heads],
        "first": float(first.mean()),
        "second": float(second.mean()),
        "error": error,
    }


def of_repeats(model: LanguageModel, best: Heads, previous: tuple[int, int], count: int, draws: int) -> dict[str, Any]:
    """What silencing does to the second copy, and to who looks at what followed."""
    L, H = model.sizes.layers, model.sizes.heads
    made = [random_repeat(LENGTH, model.sizes.vocabulary, SEED + n) for n in range(count)]
    ids = torch.tensor(made)
    generator = torch.Generator().manual_seed(SEED)
    others = [(layer, head) for layer in range(L) for head in range(H) if (layer, head) not in best]

    def drawn(among: Heads, number: int) -> list[tuple[int, int]]:
        return [among[n] for n in torch.randperm(len(among), generator=generator)[:number].tolist()]

    cuts: list[tuple[str, Heads]] = [("none", []), ("best", list(best)), ("previous", [previous])]
    beside = [(previous[0], head) for head in range(H) if head != previous[1]]
    cuts += [("beside previous", [one]) for one in beside]
    for _ in range(draws):
        cuts.append(("anywhere", drawn(others, len(best))))
        same = []
        for layer in sorted({layer for layer, _ in best}):
            here = sum(one == layer for one, _ in best)
            same += drawn([one for one in others if one[0] == layer], here)
        cuts.append(("same layers", same))
    repeats = []
    for name, heads in cuts:
        repeats.append({"cut": name} | of_cut(model, ids, heads))
        print(name, heads, f"{repeats[-1]['second']:.2f}", flush=True)
    cells = repeat_cells(made[0])
    mask = create_causal_mask(len(made[0]))
    looks = {
        name: rounded(
            torch.stack(
                [weight_on(model.trace(one, cuts=cut).weights, cells, mask=mask) for one in made[:TRACED]]
            ).mean(0)
        )
        for name, cut in (("whole", []), ("cut", silencing([previous])))
    }
    return {"repeats": repeats, "induction": looks}


def most(pictures: dict[str, Any], name: str, number: int) -> list[tuple[int, int]]:
    """The heads that resemble a picture most, on seen texts."""
    seen = torch.tensor(pictures["decoder"][name]["heads"]["seen"])
    order = seen.flatten().argsort(descending=True)[:number].tolist()
    return [divmod(n, seen.shape[1]) for n in order]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8, help="how many random repeats")
    parser.add_argument("--draws", type=int, default=20, help="how many sets of other heads, of either kind")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = language_model.load()
    found = of_texts(model, specimen.load())
    best, (previous,) = most(found["pictures"], "followed", BEST), most(found["pictures"], "previous", 1)
    found |= {"best": [list(one) for one in best], "previous": list(previous)}
    found |= of_repeats(model, best, previous, asked.count, asked.draws)
    plain = [text.text for text in load_texts(seen=False) if text.kind != "repetition"]
    found["prose"] = {
        name: [model.loss(text, cuts=cuts) for text in plain]
        for name, cuts in (("none", []), ("best", silencing(best)))
    }
    print(keep(PLACE, found | {"number": asked.count, "length": LENGTH, "seed": SEED}))


if __name__ == "__main__":
    main()
