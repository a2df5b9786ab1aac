"""A mode in which PyTorch's functions tell which weights they used."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from surgeon.recording.flexible import flexibly_in_steps, is_flexible
from surgeon.recording.fused import asked_of, in_steps, through_the_kernel
from surgeon.recording.marks import Marks
from surgeon.recording.products import argument, shares_in, with_argument
from surgeon.recording.unseen import attends_by_call

# From weights and the scores they were made of, to those to use
Use = Callable[[Tensor, Tensor], Tensor]


class Watch(TorchFunctionMode):
    """While it is on, attention is computed in steps, and its weights told.

    Parameters
    ----------
    use : callable
        Is given what is about to multiply the values, [..., T, S], and the
        scores, [..., T, S or more, where a sink stands beyond the keys], and
        gives what does so.
    aside : callable
        Whether nothing is to be looked at now.
    unseen : callable
        Is told what attends, by its name, and is not seen.
    """

    def __init__(
        self,
        use: Use,
        aside: Callable[[], bool],
        unseen: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._use, self._aside, self._unseen = use, aside, unseen
        self._marks = Marks()
        self._last: Tensor | None = None
        self._wanted = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        """Run a function of PyTorch's, and see what it does."""
        named = kwargs or {}
        if self._aside():
            return func(*args, **named)
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            asked = asked_of(args, named)
            if asked is not None:
                return in_steps(asked, self._told)
        if name == "multi_head_attention_forward":
            return self._multihead(func, args, named)
        if is_flexible(func):
            return flexibly_in_steps(*args, **named, change=self._told)
        called = attends_by_call(func)
        if called:
            self._unseen(f"calls {called}")
        args, named = self._weighing(name, args, named)
        got = func(*args, **named)
        self._powers_in(name, args, named, got)
        self._marks.follow(name, args, named, got)
        return got

    def _told(self, weights: Tensor, scores: Tensor) -> Tensor:
        """What multiplies the values, by what was found."""
        weights = self._use(weights, scores)
        if self._wanted:
            # PyTorch's are NaN then in rows that may see nothing.
            empty = scores.detach().amax(-1, keepdim=True) == -torch.inf
            self._last = weights = weights.masked_fill(empty, math.nan)
        return weights

    def _weighing(
        self, name: str, args: tuple, named: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """The arguments of a product; of shares, with those to use."""
        for kind in ("shares", "turned"):
            where = shares_in(name, args, named, self._marks, kind)
            if where is not None:
                break
        else:
            return args, named
        found: Tensor = argument(args, named, where)
        mark = self._marks.of(found, kind)
        assert mark is not None
        assert mark.scores is not None
        rows = found.mT if kind == "turned" else found
        whole = (*mark.shape[:-1], rows.shape[-1])
        weights = rows
        if weights.numel() == math.prod(whole):
            weights = weights.reshape(whole)
        used = self._use(weights, mark.scores)
        if used is weights:
            return args, named
        used = used.reshape(rows.shape).to(rows)
        used = used.mT if kind == "turned" else used
        return with_argument(args, named, where, used)

    def _powers_in(
        self, name: str, args: tuple, named: dict[str, Any], got: Any
    ) -> None:
        """Say so where powers of scores weigh a sum, not yet divided.

        Not where they are added up themselves, by a product with ones.
        """
        where = shares_in(name, args, named, self._marks, "powers")
        if where is None or got.shape[-1] == 1:
            return
        mark = self._marks.of(argument(args, named, where), "powers")
        if mark is not None and mark.met:
            self._unseen("sums by exp(scores), which are not yet shares")

    def _multihead(
        self, func: Any, args: tuple, named: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """PyTorch's multi-head attention, through the fused kernel."""
        inside, given, wanted, averaged = through_the_kernel(
            func, args, named
        )
        self._wanted = wanted
        try:
            with self:
                output, _ = inside(**given)
            last = self._last
        finally:
            self._wanted, self._last = False, None
        if not wanted or last is None:
            return output, None
        weights = last.to(output.dtype)
        weights = weights.mean(1) if averaged else weights
        return output, weights if given["query"].ndim == 3 else weights[0]
