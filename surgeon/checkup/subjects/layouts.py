"""Where the axes are: ours is [B, H, T, d], the subject's is its own."""

from functools import lru_cache

import torch
from torch import Tensor

LAYOUTS = ("B T d", "B H T d", "B T H d", "T B d", "B T (H d)", "T B (H d)")


def lay_out(x: Tensor, layout: str, strided: str = "") -> Tensor:
    """[B, H, T, d] in another layout, fresh.

    `strided` changes how it lies in memory, and nothing else: "columns" one
    after another, or the rows "permuted".
    """
    if "(H d)" in layout:
        x = x.transpose(1, 2).flatten(2)
    elif "H" not in layout:
        x = x.squeeze(1)
    elif layout == "B T H d":
        x = x.transpose(1, 2)
    x = x.transpose(0, 1) if layout.startswith("T B") else x
    if strided == "columns":
        return x.mT.clone(memory_format=torch.contiguous_format).mT
    if strided:
        first = x.ndim - 3
        turned = x.transpose(first, first + 1)
        turned = turned.clone(memory_format=torch.contiguous_format)
        return turned.transpose(first, first + 1)
    return x.clone(memory_format=torch.contiguous_format)


@lru_cache(maxsize=256)
def shape_in(layout: str, *sizes: int) -> torch.Size:
    """The shape of [B, H, T, d] in another layout."""
    return lay_out(torch.empty(sizes), layout).shape


def bring_back(x: Tensor, layout: str, heads: int) -> Tensor:
    """What `lay_out` does, undone."""
    x = x.transpose(0, 1) if layout.startswith("T B") else x
    if "(H d)" in layout:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)
    if "H" not in layout:
        return x.unsqueeze(1)
    return x.transpose(1, 2) if layout == "B T H d" else x
