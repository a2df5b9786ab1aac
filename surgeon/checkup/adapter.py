"""How to hold a subject: whatever its signature, it is asked with Q, K, V by heads and a boolean of who may look."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

LAYOUTS = ("B T d", "B H T d", "B T H d", "T B d", "B T (H d)", "T B (H d)")
MASKS = ("True attends", "True blocks", "additive", "additive, lowest", "0-1")
SHAPES = ("B H T S", "B 1 T S", "(B H) T S", "B T S", "T S")
MASK_NAMES = ("mask", "attn_mask", "attention_mask", "src_mask", "bias")


class Answer(NamedTuple):
    """What a subject gave: output [B, H, T, d_v], and weights [B, H, T, S] or [B, 1, T, S] (a mean), or None."""

    output: Tensor
    weights: Tensor | None


class Subject:
    """A callable or module, and everything needed to ask it; built by `surgeon.checkup.holds.hold`.

    Parameters
    ----------
    target : callable
        What is examined; a module is a copy that may be changed.
    call : callable
        From (target, Q, K, V, extras) in the subject's layout to what it
        returns.
    title : str
        Its name, for the report.
    layout, mask, mask_shape : str
        One of `LAYOUTS`, `MASKS` or "none", `SHAPES`; an empty shape is to be
        found out.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        call: Callable[..., Any],
        title: str,
        *,
        layout: str,
        heads: int = 1,
        kv_heads: int | None = None,
        widths: tuple[int, int] | None = None,
        mask: str = "True attends",
        mask_name: str | None = None,
        mask_needed: bool = False,
        mask_shape: str = "",
        padding: str | None = None,
        padding_reads: str | None = None,
        causal: str | bool | None = None,
        dropout: str | None = None,
        rectangular: bool = True,
        options: (
            Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None
        ) = None,
    ) -> None:
        self.target, self.call, self.title, self.layout = (
            target,
            call,
            title,
            layout,
        )
        self.heads, self.kv_heads, self.widths = (
            heads,
            kv_heads or heads,
            widths,
        )
        self.mask, self.mask_name, self.mask_shape, self.padding = (
            mask,
            mask_name,
            mask_shape,
            padding,
        )
        self.causal, self.dropout, self.rectangular, self.options = (
            causal,
            dropout,
            rectangular,
            options,
        )
        self.mask_needed = mask_needed
        # the convention of that argument, if not that of the mask
        self.padding_reads = padding_reads
        # whether the causal flag is but a hint, and the mask must come with
        # it
        self.flag_beside_mask = False
        # whether "everything" must be said by a mask, because none means
        # causal
        self.open_mask = False
        self._copies: dict[torch.dtype, Callable[..., Any]] = {}

    @property
    def is_module(self) -> bool:
        return isinstance(self.target, nn.Module)

    def ask(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        causal: bool = False,
        train: bool = False,
        dropout: float = 0.0,
        strided: bool = False,
        seed: int | None = 0,
    ) -> Answer:
        """Ask once, behind a private random state (or, with no seed, in the open).

        Parameters
        ----------
        Q, K, V : Tensor
            [B, H, T, d_k], [B, H_kv, S, d_k], [B, H_kv, S, d_v].
        allowed : Tensor, optional
            Boolean [T, S] or [B, 1, T, S].
        padding : Tensor, optional
            Boolean [B, S], True for a real key, for the subject's own
            argument.
        causal, train, dropout, strided
            Whether the causal flag is set, a module trains; the probability
            to ask for; inputs with odd strides.
        """
        target = self._in(Q.dtype)
        if isinstance(target, nn.Module):
            target.train(train)
        sent = [self.lay_out(x, strided) for x in (Q, K, V)]
        extras = dict(
            self.options(Q.shape[2])
            if callable(self.options)
            else self.options or {}
        )
        extras = {
            name: in_precision(value, Q.dtype)
            for name, value in extras.items()
        }
        if allowed is None and self.open_mask:
            allowed = torch.ones(Q.shape[2], K.shape[2], dtype=torch.bool)
        if allowed is not None:
            extras[self.mask_name or "mask"] = self.write(allowed, Q, K)
        elif self.mask_needed:
            extras[self.mask_name or "mask"] = None
        if padding is not None and self.padding:
            extras[self.padding] = self.encode(
                padding, Q.dtype, self.padding_reads or self.mask
            )
        if causal and isinstance(self.causal, str):
            extras[self.causal] = True
        if dropout and self.dropout:
            extras[self.dropout] = dropout
        with apart(seed):
            returned = self.call(target, *sent, extras)
        return self.read(returned, Q, K, V)

    def _in(self, dtype: torch.dtype) -> Callable[..., Any]:
        """The module in a precision; a function takes any."""
        if not isinstance(self.target, nn.Module):
            return self.target
        if dtype not in self._copies:
            self._copies[dtype] = copy.deepcopy(self.target).to("cpu", dtype)
        return self._copies[dtype]

    def lay_out(self, x: Tensor, strided: bool = False) -> Tensor:
        """[B, H, T, d] in the subject's layout, fresh; `strided` changes how it lies in memory, and nothing else."""
        if "(H d)" in self.layout:
            x = x.transpose(1, 2).flatten(2)
        elif "H" not in self.layout:
            x = x.squeeze(1)
        elif self.layout == "B T H d":
            x = x.transpose(1, 2)
        x = x.transpose(0, 1) if self.layout.startswith("T B") else x
        if strided:
            return x.mT.clone(memory_format=torch.contiguous_format).mT
        return x.clone(memory_format=torch.contiguous_format)

    def bring_back(self, x: Tensor) -> Tensor:
        """What `lay_out` does, undone."""
        x = x.transpose(0, 1) if self.layout.startswith("T B") else x
        if "(H d)" in self.layout:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if "H" not in self.layout:
            return x.unsqueeze(1)
        return x.transpose(1, 2) if self.layout == "B T H d" else x

    def write(self, allowed: Tensor, Q: Tensor, K: Tensor) -> Tensor:
        """Who may look, as a mask of the subject's convention and shape."""
        B, H, T, S = *Q.shape[:3], K.shape[2]
        full = allowed.expand(B, 1, T, S)
        shaped = {
            "B H T S": lambda: full.expand(B, H, T, S),
            "B 1 T S": lambda: full,
            "(B H) T S": lambda: full.expand(B, H, T, S).flatten(0, 1),
            "B T S": lambda: full[:, 0],
            "T S": lambda: self._one_for_all(allowed),
        }[self.mask_shape or "T S"]()
        return self.encode(shaped, Q.dtype, self.mask).contiguous()

    def _one_for_all(self, allowed: Tensor) -> Tensor:
        if allowed.ndim == 4:
            raise ValueError("The subject takes one mask for all sequences.")
        return allowed

    @staticmethod
    def encode(
        allowed: Tensor, dtype: torch.dtype, convention: str
    ) -> Tensor:
        """Booleans, True for visible, in a convention."""
        if convention == "True blocks":
            return ~allowed
        if convention.startswith("additive"):
            lowest = (
                torch.finfo(dtype).min
                if convention.endswith("lowest")
                else -torch.inf
            )
            return torch.zeros(allowed.shape, dtype=dtype).masked_fill(
                ~allowed, lowest
            )
        return allowed.to(dtype) if convention == "0-1" else allowed.clone()

    def read(self, returned: Any, Q: Tensor, K: Tensor, V: Tensor) -> Answer:
        """The output and the weights among what came back, checked for their shapes."""
        parts = (
            list(returned)
            if isinstance(returned, (tuple, list))
            else [returned]
        )
        output = parts[0]
        if not isinstance(output, Tensor):
            raise ValueError(
                "The subject must return a tensor first, got"
                f" {type(output).__name__}."
            )
        wanted = self.lay_out(
            Q[..., :1].expand(*Q.shape[:-1], V.shape[-1])
        ).shape
        if output.shape != wanted:
            raise ValueError(
                f"The output must have shape {list(wanted)}, got"
                f" {list(output.shape)}."
            )
        B, H, T, S = *Q.shape[:3], K.shape[2]
        for part in parts[1:]:
            if isinstance(part, Tensor) and part.shape in (
                (B, H, T, S),
                (B, T, S),
            ):
                return Answer(
                    self.bring_back(output),
                    part if part.ndim == 4 else part.unsqueeze(1),
                )
        return Answer(self.bring_back(output), None)


@contextmanager
def apart(seed: int | None) -> Iterator[None]:
    """Everybody's global generators, put back afterwards; seeded alike meanwhile, unless the seed is None."""
    if seed is None:
        yield
        return
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def in_precision(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors, alone or in a tuple or list, in a precision; anything else as it is."""
    if isinstance(value, (tuple, list)):
        return type(value)(in_precision(part, dtype) for part in value)
    return (
        value.to(dtype)
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
    )


def mask_argument(
    function: Callable[..., Any], named: str | None
) -> tuple[bool, str | None, bool]:
    """Whether a callable takes a mask (True if it will not say), by which name, and whether one must be given."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True, named, False
    for name in (named,) if named else MASK_NAMES:
        if name in parameters:
            return (
                True,
                name,
                parameters[name].default is inspect.Parameter.empty,
            )
    free = [
        p
        for p in parameters.values()
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return bool(named or free), named, False
