"""Language models alike but for a bug: what the training loss tells of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from surgeon.ablations.no_mask import parallel_losses, prefix_losses
from surgeon.arguments import check_seed, positive_integer
from surgeon.book.once import once
from surgeon.models.english import english_grammar
from surgeon.models.grammar import Grammar
from surgeon.models.training import train
from surgeon.models.transformer import (
    Block,
    MaskOf,
    TransformerLM,
    cross_entropy,
    make_model,
)
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import NEEDS, Fault
from surgeon.zoo.housing import kind_of, mask_of, put_in, quiet

# of the largest number; of a tensor's own largest, a hundred times as much
ROUNDING = 1e-6
# texts that a model is asked about one by one, where their company matters
ALONE = 24
COLUMNS = [
    "fault",
    "finding",
    "changes",
    "loss",
    "gap",
    "cheats",
    "whole_gap",
    "use_gap",
]


class BugComparison(NamedTuple):
    """What `compare_bugs` finds. Losses are in nats a word.

    Attributes
    ----------
    summary : pandas.DataFrame
        One row a fault: `fault`, `finding`; `changes`, what it changes in a
        training step: "nothing", "the step", or "no padding here" where it
        was not tried; `loss` of the last steps and `gap`, that loss less the
        sound model's; `cheats`, whether the loss is below the source's own on
        the same texts, which no honest model's is; `whole_gap` and `use_gap`,
        how much worse than the sound model it is after training, in
        evaluation mode, on whole texts held out and from each prefix alone.
    history : pandas.DataFrame
        One row a trained model and step: `fault` ("sound" for the sound one),
        `step`, `loss`.
    source_loss, sound_loss : float
        On the texts of the last steps: the source's own loss, and the sound
        model's.
    """

    summary: pd.DataFrame
    history: pd.DataFrame
    source_loss: float
    sound_loss: float


def one_step(
    model: TransformerLM, fault: Fault | None, texts: Tensor, seed: int
) -> list[Tensor]:
    """What a training step learns from: its loss, and every gradient."""
    mask = mask_of(fault)(texts.shape[1] - 1)
    with quiet(seed):
        logits, _ = model.train()(texts[:, :-1], mask)
    loss = cross_entropy(logits, texts[:, 1:])
    gradients = torch.autograd.grad(
        loss, list(model.parameters()), materialize_grads=True
    )  # of what the loss does not depend on: zeros
    return [loss.detach(), *gradients]


def same_step(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two steps of `one_step` are the same but for rounding."""
    largest = [float(x.abs().max()) for x in one]
    pairs = zip(one, other, strict=True)
    apart = [float((a - b).abs().max()) for a, b in pairs]
    floor = ROUNDING * max(largest)  # some gradients are 0 but for rounding
    return all(
        gap <= 100 * ROUNDING * size + floor
        for gap, size in zip(apart, largest, strict=True)
    )


@torch.no_grad()
def ask(
    model: TransformerLM, texts: Tensor, mask: MaskOf, seed: int
) -> tuple[Tensor, Tensor]:
    """Losses after training, [B, T]: with the whole text, and in use.

    In use means from each prefix alone; and where the company of other texts
    matters, from the first few texts one by one.
    """
    model.eval()
    with quiet(seed):
        whole = parallel_losses(model, texts, mask)
        alone = parallel_losses(model, texts[:1], mask)
        apart = float((alone - whole[:1]).abs().max())
        if len(texts) == 1 or apart <= 1e-4 or _draws(model):
            return whole, prefix_losses(model, texts, mask)
        one_by_one = texts[:ALONE].split(1)
        use = [prefix_losses(model, text, mask) for text in one_by_one]
    return whole, torch.cat(use)


def _draws(model: TransformerLM) -> bool:
    """Whether two answers may differ by chance."""
    blocks = (b for b in model.blocks if isinstance(b, Block))
    return any(block.attention.dropout > 0 for block in blocks)


class Sound(NamedTuple):
    """A sound model after its training, and its steps before and after."""

    model: TransformerLM
    losses: pd.Series  # one a step of training
    first: list[Tensor]  # as `one_step` gives it, with the weights at first
    final: list[Tensor]  # and with those at the end
    whole: Tensor  # as `ask` gives it
    use: Tensor


