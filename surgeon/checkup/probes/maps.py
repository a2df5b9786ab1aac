"""Maps of who reaches whom."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.imaging.influence import influence_map

# Along which outputs are differentiated: a path is missed by none of them
# with probability one. Of very wide outputs each costs much, and few will do.
DIRECTIONS, FEW, WIDE = 12, 3, 1024


def reach(
    function: Callable[[Tensor], Tensor], rows: Tensor, tolerance: float
) -> Tensor:
    """`influence_map`; where it is zero, what a change of the token moves.

    Wide outputs are taken along some random directions: a cell then estimates
    its norm, and is still 0 where no path leads, and nowhere else.
    """
    with torch.no_grad():
        still = function(rows)
    narrow = function
    if still.shape[-1] > DIRECTIONS:
        some = directions(still.shape[-1]).to(still.dtype)
        narrow = lambda x: function(x) @ some
    try:
        found = answer(influence_map, narrow, rows)
    except SubjectError:  # that autograd cannot follow
        found = rows.new_zeros(len(rows), len(rows))
    with torch.no_grad():
        for j in range(len(rows)):
            changed = rows.clone()
            changed[j] = -0.7 * changed[j] + 0.3
            moved = (function(changed) - still).norm(dim=-1)
            moved = torch.where(moved > tolerance, moved, 0.0)
            found[:, j] = torch.where(found[:, j] == 0, moved, found[:, j])
    return found.detach()


def directions(width: int) -> Tensor:
    """[width, few]: along which a vector keeps its norm on average."""
    chance = torch.Generator().manual_seed(0)
    some = DIRECTIONS if width < WIDE else FEW
    found = torch.randn(width, some, generator=chance, dtype=torch.float64)
    return found / math.sqrt(some)


def leak(found: Tensor) -> float:
    """The largest entry of a map above the diagonal."""
    return float(found.nan_to_num(nan=math.inf).triu(1).max())
