"""How masks are written: what says *hidden*, in which shape and name."""

import inspect
import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

MASKS = ("True attends", "True blocks", "additive", "additive, lowest", "0-1")
SHAPES = ("B H T S", "B 1 T S", "(B H) T S", "B T S", "T S")
MASK_NAMES = ("mask", "attn_mask", "attention_mask", "src_mask", "bias")


def encode(allowed: Tensor, dtype: torch.dtype, convention: str) -> Tensor:
    """Booleans, True for visible, in a convention."""
    if convention == "True blocks":
        return ~allowed
    if convention == "0-1":
        return allowed.to(dtype)
    if not convention.startswith("additive"):
        return allowed.clone()
    least = torch.finfo(dtype).min
    hidden = least if convention.endswith("lowest") else -math.inf
    nothing = torch.zeros(allowed.shape, dtype=dtype)
    return nothing.masked_fill(~allowed, hidden)


def shape(allowed: Tensor, wanted: str, B: int, H: int) -> Tensor:
    """Booleans [T, S] or [B, 1, T, S] in the shape that is wanted."""
    if wanted == "T S":
        return allowed
    full = allowed.expand(B, 1, *allowed.shape[-2:])
    if wanted == "B 1 T S":
        return full
    if wanted == "B T S":
        return full[:, 0]
    by_heads = full.expand(-1, H, -1, -1)
    return by_heads.flatten(0, 1) if wanted == "(B H) T S" else by_heads


def mask_argument(
    function: Callable[..., Any],
    named: str | None,
    others: Collection[Any] = (),
) -> tuple[bool, str | None, bool]:
    """Whether it takes a mask, by which name, and whether one must be given.

    True, if a callable will not say. Of the usual names, those of `others`
    were declared to be something else.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True, named, False
    usual = [name for name in MASK_NAMES if name not in others]
    for name in [named] if named else usual:
        if name in parameters:
            needed = parameters[name].default is inspect.Parameter.empty
            return True, name, needed
    anything = (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
    free = any(p.kind in anything for p in parameters.values())
    return bool(named) or free, named, False


def check_documents(
    function: Callable[..., Any], title: str, by: Any
) -> None:
    """Refuse a name of documents that is none of its arguments."""
    if not isinstance(by, str):
        return
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a callable that will not say
        return
    any_name = inspect.Parameter.VAR_KEYWORD
    if by in parameters or any(
        p.kind is any_name for p in parameters.values()
    ):
        return
    raise ValueError(
        f"documents must be an argument of {title}, or a function of their"
        f" numbers that returns its arguments by name, got {by!r}."
    )