@dataclass(frozen=True)
class Trial:
    """What all the models of a comparison have in common."""

    grammar: Grammar
    sizes: Mapping[str, Any]  # as `make_model` takes them
    training: Mapping[str, Any]  # as `train` takes it
    dropout: float
    last: int  # steps whose mean is the loss
    weights: int  # the seed of all models
    chance: int  # the seed of dropout
    tried: Tensor  # the texts of the steps that are compared
    held_out: Tensor

    def make(self, fault: Fault | None, needs: str = "") -> TransformerLM:
        """An untrained model."""
        kind = kind_of(needs, self.sizes["num_heads"], self.dropout)
        with quiet(self.chance), torch.device("cpu"):
            model = make_model(**self.sizes, seed=self.weights)
            return put_in(model, fault, **kind)

    def learn(self, model: TransformerLM, fault: Fault | None) -> pd.Series:
        """Train a model: its losses."""
        mask = mask_of(fault)(self.training["length"])
        with quiet(self.chance):
            return train(model, self.grammar, mask, **self.training).loss

    def step(self, model: TransformerLM, fault: Fault | None) -> list[Tensor]:
        """`one_step` on the same texts as everybody."""
        return one_step(model, fault, self.tried, self.chance)

    def ask(
        self, model: TransformerLM, fault: Fault | None
    ) -> tuple[Tensor, Tensor]:
        """`ask` the same as everybody."""
        return ask(model, self.held_out, mask_of(fault), self.chance)

    def sound(self, needs: str) -> Sound:
        """Train a sound model of the kind that some faults need."""
        model = self.make(None, needs)
        first = self.step(model, None)
        losses = self.learn(model, None)
        final = self.step(model, None)
        return Sound(model, losses, first, final, *self.ask(model, None))

    def faulty(
        self, fault: Fault, sound: Sound
    ) -> tuple[TransformerLM, pd.Series | None]:
        """A model with a fault after its training, and its losses.

        If it would learn what the sound model learns, it is given that one's
        weights, and there are no losses.
        """
        model = self.make(fault, fault.needs)
        if same_step(sound.first, self.step(model, fault)):
            trained = self.make(fault, fault.needs)
            trained.load_state_dict(sound.model.state_dict())
            if same_step(sound.final, self.step(trained, fault)):
                return trained, None
        return model, self.learn(model, fault)

    def loss(self, losses: pd.Series) -> float:
        """What training ends with: the mean of the last steps."""
        return float(losses.tail(self.last).mean())

    def compare(
        self, fault: Fault, sound: Sound
    ) -> tuple[dict[str, Any], pd.Series | None]:
        """What a fault changes, in training and after it; and its losses."""
        model, losses = self.faulty(fault, sound)
        loss = self.loss(sound.losses if losses is None else losses)
        whole, use = self.ask(model, fault)
        found = {
            "changes": "nothing" if losses is None else "the step",
            "loss": loss,
            "gap": loss - self.loss(sound.losses),
            "whole_gap": float((whole - sound.whole).mean()),
            "use_gap": float((use - sound.use[: len(use)]).mean()),
        }
        return found, losses


