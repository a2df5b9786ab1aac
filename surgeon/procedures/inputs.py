"""What every procedure does before it begins: one axis for all that lead."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import check_inputs, common_shape
from surgeon.anatomy.mask_reading import read_in_tiles
from surgeon.anatomy.precision import at_least_float32
from surgeon.arguments import positive_integer, truth

#: a slice of the queries and one of the keys, to what is added there
Reader = Callable[[slice, slice], Tensor]


class Inputs(NamedTuple):
    """Queries, keys and values as loops want them, and the way back."""

    Q: Tensor  #: [N, T, d_k], at least float32
    K: Tensor  #: [N, S, d_k]
    V: Tensor  #: [N, S, d_v]
    factor: float  #: what scores are multiplied by
    lead: torch.Size  #: the leading axes, which N counts together
    dtype: torch.dtype  #: the precision that came

    def unfold(self, x: Tensor) -> Tensor:
        """[N, ...] with all its leading axes again."""
        return x.reshape(*self.lead, *x.shape[1:])

    def read(
        self, mask: Tensor | None
    ) -> tuple[Tensor | None, Reader | None]:
        """The mask, for its gradient, and what reads it a tile at a time.

        One that is read as permissions has no gradient, and is detached.
        """
        if mask is None:
            return None, None
        scores = (*self.lead, self.Q.shape[1], self.K.shape[1])
        reader = read_in_tiles(
            mask, scores, dtype=self.Q.dtype, device=self.Q.device
        )
        corner = reader(slice(0, 1), slice(0, 1))
        return mask if corner.requires_grad else mask.detach(), reader


def fold(Q: Tensor, K: Tensor, V: Tensor, scale: bool) -> Inputs:
    """Check what came; broadcast its leading axes, and make them one."""
    check_inputs(Q, K, V)
    factor = score_factor(Q, scale)
    lead = common_shape(*(x.shape[:-2] for x in (Q, K, V)))
    working = at_least_float32(Q.dtype)
    q, k, v = (fold_leading(x.to(working), lead) for x in (Q, K, V))
    return Inputs(q, k, v, factor, lead, Q.dtype)


def fold_leading(x: Tensor, lead: Sequence[int]) -> Tensor:
    """[..., tokens, width], broadcast to `lead`, as [N, tokens, width]."""
    tokens, width = x.shape[-2:]
    x = x.expand(*lead, tokens, width)
    return x.reshape(math.prod(lead), tokens, width)


def score_factor(Q: Tensor, scale: bool) -> float:
    r"""What scores are multiplied by: :math:`1 / \sqrt{d_k}`, or 1."""
    return 1 / math.sqrt(Q.shape[-1]) if truth("scale", scale) else 1.0


def block_size(name: str, tokens: int | None, usual: int) -> int:
    """How many tokens go together: what was asked for, or the usual."""
    return usual if tokens is None else positive_integer(name, tokens)


def refuse_second_derivative(name: str) -> None:
    """Raise a RuntimeError in a backward pass with create_graph.

    A backward that is written by hand, in place, is not differentiated.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{name} can be differentiated once; use attention for second"
            " derivatives."
        )
