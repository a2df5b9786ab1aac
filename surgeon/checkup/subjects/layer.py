"""How to hold a layer on `x` whose projections are not known."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.forms import causal
from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.conventions import SHAPES, encode, shape
from surgeon.checkup.subjects.declaration import Declaration, Held
from surgeon.checkup.subjects.holds import arguments, title_of
from surgeon.checkup.subjects.models import refuse_integers
from surgeon.checkup.subjects.projections import (
    HEADS,
    model_width,
    number,
    takes_x,
)
from surgeon.checkup.subjects.pytorchs import as_documented
from surgeon.checkup.subjects.subject import (
    Question,
    by_documents,
    options_for,
    parts,
)
from surgeon.checkup.subjects.supplies import Supply, supplies
from surgeon.checkup.subjects.surroundings import apart


def hold_layer(subject: Callable[..., Any], declared: Declaration) -> "Layer":
    """A module or function on `x`, to be asked from outside.

    Raises
    ------
    ValueError
        If nobody says how wide `x` is, or if it takes integers.
    """
    title, declared = title_of(subject), as_documented(subject, declared)
    width = declared.width or model_width(subject)
    if not width:
        raise ValueError(
            f"width must be given: {type(subject).__name__} does not tell how"
            " wide x is."
        )
    held = arguments(subject, replace(declared, padding=None))
    heads = declared.heads or number(subject, HEADS) or 1
    held = replace(
        held,
        heads=heads,
        kv_heads=heads,
        mask_shape=held.mask_shape or "T S",
        padding=declared.padding,
    )
    batch_first = not str(declared.layout).startswith("T B")
    layer = Layer(subject, title, held, width, batch_first)
    _settle(layer, declared)
    return layer


def _settle(layer: "Layer", declared: Declaration) -> None:
    """What it wants besides `x`, what it adds, and which masks it takes.

    What it raises all the same is told where it is asked.
    """
    chance = torch.Generator().manual_seed(0)
    shown = torch.randn(2, 5, layer.width, generator=chance)
    x = shown.to(layer.dtype)
    try:
        still = _with_supplies(layer, x)
    except SubjectError as error:
        refuse_integers(layer.target, layer.title, error)
        return
    extra = still.shape[1] - x.shape[1] if still.ndim == 3 else 0
    if extra > 0:
        layer.extra = extra
        layer.front = _adds_in_front(layer, x, still)
    if not layer.held.takes_mask:
        return
    known = declared.mask_shape
    for wanted in (known,) if known else ("T S", *SHAPES[:-1]):
        for layer.long in (False, True) if extra > 0 else (False,):
            layer.held = replace(layer.held, mask_shape=wanted)
            try:
                with torch.no_grad():
                    layer.ask(x, causal(x.shape[1]))
            except SubjectError:
                continue
            return
    layer.long = False
    layer.held = replace(layer.held, mask_shape=known or "T S")


def _with_supplies(layer: "Layer", x: Tensor) -> Tensor:
    """What it gives, with what it wants besides `x`."""
    first, target = layer.held, layer.target
    d = number(target, ("head_dim",)) or layer.width // first.heads
    ways: Iterable[tuple[Supply, str]] = ()
    if isinstance(target, nn.Module) and not first.options:
        ways = supplies(target, d)
    with torch.no_grad():
        try:
            return layer.whole(layer.compose(x))
        except SubjectError:
            for supply, said in ways:
                layer.held = replace(first, options=supply)
                try:
                    whole = layer.whole(layer.compose(x))
                except SubjectError:
                    continue
                layer.said += [said] if said else []
                return whole
            layer.held = first
            raise


def _adds_in_front(layer: "Layer", x: Tensor, still: Tensor) -> bool:
    """Whether what it adds stands before the tokens, and not behind them.

    A token moves its own output the most.
    """
    moves = []
    with torch.no_grad():
        for j in range(x.shape[1]):
            other = x.clone()
            other[:, j] *= -0.7
            whole = layer.whole(layer.compose(other))
            moves.append((whole - still).abs().mean((0, 2)))
    found = torch.stack(moves)  # [T, T + extra]
    shifted = found.diagonal(layer.extra).sum()
    return bool(shifted > found.diagonal().sum())


class Layer:
    """A module or function on x, [B, T, width] or [T, B, width].

    Parameters
    ----------
    target : callable
        What is examined; a module is copied.
    title : str
        Its name, for the report.
    held : Held
        Knows the mask's convention and shape, and the names of the arguments.
    width : int
        Of x.
    batch_first : bool
        Whether the first axis of `x` is the batch.

    Attributes
    ----------
    extra, front
        How many tokens it adds to those of `x`, and whether before them.
    long : bool
        Whether its mask has a place for these.
    given : callable
        What was handed in, which is not asked.
    said : list of str
        Sentences about how it is held, for the portrait.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        title: str,
        held: Held,
        width: int,
        batch_first: bool,
    ) -> None:
        self.thrice = isinstance(target, nn.Module) and not takes_x(target)
        self.given = target
        if isinstance(target, nn.Module):
            target = copy.deepcopy(target).cpu().eval()
        self.target, self.title, self.held = target, title, held
        self.width, self.batch_first = width, batch_first
        self.extra, self.front, self.long = 0, False, False
        self.said: list[str] = []

    @property
    def is_module(self) -> bool:
        return isinstance(self.target, nn.Module)

    @property
    def dtype(self) -> torch.dtype:
        """That of its parameters; single precision where it has none."""
        if isinstance(self.target, nn.Module):
            for parameter in self.target.parameters():
                return parameter.dtype
        return torch.float32

    def fresh(self, dtype: torch.dtype | None = None) -> "Layer":
        """The same layer, which nobody has asked yet.

        What it learned is shared, for it may be large; or in a precision.
        """
        twin, given, used = copy.copy(self), self.given, self.target
        if not (isinstance(given, nn.Module) and isinstance(used, nn.Module)):
            return twin
        learned = dict(used.named_parameters())
        shared: dict[int, Any] = {
            id(x): learned[name]
            for name, x in given.named_parameters()
            if dtype is None
        }
        copied = copy.deepcopy(given, shared)
        twin.target = answer(copied.to, "cpu", dtype).eval()
        return twin

    def ask(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        *,
        train: bool = False,
        seed: int | None = 0,
        **more: Tensor | None,
    ) -> Tensor:
        """The output, batch first.

        `allowed` is a boolean [T, T]; of `more`, `padding` is one [B, T],
        True for a real token, and `documents` their numbers, [B, T].
        """
        question = self.compose(x, allowed, **more)
        return self.put(question, train=train, seed=seed)

    def compose(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        documents: Tensor | None = None,
    ) -> Question:
        """A question in the layer's own terms."""
        held, (B, T) = self.held, x.shape[:2]
        extras = options_for(held.options, T, x.dtype)
        mask_name = held.mask_name or "mask"
        if allowed is not None:
            shaped = shape(
                self._lengthened(allowed), held.mask_shape, B, held.heads
            )
            mask = encode(shaped, x.dtype, held.mask)
            extras[mask_name] = mask.contiguous()
        elif held.mask_needed:
            extras[mask_name] = None
        if allowed is None and isinstance(held.causal, str):
            extras[held.causal] = True
        if padding is not None and held.padding:
            extras[held.padding] = encode(padding, x.dtype, held.mask)
        extras |= by_documents(held, documents, (B, T))
        first = (
            x.clone() if self.batch_first else x.transpose(0, 1).contiguous()
        )
        return Question({"x": first}, extras, mask_name)

    def _lengthened(self, allowed: Tensor) -> Tensor:
        """A mask with a place for what it adds, which all see."""
        if not self.long:
            return allowed
        added = (self.extra, 0) if self.front else (0, self.extra)
        return nn.functional.pad(allowed, added * 2, value=True)

    def put(
        self,
        question: Question,
        *,
        train: bool = False,
        seed: int | None = 0,
    ) -> Tensor:
        """Ask what was composed: the outputs of the tokens of `x`."""
        output = self.whole(question, train=train, seed=seed)
        sent = question.inputs["x"]
        B, T = sent.shape[:2] if self.batch_first else sent.shape[1::-1]
        if output.ndim != 3 or output.shape[:2] != (B, T + self.extra):
            wanted = f"[{B}, {T}, any width]"
            raise SubjectError(
                f"The output must have shape {wanted}, got"
                f" {list(output.shape)}."
            )
        first = self.extra if self.front else 0
        return output[:, first : first + T]

    def whole(
        self,
        question: Question,
        *,
        train: bool = False,
        seed: int | None = 0,
    ) -> Tensor:
        """All that it gives, batch first."""
        if isinstance(self.target, nn.Module):
            self.target.train(train)
        sent = question.inputs["x"]
        given = (sent, sent, sent) if self.thrice else (sent,)
        with apart(seed):
            returned = answer(self.target, *given, **question.extras)
        output: Tensor = parts(returned)[0]
        several = output.ndim > 1 and not self.batch_first
        return output.transpose(0, 1) if several else output
