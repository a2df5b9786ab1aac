"""Language models alike but for a bug in their attention: what the training loss tells of it, and what it does not."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from surgeon.ablations.no_mask import parallel_losses, prefix_losses
from surgeon.anatomy.mask_reading import as_additive, visible
from surgeon.anatomy.masks import create_causal_mask
from surgeon.arguments import check_seed, positive_integer
from surgeon.models.english import english_grammar
from surgeon.models.training import train
from surgeon.models.transformer import (
    Block,
    MaskOf,
    TransformerLM,
    cross_entropy,
    make_model,
)
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import Fault, Layer

# of the largest number; of a tensor's own largest, a hundred times as much
ROUNDING = 1e-6
DROPOUT = {
    "same answer twice",
    "dropout after softmax",
    "random state",
}  # findings that need a layer with dropout
# sound models that start from other weights: how far a loss strays for no
# reason
OTHERS = 4
# texts that a model is asked about one by one, where their company matters
ALONE = 24


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
    source_loss, sound_loss, stray : float
        On the texts of the last steps: the source's own loss, the sound
        model's, and the largest gap between that and sound models that start
        from other weights.
    """

    summary: pd.DataFrame
    history: pd.DataFrame
    source_loss: float
    sound_loss: float
    stray: float


class Housing(Layer):
    """A layer whose core is a function of the zoo, told of the mask in the way that the function expects."""

    def __init__(self, *sizes: int, fault: Fault, **more: Any) -> None:
        super().__init__(*sizes, **more)
        self.fault = fault

    def attend(
        self, Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The function instead of the sound core."""
        return self.fault.made(Q, K, V, **told(self.fault.held, mask))

    def repeat(self, x: Tensor) -> Tensor:
        """No copy where no head is shared, so that keys stay in memory as `split_heads` leaves them."""
        return x if self.num_heads == self.num_kv_heads else super().repeat(x)


def told(held: Mapping[str, Any], mask: Tensor | None) -> dict[str, Any]:
    """The arguments that tell a function of the zoo about a mask, in its own convention."""
    if isinstance(held.get("causal"), str):
        return {"mask": mask, held["causal"]: True}
    if mask is None:
        return {}
    if "padding" in held:
        return {held["padding"]: mask}
    shown = visible(mask, mask.shape, mask.device)
    if held.get("mask") == "additive":
        return {
            "mask": as_additive(
                shown, mask.shape, dtype=torch.float32, device=mask.device
            )
        }
    return {"mask": shown.float() if held.get("mask") == "0-1" else shown}


def house(
    fault: Fault | None, d_model: int, num_heads: int, **more: Any
) -> Layer:
    """A layer with one fault, or with none; its weights come from PyTorch's global generator."""
    if fault is None:
        return Layer(d_model, num_heads, **more)
    if fault.is_layer:
        return fault.made(d_model, num_heads, **more)
    return Housing(d_model, num_heads, fault=fault, **more)


def put_in(
    model: TransformerLM, fault: Fault | None, **more: Any
) -> TransformerLM:
    """Give every layer of a model a faulty attention with the weights of the one that was there.

    Parameters
    ----------
    model : TransformerLM
        Changed in place.
    fault : Fault or None
        An entry of `surgeon.zoo.catalogue.ZOO`; None for the zoo's sound
        layer.
    **more
        `num_kv_heads` and `dropout` of the layer. Of fewer key heads, the
        first are kept.

    Returns
    -------
    TransformerLM
        The model.
    """
    for block in model.blocks:
        assert isinstance(block, Block)
        old = block.attention
        new = house(fault, old.d_model, old.num_heads, **more)
        kept = old.state_dict()
        new.load_state_dict(
            {
                name: kept[name][: len(x)]
                for name, x in new.state_dict().items()
            }
        )
        block.attention = new
    return model


def mask_of(fault: Fault | None) -> MaskOf:
    """The causal mask; or none, for a fault that is causal by itself."""
    by_itself = fault is not None and fault.held.get("causal")
    return (lambda seq_len: None) if by_itself else create_causal_mask


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
    """Put each fault of the zoo into the small language model, train it like a sound one, and ask both the same.

    All models start from the same weights and read the same texts of
    `english_grammar` in the same order. Layers whose fault is about dropout
    or shared heads are held against sound layers with dropout or shared
    heads. A fault that changes no training step, neither at the start nor
    with the sound model's trained weights, needs no training: it is given
    these weights.

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
    >>> small = dict(steps=2, last=1, length=5, d_model=4, num_heads=2, num_layers=1, held_out=3)
    >>> compare_bugs(["lost_mask", "minus_ten_thousand"], **small).summary.changes.tolist()
    ['the step', 'nothing']
    """
    names = list(ZOO) if faults is None else list(faults)
    for name in names:
        if name not in ZOO:
            raise ValueError(
                "faults must be names of the zoo, such as"
                f" {next(iter(ZOO))!r}, got {name!r}."
            )
    if positive_integer("last", last) > positive_integer("steps", steps):
        raise ValueError(
            f"last must be at most the number of steps ({steps}), got {last}."
        )
    if num_heads % 2:
        raise ValueError(
            "num_heads must be even, because heads are shared by two, got"
            f" {num_heads}."
        )
    grammar = english_grammar()
    draw = torch.Generator().manual_seed(check_seed(seed))
    of_texts, of_held_out, of_dropout, *of_weights = torch.randint(
        2**31, (4 + OTHERS,), generator=draw
    ).tolist()
    sizes: dict[str, Any] = {
        "d_model": d_model,
        "num_heads": num_heads,
        "num_layers": num_layers,
    }
    how: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "length": length,
        "learning_rate": learning_rate,
    }

    def make(
        fault: Fault | None, kind: dict[str, Any], number: int = 0
    ) -> TransformerLM:
        with quiet(of_dropout):
            return put_in(
                make_model(
                    len(grammar.words),
                    length,
                    **sizes,
                    seed=of_weights[number],
                ),
                fault,
                **kind,
            )

    def learn(model: TransformerLM, fault: Fault | None) -> pd.Series:
        with quiet(of_dropout):
            return train(
                model, grammar, mask_of(fault)(length), **how, seed=of_texts
            ).loss

    texts = grammar.sample(held_out, length, of_held_out)
    some = grammar.sample(batch_size, length, of_held_out)
    read = grammar.sample(steps * batch_size, length, of_texts)[
        -last * batch_size :
    ]
    source_loss = grammar.nll(read).mean().item()
    rows: list[dict[str, Any]] = []
    sound: dict[str, tuple[TransformerLM, float, Tensor, Tensor]] = {}
    histories = {"sound": learn(plain := make(None, {}), None)}
    sound["{}"] = (
        plain,
        histories["sound"].tail(last).mean(),
        *ask(plain, texts, create_causal_mask, of_dropout),
    )
    others = [
        learn(make(None, {}, 1 + n), None).tail(last).mean()
        for n in range(OTHERS)
    ]
    for fault in map(ZOO.__getitem__, names):
        row: dict[str, Any] = {"fault": fault.name, "finding": fault.finding}
        rows.append(row)
        if fault.finding == "padding on keys":
            row["changes"] = "no padding here"
            continue
        kind = kind_of(fault, num_heads, dropout)
        if repr(kind) not in sound:
            twin = make(None, kind)
            loss = learn(twin, None).tail(last).mean()
            sound[repr(kind)] = (
                twin,
                loss,
                *ask(twin, texts, create_causal_mask, of_dropout),
            )
        twin, loss, whole, use = sound[repr(kind)]
        model = make(fault, kind)
        alike = same_step(make(None, kind), model, fault, some, of_dropout)
        trained = make(fault, kind)
        trained.load_state_dict(twin.state_dict())
        alike = alike and same_step(twin, trained, fault, some, of_dropout)
        if alike:
            model, own = trained, loss
        else:
            histories[fault.name] = learn(model, fault)
            own = histories[fault.name].tail(last).mean()
        own_whole, own_use = ask(model, texts, mask_of(fault), of_dropout)
        row |= {
            "changes": "nothing" if alike else "the step",
            "loss": own,
            "gap": own - loss,
            "cheats": own < source_loss,
            "whole_gap": (own_whole - whole).mean().item(),
            "use_gap": (own_use - use[: len(own_use)]).mean().item(),
        }
    columns = [
        "fault",
        "finding",
        "changes",
        "loss",
        "gap",
        "cheats",
        "whole_gap",
        "use_gap",
    ]
    history = pd.concat(
        [
            pd.DataFrame({"fault": name, "step": range(steps), "loss": h})
            for name, h in histories.items()
        ]
    )
    sound_loss = sound["{}"][1]
    return BugComparison(
        pd.DataFrame(rows, columns=columns).astype({"cheats": "boolean"}),
        history.reset_index(drop=True),
        source_loss,
        sound_loss,
        max(abs(other - sound_loss) for other in others),
    )


