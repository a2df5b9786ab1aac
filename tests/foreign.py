"""Other people's programs: they set PyTorch's defaults to what suits them, and call us."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def foreign_defaults() -> Iterator[None]:
    """Double precision by default, and by default on a device that holds no numbers."""
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(precision)
