"""How a model is asked in float64, and what its roundings may come to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LOW = (torch.float32, torch.float16, torch.bfloat16)
LOWERS = (Tensor.float, Tensor.half, Tensor.bfloat16)
# Of each operation, as of a layer's stage (see `surgeon.checkup.exam`)
ROUNDINGS = 4


class Raised(TorchFunctionMode):
    """Where a program asks for a precision below float64, it gets that.

    As norms and softmaxes do that always compute in float32.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in LOWERS:
            return args[0].double()
        # thousands of calls come by here, and few name a precision
        for it in args:
            if type(it) is torch.dtype:
                args = tuple(map(raised, args))
                break
        if not kwargs:
            return func(*args)
        return func(*args, **{n: raised(it) for n, it in kwargs.items()})


def raised(it: Any) -> Any:
    """float64 in the place of a lower precision."""
    lower = isinstance(it, torch.dtype) and it in LOW
    return torch.float64 if lower else it


@contextmanager
def in_double() -> Iterator[None]:
    """All that is computed meanwhile is computed in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Raised():
            yield
    finally:
        torch.set_default_dtype(before)


class Roundings(TorchDispatchMode):
    """Counts operations that round, and notes the coarsest precision.

    Attributes
    ----------
    number : int
        How many gave numbers of floating point.
    eps : float
        One rounding of the coarsest of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number, self.eps = 0, 0.0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and x.is_floating_point():
                self.number += 1
                self.eps = max(self.eps, torch.finfo(x.dtype).eps)
        return out

    def share(self) -> float:
        """What rounding may make of an answer, as a share of its size."""
        return ROUNDINGS * self.number * self.eps
