"""Scores that grow in training, and four things that hold them."""

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor, nn

from surgeon.anatomy.dot_product import Stages, attend
from surgeon.anatomy.heads import (
    MultiHeadAttention,
    merge_heads,
    read_for_heads,
    split_heads,
)
from surgeon.anatomy.masks import create_causal_mask
from surgeon.anatomy.qk_clip import clip_heads
from surgeon.anatomy.softmax import stable_softmax
from surgeon.arguments import check_seed, positive_integer
from surgeon.imaging.patterns import row_entropy
from surgeon.models.adamw import AdamW
from surgeon.models.english import english_grammar
from surgeon.models.grammar import Grammar
from surgeon.models.training import learning_rate_at
from surgeon.models.transformer import TransformerLM, losses, make_model

# the cap of the one, and the threshold of the other
LIMIT = 20.0
# what `MultiHeadAttention` is given; clipping is a step of training instead
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "normalised": {"qk_norm": "rms"},
    "cosine": {"qk_norm": "l2"},
    "capped": {"softcap": LIMIT},
    "clipped": {},
    "temperature": {"temperature": True},
}
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Watched(nn.Module):
    """A layer of self-attention that keeps its stages.

    Its output is that of the layer, to the last bit.

    Parameters
    ----------
    layer : MultiHeadAttention
        With as many key heads as query heads, and without positions.
    """

    def __init__(self, layer: MultiHeadAttention) -> None:
        super().__init__()
        self.layer = layer
        self.stages: Stages | None = None  #: of the last pass

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As the layer's own."""
        layer = self.layer
        Q, K, V = (
            split_heads(linear(x), layer.num_heads)
            for linear in (layer.W_Q, layer.W_K, layer.W_V)
        )
        additive = read_for_heads(mask, Q, K, None)
        if layer.qk_norm is not None:
            Q, K = layer.qk_norm(Q, K)
        stages = attend(Q, K, V, additive, layer.scale, softcap=layer.softcap)
        self.stages = stages
        return layer.W_O(merge_heads(stages.output)), stages.weights


class Remedied(NamedTuple):
    """What `train_with_remedies` finds.

    Attributes
    ----------
    heads : pandas.DataFrame
        One row a model, recorded step, layer and head: `remedy`, `seed`,
        `step`, `layer`, `head`, and on the texts held out: `largest`, the
        largest score that softmax saw; `entropy`, nats, the mean over rows;
        `gradient`, the median over rows of the length of the loss's gradient
        with respect to the scaled scores, before a cap; the loss of each
        prediction counted whole.
    losses : pandas.DataFrame
        One row a model and recorded step: `remedy`, `seed`, `step`, and
        `excess`, the loss on the texts held out less what the source itself
        pays for them, nats a word.
    halves : pandas.DataFrame
        One row a trained model and half precision: `remedy`, `seed`, `dtype`,
        `excess` of the model in that precision; `moved`, how much weight a
        row gives to other keys when its scores alone are rounded to that
        precision, the mean over rows; `other`, the share of rows whose
        largest weight then lies on another key, or on several at once; and
        `overflow`, the share of rows of a product in that precision with a
        score that is no finite number.
    models : dict of (str, int) to TransformerLM
        The models, trained, by remedy and seed.
    """

    heads: pd.DataFrame
    losses: pd.DataFrame
    halves: pd.DataFrame
    models: dict[tuple[str, int], TransformerLM]


def train_with_remedies(
    remedies: Sequence[str] = tuple(REMEDIES),
    *,
    learning_rate: float = 5e-2,
    weight_decay: float = 0.0,
    steps: int = 400,
    seeds: Sequence[int] = (0, 1),
    length: int = 24,
    batch_size: int = 32,
    held_out: int = 128,
    record_every: int = 50,
) -> Remedied:
    r"""Train language models whose scores grow, and hold them.

    The models are those of `surgeon.compare_masking`, and read the same
    source; but their rate of learning is ten times that. All remedies start
    from the same weights and read the same texts.

    Parameters
    ----------
    remedies : sequence of str
        "none"; "normalised" and "cosine", which are ``qk_norm="rms"`` and
        "l2"; "capped", a soft cap of 20; "clipped", `clip_heads` after every
        step with a threshold of 20; "temperature".
    learning_rate, weight_decay, steps, batch_size, length
        As `surgeon.models.training.train` takes them.
    seeds : sequence of int
        One model a remedy for each.
    held_out : int
        Number of texts to measure on.
    record_every : int
        Steps between two rows of a table; the start and the end are always
        recorded.

    Returns
    -------
    Remedied

    Raises
    ------
    ValueError
        If a remedy is unknown, if there is none or no seed, or if a number is
        out of its range.

    Notes
    -----
    Source: wortsman2024 (book/references.bib), who see scores grow in small
    models at high rates.

    Examples
    --------
    >>> found = train_with_remedies(["none"], steps=2, seeds=[0])
    >>> len(found.heads), len(found.losses), len(found.halves)
    (16, 2, 2)
    """
    for name in remedies:
        if name not in REMEDIES:
            raise ValueError(
                f"remedies must be among {', '.join(REMEDIES)}, got {name!r}."
            )
    if not len(remedies) or not len(seeds):
        raise ValueError(
            "remedies and seeds must hold at least one each, got"
            f" {len(remedies)} and {len(seeds)}."
        )
    positive_integer("record_every", record_every)
    grammar = english_grammar()
    sizes = {"steps": steps, "batch_size": batch_size, "length": length}
    for name, size in (sizes | {"held_out": held_out}).items():
        positive_integer(name, size)
    heads, excesses, halves, models = [], [], [], {}
    for seed in map(check_seed, seeds):
        source = torch.Generator().manual_seed(seed)
        texts = grammar.sample(steps * batch_size, length, source)
        batches = texts.unflatten(0, (steps, batch_size))
        tests = grammar.sample(held_out, length, source)
        for name in remedies:
            who = {"remedy": name, "seed": seed}
            model = build(name, grammar, length, seed)
            rule = AdamW(model.parameters(), weight_decay)
            for step in range(steps + 1):
                if step % record_every == 0 or step == steps:
                    now = who | {"step": step}
                    excess, by_head = examine(model, grammar, tests)
                    excesses.append(now | {"excess": excess})
                    heads += [now | row for row in by_head]
                if step < steps:
                    loss = losses_of(model, batches[step]).mean()
                    loss.backward()
                    rate = learning_rate_at(step, steps, learning_rate, 20)
                    rule.step(rate)
                    if name == "clipped":
                        clip(model)
            halves += [
                who | {"dtype": dtype} | in_half(model, grammar, tests, dtype)
                for dtype in HALVES
            ]
            models[name, seed] = model
    return Remedied(
        pd.DataFrame(heads),
        pd.DataFrame(excesses),
        pd.DataFrame(halves),
        models,
    )