def compare_bugs(
    faults: Iterable[str] | None = None,
    *,
    steps: int = 80,
    batch_size: int = 32,
    length: int = 12,
    learning_rate: float = 1e-2,
    d_model: int = 32,
    num_heads: int = 4,
    num_layers: int = 1,
    dropout: float = 0.25,
    last: int = 20,
    held_out: int = 128,
    seed: int = 0,
) -> BugComparison:
    """Train a small language model with each fault, and one without.

    All models start from the same weights, read the same texts of
    `english_grammar` in the same order, and are asked the same afterwards.
    Layers whose fault is about dropout or shared heads are held against sound
    layers with dropout or shared heads. A fault that changes no training
    step, neither at the start nor with the sound model's trained weights,
    needs no training: it is given these weights.

    Parameters
    ----------
    faults : iterable of str, optional
        Names in `surgeon.zoo.catalogue.ZOO`; all if not given.
    steps, batch_size, length, learning_rate
        As `surgeon.models.training.train` takes them.
    d_model, num_heads, num_layers
        As `surgeon.models.transformer.TransformerLM` takes them; `num_heads`
        is even, because heads are shared by two.
    dropout : float
        Of layers whose fault is about dropout.
    last : int
        Steps at the end over which the training loss is averaged.
    held_out : int
        Number of texts to measure on after training.
    seed : int
        Of the weights, the texts and dropout.

    Returns
    -------
    BugComparison

    Raises
    ------
    ValueError
        If a name is not in the zoo, if `last` is larger than `steps`, if
        `num_heads` is odd, or as the functions named above.

    Examples
    --------
    >>> small = {"d_model": 4, "num_heads": 2, "length": 5, "held_out": 3}
    >>> names = ["lost_mask", "minus_ten_thousand"]
    >>> compare_bugs(names, steps=2, last=1, **small).summary.changes.tolist()
    ['the step', 'nothing']
    """
    names = known_names("faults", faults, ZOO, "the zoo")
    if positive_integer("last", last) > positive_integer("steps", steps):
        raise ValueError(
            f"last must be at most the number of steps ({steps}), got {last}."
        )
    if num_heads % 2:
        raise ValueError(
            "num_heads must be even, because heads are shared by two, got"
            f" {num_heads}."
        )
    settings: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "length": length,
        "learning_rate": learning_rate,
        "d_model": d_model,
        "num_heads": num_heads,
        "num_layers": num_layers,
        "dropout": dropout,
        "last": last,
        "held_out": held_out,
        "seed": seed,
    }
    trial, source_loss = _trial(**settings)
    # 1. Sound models, one of each kind.
    kinds = {ZOO[name].needs for name in names} - {"padding"}
    sound = {kind: _sound(kind, **settings) for kind in sorted({"", *kinds})}
    # 2. The faults, each beside the sound model of its kind.
    histories, rows = {"sound": sound[""].losses}, []
    for fault in (ZOO[name] for name in names):
        row = {"fault": fault.name, "finding": fault.finding}
        if fault.needs == "padding":
            rows.append(row | {"changes": "no padding here"})
            continue
        found, losses = trial.compare(fault, sound[fault.needs])
        rows.append(row | found)
        if losses is not None:
            histories[fault.name] = losses
    # 3. The tables.
    summary = pd.DataFrame(rows, columns=COLUMNS)
    summary["cheats"] = (summary.loss < source_loss).astype("boolean")
    summary.loc[summary.loss.isna(), "cheats"] = pd.NA
    return BugComparison(
        summary,
        _side_by_side(histories),
        source_loss,
        trial.loss(sound[""].losses),
    )


def train_sound(needs: str, **settings: Any) -> Sound:
    """The sound model of a kind, as `compare_bugs` of these settings has it.

    Every family of faults is held against the same one, so in a build of the
    book it is trained once.
    """
    return _trial(**settings)[0].sound(needs)


@lru_cache(maxsize=len(NEEDS))
def _sound(needs: str, **settings: Any) -> Sound:
    """Nor is it trained twice in a process."""
    return once(train_sound, needs, **settings)


def _trial(
    *,
    steps: int,
    batch_size: int,
    length: int,
    learning_rate: float,
    d_model: int,
    num_heads: int,
    num_layers: int,
    dropout: float,
    last: int,
    held_out: int,
    seed: int,
) -> tuple[Trial, float]:
    """Draw all that is drawn: and the source's loss on the last texts."""
    grammar = english_grammar()
    draw = torch.Generator().manual_seed(check_seed(seed))
    seeds = torch.randint(
        2**31, (4,), generator=draw, device=draw.device
    ).tolist()
    of_texts, of_held_out, of_dropout, of_weights = seeds
    trial = Trial(
        grammar,
        sizes={
            "vocab_size": len(grammar.words),
            "d_model": d_model,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "max_len": length,
        },
        training={
            "steps": steps,
            "batch_size": batch_size,
            "length": length,
            "learning_rate": learning_rate,
            "seed": of_texts,
        },
        dropout=dropout,
        last=last,
        weights=of_weights,
        chance=of_dropout,
        tried=grammar.sample(batch_size, length, of_held_out),
        held_out=grammar.sample(held_out, length, of_held_out),
    )
    read = grammar.sample(steps * batch_size, length, of_texts)
    source = grammar.nll(read[-last * batch_size :])
    return trial, float(source.mean())


def known_names(
    argument: str, given: Iterable[str] | None, known: Iterable[str], of: str
) -> list[str]:
    """The names given, all that are known if none are, or a ValueError."""
    every = list(known)
    names = every if given is None else list(given)
    for name in names:
        if name not in every:
            raise ValueError(
                f"{argument} must be names of {of}, such as {every[0]!r},"
                f" got {name!r}."
            )
    return names


def _side_by_side(histories: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The losses of several trainings, one row a model and step."""
    tables = [
        pd.DataFrame({"fault": name, "step": range(len(loss)), "loss": loss})
        for name, loss in histories.items()
    ]
    return pd.concat(tables, ignore_index=True)
