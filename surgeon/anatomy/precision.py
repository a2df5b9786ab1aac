"""The precision to add up in, whatever the inputs come in.

And numbers that are too small for any.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The precision to add up in: float32 for half, else what came."""
    return torch.promote_types(dtype, torch.float32)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Leave a function's precision to the function.

    Under `torch.autocast` a product is rounded to half precision whatever its
    factors are. A function that has chosen to sum in float32 does not want
    that. The device is that of its first tensor.
    """

    @wraps(function)
    def precise(*args: P.args, **options: P.kwargs) -> R:
        given = (*args, *options.values())
        tensors = (x for x in given if isinstance(x, Tensor))
        device = next(x.device.type for x in tensors)
        if not torch.amp.is_autocast_available(device):
            return function(*args, **options)
        with torch.autocast(device, enabled=False):
            return function(*args, **options)

    return precise


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """On a CPU, numbers too small for all their digits count as zero.

    Many processors take a hundred times as long for them, and a softmax that
    has chosen leaves gradients of such a size. It holds in this thread, where
    the processor can do so, and what was before is again afterwards.
    """
    smallest = torch.tensor([torch.finfo(torch.float32).tiny], device="cpu")
    before = not (smallest / 2).any()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
