"""Attention to the keys nearby."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from surgeon.anatomy.dot_product import check_inputs
from surgeon.arguments import natural_number, positive_integer
from surgeon.procedures.tiles import (
    Tiling,
    backward_tiles,
    fold_leading,
    forward_tiles,
    refuse_second_derivative,
    scores_are_small,
)


def window_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    window: int,
    *,
    causal: bool = False,
    scale: bool = True,
    block: int = 128,
) -> Tensor:
    r"""Attention of each query to the keys with :math:`|i - j| \le` `window`, in tiles, of which it makes no others.

    Time and memory grow in proportion to the number of tokens.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., T, d_k].
    V : Tensor
        Values [..., T, d_v].
    window : int
        How far a query sees, in tokens, at least 0, as in
        `surgeon.create_window_mask`.
    causal : bool
        Whether the half of the band that lies in the future is hidden as
        well.
    scale : bool
        Whether scores are divided by :math:`\sqrt{d_k}`.
    block : int
        Queries, and as many keys, in a tile. It changes the speed, and no
        more of the result than its rounding.

    Returns
    -------
    Tensor
        [..., T, d_v] in the precision of the inputs; differentiable, once.

    Raises
    ------
    ValueError
        As `surgeon.attention`, if there are not as many queries as keys, if
        `window` is not an integer of at least 0, or if `block` is not one of
        at least 1.
    RuntimeError
        If a second derivative is asked for (``create_graph=True``).

    Notes
    -----
    Half precision is computed in float32. Source: child2019, beltagy2020
    (book/references.bib).

    Examples
    --------
    >>> x = torch.zeros(4, 1)
    >>> window_attention(x, x, torch.tensor([[0.0], [2.0], [4.0], [9.0]]), 1, causal=True)
    tensor([[0.0000],
            [1.0000],
            [3.0000],
            [6.5000]])
    """
    check_inputs(Q, K, V)
    if Q.shape[-2] != K.shape[-2]:
        raise ValueError(
            f"Q and K must have as many queries as keys, got {Q.shape[-2]}"
            f" and {K.shape[-2]}."
        )
    natural_number("window", window)
    given, lead = (
        Q.dtype,
        torch.broadcast_shapes(Q.shape[:-2], K.shape[:-2], V.shape[:-2]),
    )
    factor = 1 / math.sqrt(Q.shape[-1]) if scale else 1.0
    Q, K, V = (fold_leading(x, lead) for x in (Q, K, V))
    band = Band(Q, K, window, causal, positive_integer("block", block))
    output: Tensor = _Window.apply(Q, K, V, factor, band)
    return output.to(given).reshape(*lead, *output.shape[1:])


class Band(Tiling):
    """The tiles that a band round the diagonal touches, and what to add where its edges cross them."""

    def __init__(
        self, Q: Tensor, K: Tensor, window: int, causal: bool, block: int
    ) -> None:
        super().__init__(Q, K, None, causal, (len(Q),), (block, block))
        self.back, self.ahead = window, 0 if causal else window
        self.places = torch.arange(Q.shape[1], device=Q.device)
        self.edges: dict[tuple[int, int, int], Tensor | None] = {}

    def along(self, i: int) -> Iterator[tuple[int, Tensor | None]]:
        """The blocks of keys that queries of block `i` see, and what to add there."""
        rows = self.rows[i]
        for j in self.between(rows.start - self.back, rows.stop + self.ahead):
            yield j, self.edge(i, j)

    def down(self, j: int) -> Iterator[tuple[int, Tensor | None]]:
        """The blocks of queries that see keys of block `j`, and what to add there, turned."""
        cols = self.cols[j]
        for i in self.between(cols.start - self.ahead, cols.stop + self.back):
            edge = self.edge(i, j)
            yield i, None if edge is None else edge.mT

    def between(self, start: int, stop: int) -> range:
        """The blocks that hold any token from `start` up to `stop`, which is not one of them."""
        first, last = max(start, 0), min(stop, len(self.places)) - 1
        return range(first // self.block_q, last // self.block_q + 1)

    def edge(self, i: int, j: int) -> Tensor | None:
        """Minus infinity outside of the band; None where nothing is. Tiles on one diagonal share it."""
        rows, cols = self.rows[i], self.cols[j]
        key = (i - j, rows.stop - rows.start, cols.stop - cols.start)
        if key not in self.edges:
            behind = self.places[rows, None] - self.places[cols]
            outside = (behind > self.back) | (-behind > self.ahead)
            bias = self.memory.new_zeros(outside.shape)
            bias.masked_fill_(outside, -torch.inf)
            self.edges[key] = bias if outside.any() else None
        return self.edges[key]


class _Window(Function):
    """`surgeon.flash_attention`, over other tiles."""

    @staticmethod
    def forward(
        ctx: Any, Q: Tensor, K: Tensor, V: Tensor, factor: float, band: Band
    ) -> Tensor:
        output, lse = forward_tiles(
            Q,
            K,
            V,
            factor,
            band,
            careful=not scores_are_small(Q, K, V, None, factor),
        )
        ctx.save_for_backward(Q, K, V, output, lse)
        ctx.factor, ctx.band = factor, band
        return output

    @staticmethod
    def backward(ctx: Any, doutput: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("window_attention")
        Q, K, V, output, lse = ctx.saved_tensors
        gradients = backward_tiles(
            Q,
            K,
            V,
            output,
            lse,
            doutput,
            torch.zeros_like(lse),
            ctx.factor,
            ctx.band,
            None,
        )
        return *gradients, None, None
