"""Shares of one, followed from the softmax that made them to a product.

Whose result is attention? That of a softmax over the last axis, by PyTorch or
by hand, which then weighs a sum. Whatever lies between (dropout, another
precision, another shape, a gate, a second softmax that is added, a column
that is dropped) is followed; what is not multiplied with anything, as the
shares of a vocabulary, is no attention.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SOFTMAX = {
    "softmax": "shares",
    "special_softmax": "shares",
    "_softmax": "shares",
    "log_softmax": "log shares",
    "special_log_softmax": "log shares",
    "logsumexp": "log sums",
    "special_logsumexp": "log sums",
}
# What may exchange the last two axes, a property (`mT`) among them
TURNING = ("transpose", "permute", "swapaxes", "swapdims", "__get__")
PRODUCTS = ("matmul", "bmm", "baddbmm", "einsum")
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
        "scores", "powers", "sums", "log sums", "log shares", "shares" or
        "turned", which are shares whose last two axes are exchanged.
    scores : Tensor or None
        What was given to the softmax, or to the power; None where the mark
        is on scores themselves, which would then never be let go.
    shape : tuple of int
        Of the result of the softmax.
    met : bool
        Whether the scores come of a product, as of queries and keys.
    """

    kind: str
    scores: Tensor | None
    shape: tuple[int, ...]
    met: bool = False


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
        if name in PRODUCTS and got.ndim > 2:
            self._of[got] = Mark("scores", None, (), True)
            return
        given = [x for x in args if isinstance(x, Tensor)]
        first = given[0] if given else named.get("input")
        if not isinstance(first, Tensor):
            return
        if name in TURNING:
            mark = self._turned(first, got)
        else:
            mark = self._next(name, first, given, args, named)
        if mark is not None:
            kept = mark.shape or tuple(got.shape)
            self._of[got] = Mark(mark.kind, mark.scores, kept, mark.met)

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
            if first.ndim < 3 or not _of_rows(first, args, named):
                return None
            return Mark(SOFTMAX[name], first, ())
        if plain in ("exp", "exp2") and first.ndim > 2:
            logs = self.of(first, "log shares") if plain == "exp" else None
            if logs is not None:
                return Mark("shares", logs.scores, ())
            return Mark("powers", first, (), self._met(first))
        second = given[1] if len(given) > 1 else None
        if plain == "sub" and self.of(second, "log sums"):
            return Mark("log shares", first, ())
        powers = self.of(first, "powers")
        if plain == "sum" and powers is not None:
            whole = _of_rows(first, args, named)
            return Mark("sums", first, powers.shape) if whole else None
        if plain == "div" and powers is not None:
            divided = self.of(second, "sums")
            return Mark("shares", powers.scores, ()) if divided else None
        if plain not in FOLLOWED:
            return None
        mark = self._of.get(first)
        if mark is None and plain in ("add", "mul") and second is not None:
            return self._of.get(second)  # as of a gate times shares
        return mark

    def _turned(self, first: Tensor, got: Tensor) -> Mark | None:
        """The mark of shares whose last two axes are exchanged, or back."""
        mark = self._of.get(first)
        kinds = {"shares": "turned", "turned": "shares"}
        if mark is None or mark.kind not in kinds or first.ndim < 3:
            return None
        back = first.data_ptr() == got.data_ptr() and got.ndim == first.ndim
        if not back or got.mT.stride() != first.stride():
            return None
        if got.mT.shape != first.shape:
            return None
        return Mark(kinds[mark.kind], mark.scores, mark.shape)

    def _met(self, x: Tensor) -> bool:
        """Whether numbers come of a product."""
        mark = self._of.get(x)
        return mark is not None and mark.met


def _of_rows(x: Tensor, args: tuple, named: dict[str, Any]) -> bool:
    """Whether a function goes along the last axis, and no other."""
    dim = named.get("dim", args[1] if len(args) > 1 else None)
    return dim in (-1, [-1], (-1,), x.ndim - 1)
