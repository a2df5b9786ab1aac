"""Attention to the keys nearby."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from surgeon.anatomy.masks import steps_back
from surgeon.arguments import positive_integer, truth
from surgeon.procedures.inputs import fold
from surgeon.procedures.tile_loops import Tiled
from surgeon.procedures.tiles import Tiling


def window_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    window: int | None = None,
    *,
    sliding_window: int | None = None,
    causal: bool = False,
    scale: bool = True,
    block: int = 128,
) -> Tensor:
    r"""Attention of each query to the keys with :math:`|i - j| \le` `window`.

    No other tiles are made than those that hold such a pair, so time and
    memory grow in proportion to the number of tokens.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., T, d_k].
    V : Tensor
        Values [..., T, d_v].
    window : int, optional
        How far a query sees to each side, in tokens, at least 0.
    sliding_window : int, optional
        In its place, and with `causal` alone: how many keys a query sees, its
        own counted, as in `surgeon.create_window_mask`.
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
        `window` is not an integer of at least 0, `sliding_window` or `block`
        not one of at least 1, if both or none of the two ways to count are
        given, or if `sliding_window` is given without `causal`.
    RuntimeError
        If a second derivative is asked for (``create_graph=True``).

    Notes
    -----
    Half precision is computed in float32. Source: child2019, beltagy2020
    (book/references.bib).

    Examples
    --------
    >>> x, V = torch.zeros(4, 1), torch.tensor([[0.0], [2.0], [4.0], [9.0]])
    >>> window_attention(x, x, V, 1, causal=True)
    tensor([[0.0000],
            [1.0000],
            [3.0000],
            [6.5000]])
    """
    inputs = fold(Q, K, V, scale)
    T, S = inputs.Q.shape[1], inputs.K.shape[1]
    if T != S:
        raise ValueError(
            f"Q and K must have as many queries as keys, got {T} and {S}."
        )
    causal = truth("causal", causal)
    band = partial(
        Band,
        window=steps_back(window, sliding_window, causal),
        causal=causal,
        block=positive_integer("block", block),
    )
    folded = inputs.Q, inputs.K, inputs.V
    output, _ = Tiled.apply(
        *folded, None, inputs.factor, band, "window_attention"
    )
    return inputs.unfold(output.to(inputs.dtype))


class Band(Tiling):
    """The tiles that a band round the diagonal touches.

    Where an edge of the band crosses a tile, something is added there.
    """

    def __init__(
        self, Q: Tensor, K: Tensor, *, window: int, causal: bool, block: int
    ) -> None:
        super().__init__(Q, K, lead=(len(Q),), block=(block, block))
        self.back, self.ahead = window, 0 if causal else window
        self.places = torch.arange(Q.shape[1], device=Q.device)
        self.edges: dict[tuple[int, int, int], Tensor | None] = {}

    def along(self, i: int) -> Iterator[tuple[int, Tensor | None]]:
        """The blocks of keys that queries of block `i` see."""
        rows = self.rows[i]
        for j in self.between(rows.start - self.back, rows.stop + self.ahead):
            yield j, self.edge(i, j)

    def down(self, j: int) -> Iterator[tuple[int, Tensor | None]]:
        """The blocks of queries that see keys of block `j`, tiles turned."""
        cols = self.cols[j]
        for i in self.between(cols.start - self.ahead, cols.stop + self.back):
            edge = self.edge(i, j)
            yield i, None if edge is None else edge.mT

    def between(self, start: int, stop: int) -> range:
        """The blocks that hold any token from `start` to before `stop`."""
        first, last = max(start, 0), min(stop, len(self.places)) - 1
        return range(first // self.block_q, last // self.block_q + 1)

    def edge(self, i: int, j: int) -> Tensor | None:
        """Minus infinity outside of the band; None where nothing is.

        The tiles on a diagonal share it.
        """
        rows, cols = self.rows[i], self.cols[j]
        key = (i - j, rows.stop - rows.start, cols.stop - cols.start)
        if key not in self.edges:
            behind = self.places[rows, None] - self.places[cols]
            outside = (behind > self.back) | (-behind > self.ahead)
            bias = self.memory.new_zeros(outside.shape)
            bias.masked_fill_(outside, -torch.inf)
            self.edges[key] = bias if outside.any() else None
        return self.edges[key]