def kind_of(fault: Fault, num_heads: int, dropout: float) -> dict[str, Any]:
    """What the layer of a fault needs, and the sound one beside it."""
    if fault.finding in DROPOUT:
        return {"dropout": dropout}
    return (
        {"num_kv_heads": num_heads // 2}
        if fault.finding == "grouped heads in order"
        else {}
    )


def same_step(
    sound: TransformerLM,
    model: TransformerLM,
    fault: Fault,
    texts: Tensor,
    seed: int,
) -> bool:
    """Whether two models with the same weights have the same loss and the same gradients, but for rounding."""
    found = []
    for each, mask in (
        (sound.train(), create_causal_mask),
        (model.train(), mask_of(fault)),
    ):
        each.zero_grad()
        with quiet(seed):
            loss = cross_entropy(
                each(texts[:, :-1], mask(texts.shape[1] - 1))[0], texts[:, 1:]
            )
        loss.backward()
        slopes = [
            torch.zeros_like(p) if p.grad is None else p.grad
            for p in each.parameters()
        ]
        found.append([loss.detach(), *slopes])
        each.zero_grad()
    floor = ROUNDING * max(
        x.abs().max() for x in found[0]
    )  # some gradients are 0 but for rounding
    pairs = zip(*found, strict=True)
    return all(
        bool((a - b).abs().max() <= 100 * ROUNDING * a.abs().max() + floor)
        for a, b in pairs
    )


@torch.no_grad()
def ask(
    model: TransformerLM, texts: Tensor, mask: MaskOf, seed: int
) -> tuple[Tensor, Tensor]:
    """Losses after training, [B, T]: with the whole text there, and from each prefix; alone, if company matters."""
    model.eval()
    with quiet(seed):
        whole = parallel_losses(model, texts, mask)
        alone = parallel_losses(model, texts[:1], mask)
        if (
            len(texts) > 1
            and (alone - whole[:1]).abs().max() > 1e-4
            and not _draws(model)
        ):
            prefix = torch.cat(
                [
                    prefix_losses(model, text, mask)
                    for text in texts[:ALONE].split(1)
                ]
            )
        else:
            prefix = prefix_losses(model, texts, mask)
    return whole, prefix


def _draws(model: TransformerLM) -> bool:
    return any(
        isinstance(block, Block) and block.attention.dropout > 0
        for block in model.blocks
    )


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """A seeded global generator, from which layers draw dropout; it is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
