"""Shares of one, followed from the softmax that made them to a product.

Whose result is attention? That of a softmax over the last axis, by PyTorch or
by hand, which then weighs a sum. Whatever lies between (dropout, another
precision, another shape, a column that is dropped) is followed; what is not
multiplied with anything, as the shares of a vocabulary, is no attention.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SOFTMAX = ("softmax", "special_softmax", "_softmax")
FOLLOWED = frozenset(
    (
        *("add", "sub", "mul", "div", "clamp", "nan_to_num", "masked_fill"),
        *("dropout", "where", "clone", "contiguous", "detach", "getitem"),
        *("to", "type", "type_as", "half", "bfloat16", "float", "double"),
        *("reshape", "view", "flatten", "unflatten", "expand"),
        *("squeeze", "unsqueeze"),
    )
)


@dataclass(frozen=True)
class Mark:
    """What a tensor holds: powers, the sums of their rows, or shares.

    Parameters
    ----------
    kind : str
        "powers", "sums" or "shares".
    scores : Tensor
        What was given to the softmax, or to the power.
    shape : tuple of int
        Of the result of the softmax.
    """

    kind: str
    scores: Tensor
    shape: tuple[int, ...]


class Marks:
    """Which tensors hold shares of one, or are on the way there."""

    def __init__(self) -> None:
        self._of: Any = WeakTensorKeyDictionary()

    def of(self, x: Any, kind: str = "shares") -> Mark | None:
        """The mark of a tensor, if it is of this kind."""
        mark = self._of.get(x) if isinstance(x, Tensor) else None
        return mark if mark is not None and mark.kind == kind else None

    def follow(
        self, name: str, args: tuple, named: dict[str, Any], got: Any
    ) -> None:
        """Mark what a function of PyTorch made, if its origin says so."""
        if not isinstance(got, Tensor) or not got.is_floating_point():
            return
        given = [x for x in args if isinstance(x, Tensor)]
        first = given[0] if given else named.get("input")
        if not isinstance(first, Tensor):
            return
        mark = self._next(name, first, given, args, named)
        if mark is not None:
            kept = mark.shape or tuple(got.shape)
            self._of[got] = Mark(mark.kind, mark.scores, kept)

    def _next(
        self,
        name: str,
        first: Tensor,
        given: list[Tensor],
        args: tuple,
        named: dict[str, Any],
    ) -> Mark | None:
        plain = name.strip("_")
        if name in SOFTMAX:
            dim = named.get("dim", args[1] if len(args) > 1 else None)
            last = dim in (-1, first.ndim - 1)
            if not last or first.ndim < 3:
                return None
            return Mark("shares", first, ())
        if plain == "exp" and first.ndim > 2:
            return Mark("powers", first, ())
        powers = self.of(first, "powers")
        if plain == "sum" and powers is not None:
            dim = named.get("dim", args[1] if len(args) > 1 else None)
            rows = dim in (-1, [-1], (-1,), first.ndim - 1)
            return Mark("sums", first, powers.shape) if rows else None
        if plain == "div" and powers is not None:
            if len(given) > 1 and self.of(given[1], "sums"):
                return Mark("shares", powers.scores, ())
            return None
        return self._of.get(first) if plain in FOLLOWED else None
