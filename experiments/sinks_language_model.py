"""Where a language model puts the weight that it has no use for, and what becomes of it without that place.

python -m experiments.sinks_language_model

What the page *Sinks* says of the language model comes from here, measured on the texts on which no head was ever
chosen. It takes about five minutes on one core.
"""

from typing import Any

import torch
from torch import Tensor

from experiments import keep
from surgeon.ablations.sinks import hidden_from_others, muted_for_others
from surgeon.models import language_model
from surgeon.models.cuts import Cut, windowed
from surgeon.models.texts import load_texts

PLACE = "surgeon/ablations/sinks_language_model.json"
SEEN = 8  # tokens that a row has before it, from where on rows are measured
OTHER = 10  # a token that is no sink, to compare with
WINDOW = 32
FEW = slice(0, 20, 4)  # texts in which it is seen where weight moves


def hidden(token: int) -> Cut:
    """A token that no other may look at; its own row stays as it was."""
    return Cut(mask=lambda T: hidden_from_others(T, token))


def muted(token: int) -> Cut:
    """A token whose value counts as zero for all others: what they give it goes to nobody."""
    return Cut(weights=lambda weights, seen: muted_for_others(weights, token))


CUTS: dict[str, list[Cut]] = {
    "as trained": [],
    "first hidden": [hidden(0)],
    "first muted": [muted(0)],
    "another hidden": [hidden(OTHER)],
    "another muted": [muted(OTHER)],
    "window": [windowed(WINDOW)],
    "window, first kept": [windowed(WINDOW, sinks=1)],
    "window, first kept, muted": [windowed(WINDOW, sinks=1), muted(0)],
    "window, four kept": [windowed(WINDOW, sinks=4)],
}


def brought(model: Any, values: Tensor) -> Tensor:
    """What each value is once it has gone through its head's part of the last map, [layers, heads, T, width]."""
    sizes = model.sizes
    of_head = values.repeat_interleave(sizes.heads // sizes.key_heads, 1)  # [L, H, T, d]
    found = []
    for layer, V in zip(model.layers, of_head, strict=True):
        W_O = layer.W_O.weight.unflatten(1, (sizes.heads, sizes.d_k)).permute(1, 2, 0)  # [H, d, width]
        found.append(V @ W_O)
    return torch.stack(found)


@torch.no_grad()
def look(model: Any, text: str) -> dict[str, Tensor]:
    """Of each head, on one text: the weight on the first token, and how long its value is beside others'."""
    trace = model.trace(text)
    given = brought(model, trace.values)
    length = given.norm(dim=-1)
    norm = trace.hidden.norm(dim=-1)  # [L + 1, T]
    return {
        "weight": trace.weights[:, :, SEEN:, 0].mean(-1),
        "value": length[..., 0] / length[..., 1:].median(-1).values,
        "even": (1 / torch.arange(SEEN + 1, len(trace.tokens) + 1)).mean(),
        "hidden": norm[:, 0] / norm[:, 1:].median(-1).values,
        "given": given[..., [0, OTHER], :],  # by the first token, and by another
    }


@torch.no_grad()
def moved(model: Any, text: str) -> dict[str, float]:
    """What later rows than the other token's give the first token, and the second: as trained, the first hidden.

    Means over rows and all heads, to three digits.
    """
    names = ("as trained", "first hidden")
    whole, cut = (model.trace(text, cuts=CUTS[name]).weights[:, :, OTHER + 1 :] for name in names)
    weights = {"first": whole[..., 0], "second": whole[..., 1], "second, first hidden": cut[..., 1]}
    return {where: round(float(each.mean()), 3) for where, each in weights.items()}


def alike(given: Tensor) -> Tensor:
    """How alike a token's gifts are between texts, the mean cosine of two: from [texts, layers, heads, 2, width]."""
    unit = given / given.norm(dim=-1, keepdim=True)
    n = len(unit)
    return (unit.sum(0).square().sum(-1) - n) / (n * (n - 1))  # [L, H, 2]


def main() -> None:
    torch.set_num_threads(1)  # so that sums are made in one order, whatever the number of cores
    model, texts = language_model.load(), load_texts(seen=False)
    looks = [look(model, text.text) for text in texts]
    stacked = {what: torch.stack([one[what] for one in looks]) for what in looks[0]}
    same = alike(stacked.pop("given"))
    mean = {what: each.mean(0) for what, each in stacked.items()}
    places = {f"{text.kind}: {text.name}": moved(model, text.text) for text in texts[FEW]}
    losses = {}
    for name, cuts in CUTS.items():
        losses[name] = [model.loss(text.text, cuts=cuts) for text in texts]
        print(f"{name}: {sum(losses[name]) / len(texts):.3f}", flush=True)
    found: dict[str, Any] = {
        "texts": [f"{text.kind}: {text.name}" for text in texts],
        "tokens": [len(model.tokenize(text.text)[0]) for text in texts],
        "seen": SEEN,
        "other": OTHER,
        "window": WINDOW,
        "even": float(mean["even"]),
        "weight": mean["weight"].tolist(),
        "value": mean["value"].tolist(),
        "hidden": mean["hidden"].tolist(),
        "alike": same.tolist(),
        "moved": places,
        "losses": losses,
    }
    print(keep(PLACE, found))


if __name__ == "__main__":
    main()