def build(
    remedy: str, grammar: Grammar, length: int, seed: int
) -> TransformerLM:
    """A model whose layers are watched and remedied.

    Whatever the remedy, a seed's weights are the same.
    """
    model = make_model(len(grammar.words), length, seed=seed)
    for block in model.blocks:
        plain = block.attention
        assert isinstance(plain, MultiHeadAttention)
        layer = MultiHeadAttention(
            plain.d_model, plain.num_heads, **REMEDIES[remedy]
        )
        layer.load_state_dict(plain.state_dict(), strict=False)
        block.attention = Watched(layer)
    return model


def losses_of(model: TransformerLM, texts: Tensor) -> Tensor:
    """What the model pays for every word but the first, [B, T]."""
    mask = create_causal_mask(texts.shape[1] - 1)
    logits, _ = model(texts[:, :-1], mask)
    return losses(logits, texts[:, 1:])


def watched(model: TransformerLM) -> list[Watched]:
    """The attention of each layer, in a model that `build` made."""
    return [cast(Watched, block.attention) for block in model.blocks]


def stages_of(model: TransformerLM) -> list[Stages]:
    """The stages of each layer's last pass."""
    return [each.stages for each in watched(model) if each.stages is not None]


def clip(model: TransformerLM, threshold: float = LIMIT) -> None:
    """Clip every head by its largest score in the last pass."""
    for each, stages in zip(watched(model), stages_of(model), strict=True):
        largest = stages.masked.detach().amax((0, 2, 3))
        clip_heads(each.layer, largest, threshold)


def examine(
    model: TransformerLM, grammar: Grammar, texts: Tensor
) -> tuple[float, list[dict[str, Any]]]:
    """The excess over the source's own loss, and a row for each head."""
    paid = losses_of(model, texts)
    excess = float(paid.detach().double().mean() - grammar.nll(texts).mean())
    stages = stages_of(model)
    gradients = torch.autograd.grad(paid.sum(), [s.scores for s in stages])
    rows = []
    for layer, (stage, gradient) in enumerate(
        zip(stages, gradients, strict=True)
    ):
        largest = stage.masked.detach().amax((0, 2, 3))  # [H]
        entropy = row_entropy(stage.weights.detach()).mean((0, 2))
        # the first row has one key, and nothing to learn
        by_row = gradient.norm(dim=-1)[:, :, 1:]  # [B, H, T - 1]
        of = watched(model)[layer].layer
        if of.scale:  # the gradient is that of what is yet to be divided
            by_row = by_row * math.sqrt(of.d_model // of.num_heads)
        typical = by_row.transpose(0, 1).flatten(1).median(-1).values
        rows += [
            {
                "layer": layer,
                "head": head,
                "largest": float(largest[head]),
                "entropy": float(entropy[head]),
                "gradient": float(typical[head]),
            }
            for head in range(len(largest))
        ]
    return excess, rows


@torch.no_grad()
def in_half(
    model: TransformerLM, grammar: Grammar, texts: Tensor, dtype: str
) -> dict[str, float]:
    """What half precision does to a model, and to its scores alone."""
    half = HALVES[dtype]
    paid = losses_of(copy_of(model).to(half), texts).double()
    excess = float(paid.mean() - grammar.nll(texts).mean())
    losses_of(model, texts)
    moved, other, overflow = [], [], []
    for stage in stages_of(model):
        exact = stage.weights
        rounded = stable_softmax(stage.masked.to(half).float())
        moved.append((rounded - exact).abs().sum(-1).mean() / 2)
        best = exact.argmax(-1, keepdim=True)
        top = rounded.amax(-1, keepdim=True)
        ties = (rounded == top).sum(-1) > 1
        lost = rounded.gather(-1, best)[..., 0] < top[..., 0]
        other.append((ties | lost)[..., 1:].double().mean())
        scores = stage.scores.to(half)
        overflow.append((~scores.isfinite()).any(-1).double().mean())
    means = (float(torch.stack(x).mean()) for x in (moved, other, overflow))
    named = dict(zip(("moved", "other", "overflow"), means, strict=True))
    return {"excess": excess} | named


def copy_of(model: TransformerLM) -> TransformerLM:
    """A copy, which takes no stages along."""
    for each in watched(model):
        each.stages = None
    return copy.deepcopy(model)
