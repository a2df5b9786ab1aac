"""How to hold a layer on `x` whose projections are not known."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.adapter import Subject, apart


class Layer:
    """A module or function on x, [B, T, width] or [T, B, width].

    Parameters
    ----------
    target : callable
        What is examined; a module is copied.
    width : int
        Of x.
    holder : Subject
        Knows the mask's convention and shape, and the names of the arguments.
    batch_first : bool
        Whether the first axis of `x` is the batch.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        width: int,
        holder: Subject,
        batch_first: bool,
    ) -> None:
        self.target = (
            copy.deepcopy(target).cpu().eval()
            if isinstance(target, nn.Module)
            else target
        )
        self.width, self.holder, self.batch_first = width, holder, batch_first
        self.sent: dict[
            str, Tensor
        ] = {}  # what was last sent, and what it held then
        self.kept: dict[str, Tensor] = {}

    def written(self) -> list[str]:
        """Which tensors of the last question hold something else since."""
        return [
            name
            for name, then in self.kept.items()
            if not torch.equal(self.sent[name].detach(), then)
        ]

    def ask(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        train: bool = False,
        seed: int | None = 0,
    ) -> Tensor:
        """The output, batch first; `allowed` is a boolean [T, T], `padding` [B, T], True for a real token."""
        if isinstance(self.target, nn.Module):
            self.target.train(train)
        extras: dict[str, Any] = (
            dict(self.holder.options or {})
            if isinstance(self.holder.options, Mapping)
            else {}
        )
        if callable(self.holder.options):
            extras |= self.holder.options(x.shape[1])
        dummy = x[:, None, :, :1].expand(-1, self.holder.heads, -1, -1)
        if allowed is not None:
            extras[self.holder.mask_name or "mask"] = self.holder.write(
                allowed, dummy, dummy
            )
        elif self.holder.mask_needed:
            extras[self.holder.mask_name or "mask"] = None
        if (
            allowed is None
            and self.holder.causal
            and isinstance(self.holder.causal, str)
        ):
            extras[self.holder.causal] = True
        if padding is not None and self.holder.padding:
            extras[self.holder.padding] = self.holder.encode(
                padding, x.dtype, self.holder.mask
            )
        sent = (
            x.clone() if self.batch_first else x.transpose(0, 1).contiguous()
        )
        self.sent = {"x": sent} | {
            name: value
            for name, value in extras.items()
            if isinstance(value, Tensor)
        }
        self.kept = {
            name: value.detach().clone() for name, value in self.sent.items()
        }
        with apart(seed):
            returned = self.target(sent, **extras)
        output = (
            returned[0] if isinstance(returned, (tuple, list)) else returned
        )
        return output if self.batch_first else output.transpose(0, 1)
