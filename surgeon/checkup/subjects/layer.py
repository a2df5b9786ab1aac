"""How to hold a layer on `x` whose projections are not known."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.conventions import encode, shape
from surgeon.checkup.subjects.declaration import Declaration, Held
from surgeon.checkup.subjects.holds import arguments, title_of
from surgeon.checkup.subjects.projections import model_width
from surgeon.checkup.subjects.subject import Question, options_for, parts
from surgeon.checkup.subjects.surroundings import apart


def hold_layer(subject: Callable[..., Any], declared: Declaration) -> "Layer":
    """A module or function on `x`, to be asked from outside.

    Raises
    ------
    ValueError
        If nobody says how wide `x` is.
    """
    title = title_of(subject)
    width = declared.width or model_width(subject)
    if not width:
        raise ValueError(
            f"width must be given: {type(subject).__name__} does not tell how"
            " wide x is."
        )
    held = arguments(subject, replace(declared, padding=None))
    heads = declared.heads or 1
    held = replace(
        held,
        heads=heads,
        kv_heads=heads,
        mask_shape=held.mask_shape or "T S",
        padding=declared.padding,
    )
    batch_first = not str(declared.layout).startswith("T B")
    return Layer(subject, title, held, width, batch_first)


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
    """

    def __init__(
        self,
        target: Callable[..., Any],
        title: str,
        held: Held,
        width: int,
        batch_first: bool,
    ) -> None:
        if isinstance(target, nn.Module):
            target = copy.deepcopy(target).cpu().eval()
        self.target, self.title, self.held = target, title, held
        self.width, self.batch_first = width, batch_first

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

    def ask(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        train: bool = False,
        seed: int | None = 0,
    ) -> Tensor:
        """The output, batch first.

        `allowed` is a boolean [T, T], `padding` [B, T], True for a real
        token.
        """
        question = self.compose(x, allowed, padding=padding)
        return self.put(question, train=train, seed=seed)

    def compose(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
    ) -> Question:
        """A question in the layer's own terms."""
        held, (B, T) = self.held, x.shape[:2]
        extras = options_for(held.options, T, x.dtype)
        mask_name = held.mask_name or "mask"
        if allowed is not None:
            shaped = shape(allowed, held.mask_shape, B, held.heads)
            mask = encode(shaped, x.dtype, held.mask)
            extras[mask_name] = mask.contiguous()
        elif held.mask_needed:
            extras[mask_name] = None
        if allowed is None and isinstance(held.causal, str):
            extras[held.causal] = True
        if padding is not None and held.padding:
            extras[held.padding] = encode(padding, x.dtype, held.mask)
        first = (
            x.clone() if self.batch_first else x.transpose(0, 1).contiguous()
        )
        return Question({"x": first}, extras, mask_name)

    def put(
        self,
        question: Question,
        *,
        train: bool = False,
        seed: int | None = 0,
    ) -> Tensor:
        """Ask what was composed."""
        if isinstance(self.target, nn.Module):
            self.target.train(train)
        sent = question.inputs["x"]
        with apart(seed):
            returned = answer(self.target, sent, **question.extras)
        output = parts(returned)[0]
        if output.ndim != 3 or output.shape[:2] != sent.shape[:2]:
            wanted = f"[{sent.shape[0]}, {sent.shape[1]}, any width]"
            raise SubjectError(
                f"The output must have shape {wanted}, got"
                f" {list(output.shape)}."
            )
        return output if self.batch_first else output.transpose(0, 1)
