"""Small models in which most rows want nothing, with a sink and without."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor, nn

from surgeon.anatomy.masks import create_causal_mask
from surgeon.arguments import check_seed, positive_integer
from surgeon.models.adamw import AdamW
from surgeon.models.echoes import MARK, START, Echoes, draw_echoes
from surgeon.models.training import learning_rate_at
from surgeon.models.transformer import (
    Block,
    TransformerLM,
    cross_entropy,
    losses,
    make_model,
)

SEEN = 8  # words that a row has before it, from where on rows are measured
# what `make_model` is told of a sink, and whether texts have a start token
DESIGNS: dict[str, tuple[bool | float, bool]] = {
    "none": (False, True),
    "plus one": (0.0, True),
    "learned": (True, True),
    "none, no start token": (False, False),
}


class Idle(NamedTuple):
    """What `train_with_sinks` finds.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a model, recorded step and kind of row: `design`, `seed`,
        `step`, `kind` ("idle": at a letter; "asking": at a mark), and the
        means over such rows of the texts held out, from the ninth word on:
        the weight on the `first` token, on its `own`, on the one `before`,
        on other `marks`, on the `rest` of the keys and on `nobody`; the
        length `brought` of what attention adds; `excess`, the loss above
        the least, in nats; and `hidden`, how much that rises if no later row
        may see the first token; `unsunk`, if the sink is taken away.
    values : pandas.DataFrame
        One row a model and recorded step: `design`, `seed`, `step`, and how
        long a value is once it has gone through the last map, the mean: of
        the `first` token, of `letters`, of `marks`; and the `sink`.
    models : dict of (str, int) to TransformerLM
        The models, trained, by design and seed.
    """

    rows: pd.DataFrame
    values: pd.DataFrame
    models: dict[tuple[str, int], TransformerLM]


def train_with_sinks(
    designs: Sequence[str] = tuple(DESIGNS),
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 600,
    batch_size: int = 32,
    length: int = 24,
    learning_rate: float = 1e-2,
    held_out: int = 512,
    record_every: int = 200,
) -> Idle:
    """Train models of one layer and one head, to repeat what a mark asks for.

    Designs of one seed start from the same weights, and read the same texts
    in the same order, but for the start token.

    Parameters
    ----------
    designs : sequence of str
        "none"; "plus one", a sink of 0; "learned", one that begins there;
        "none, no start token".
    seeds : sequence of int
        One model a design for each.
    steps, batch_size, length, learning_rate
        As `surgeon.models.training.train` takes them.
    held_out : int
        Number of texts to measure on.
    record_every : int
        Steps between two rows of a table; the end is always recorded.

    Returns
    -------
    Idle

    Raises
    ------
    ValueError
        If a design is unknown, if there is none or no seed, if `length` is
        not longer than 8, or if a number is out of its range.

    Notes
    -----
    Source: guo2024 (book/references.bib), whose task this is, but for small
    things.

    Examples
    --------
    >>> found = train_with_sinks(["learned"], steps=2, length=12)
    >>> len(found.rows), len(found.values)
    (2, 1)
    """
    for name in designs:
        if name not in DESIGNS:
            raise ValueError(
                f"designs must be among {', '.join(DESIGNS)}, got {name!r}."
            )
    if not len(designs) or not len(seeds):
        raise ValueError(
            "designs and seeds must hold at least one each, got"
            f" {len(designs)} and {len(seeds)}."
        )
    if positive_integer("length", length) <= SEEN:
        raise ValueError(f"length must be above {SEEN}, got {length}.")
    sizes = {"steps": steps, "batch_size": batch_size}
    for name, size in (sizes | {"record_every": record_every}).items():
        positive_integer(name, size)
    rows: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    models = {}
    mask = create_causal_mask(length)
    for seed in map(check_seed, seeds):
        for name in designs:
            sink, start = DESIGNS[name]
            source = torch.Generator().manual_seed(seed)
            count = steps * batch_size
            words = draw_echoes(count, length, source, start=start).words
            batches = words.unflatten(0, (steps, batch_size))
            tests = draw_echoes(held_out, length, source, start=start)
            model = make_model(
                START + 1,
                length,
                num_heads=1,
                num_layers=1,
                sink=sink,
                seed=seed,
            )
            rule = AdamW(model.parameters())
            for step in range(1, steps + 1):
                batch = batches[step - 1]
                loss = cross_entropy(
                    model(batch[:, :-1], mask)[0], batch[:, 1:]
                )
                loss.backward()
                rule.step(
                    learning_rate_at(step - 1, steps, learning_rate, 20)
                )
                if step % record_every == 0 or step == steps:
                    who = {"design": name, "seed": seed, "step": step}
                    by_kind, lengths = examine_rows(model, tests)
                    rows += [who | one for one in by_kind]
                    values.append(who | lengths)
            models[name, seed] = model
    return Idle(pd.DataFrame(rows), pd.DataFrame(values), models)


@torch.no_grad()
def examine_rows(
    model: TransformerLM, tests: Echoes
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Where idle and asking rows look, and how long values are."""
    read, told = tests.words[:, :-1], tests.words[:, 1:]
    T = read.shape[1]
    mask = create_causal_mask(T)
    blind = mask.clone()
    blind[1:, 0] = -math.inf
    logits, (weights,) = model(read, mask)
    block = cast(Block, model.blocks[0])
    layer, places = block.attention, cast(nn.Embedding, model.position)
    excess = losses(logits, told).double() - tests.least
    paid = {
        "hidden": losses(model(read, blind)[0], told).double() - tests.least,
        "unsunk": excess,
    }
    if layer.sink is not None:
        kept, layer.sink = layer.sink, None
        without = losses(model(read, mask)[0], told).double()
        paid["unsunk"], layer.sink = without - tests.least, kept
    a = weights[:, 0]  # [B, T, T], of the one head
    x = block.norm_1(model.word(read) + places.weight[:T])
    brought_by = layer.W_V(x) @ layer.W_O.weight.T  # [B, T, d_model]
    marks = read == MARK
    on = {
        "first": a[..., 0],
        "own": a.diagonal(dim1=-2, dim2=-1),
        "before": pad_front(a.diagonal(-1, dim1=-2, dim2=-1)),
    }
    near = torch.ones(T, T, dtype=torch.bool).tril(-2)
    near[:, 0] = False
    far = a * near
    on["marks"] = (far * marks[:, None]).sum(-1)
    on["rest"] = (far * ~marks[:, None]).sum(-1)
    on["nobody"] = 1 - a.sum(-1)
    on["brought"] = (a @ brought_by).norm(dim=-1)
    on |= {"excess": excess}
    on |= {name: one - excess for name, one in paid.items()}
    late = torch.arange(T) >= SEEN
    kinds = {"idle": ~marks & late, "asking": marks & late}
    by_kind = [
        {"kind": kind}
        | {
            name: float(one[which].double().mean())
            for name, one in on.items()
        }
        for kind, which in kinds.items()
    ]
    length = brought_by.norm(dim=-1)
    letters = ~marks
    letters[:, 0] = False
    lengths = {
        "first": float(length[:, 0].mean()),
        "letters": float(length[letters].mean()),
        "marks": float(length[marks].mean()),
        "sink": math.nan if layer.sink is None else layer.sink.item(),
    }
    return by_kind, lengths


def pad_front(x: Tensor) -> Tensor:
    """[B, T - 1] to [B, T], a zero in front."""
    return torch.cat([torch.zeros_like(x[:, :1]), x], -1)


def hidden_from_others(T: int, token: int) -> Tensor:
    """Booleans [T, T]: one token is hidden from every row but its own.

    For `surgeon.models.cuts.Cut`, as its mask.

    Examples
    --------
    >>> hidden_from_others(3, 0).int().tolist()
    [[1, 1, 1], [0, 1, 1], [0, 1, 1]]
    """
    seen = torch.ones(T, T, dtype=torch.bool, device="cpu")
    seen[:, token] = False
    seen[token, token] = True
    return seen


def muted_for_others(weights: Tensor, token: int) -> Tensor:
    """Weights [..., T, T]: what one token got from other rows is lost.

    So their sums are what they are without it, as if its value were zero:
    for `surgeon.models.cuts.Cut`, as its weights.

    Examples
    --------
    >>> muted_for_others(torch.full((2, 2), 0.5), 0).tolist()
    [[0.5, 0.5], [0.0, 0.5]]
    """
    column = weights.clone()
    column[..., :, token] = 0
    column[..., token, token] = weights[..., token, token]
    return column
