"""Tiles: blocks of queries by blocks of keys, and what is added in each."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from surgeon.procedures.inputs import Reader


class Tiling:
    """Which tiles there are, what is added in each, and room for two.

    Q is [N, T, d_k] and K [N, S, d_k], where N counts the leading axes `lead`
    together; `reader` gives what a mask adds, and `causal` is as
    `flash_attention` takes it; `block` is the number of queries and of keys
    in a tile. It lives as long as one pass: its memory is not kept for the
    way back.
    """

    def __init__(
        self,
        Q: Tensor,
        K: Tensor,
        *,
        reader: Reader | None = None,
        causal: bool = False,
        lead: Sequence[int],
        block: tuple[int, int],
    ) -> None:
        N, T, S = *Q.shape[:2], K.shape[1]
        self.block_q, self.block_k = min(block[0], T), min(block[1], S)
        self.rows = pieces(T, self.block_q)
        self.cols = pieces(S, self.block_k)
        self.lead, self.reader = tuple(lead), reader
        self.offset = S - T if causal else S
        self.memory = Q.new_empty(2, N * self.block_q * self.block_k)
        self.rooms: dict[tuple[int, ...], Tensor] = {}
        self.triangles: dict[tuple[int, ...], Tensor] = {}

    def blocks_of_queries(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.block_q, 1)

    def blocks_of_keys(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.block_k, 1)

    def along(self, i: int) -> Iterator[tuple[int, Tensor | None]]:
        """The tiles in which queries of block `i` see a key.

        Each is a block of keys, and what to add there, [..., t, s].
        """
        for j in range(len(self.cols)):
            blocked, bias = self.bias(i, j)
            if not blocked:
                yield j, bias

    def down(self, j: int) -> Iterator[tuple[int, Tensor | None]]:
        """The tiles in which keys of block `j` are seen.

        Each is a block of queries, and what to add there, [..., s, t].
        """
        for i in range(len(self.rows)):
            blocked, bias = self.bias(i, j)
            if not blocked:
                yield i, None if bias is None else bias.mT

    def bias(self, i: int, j: int) -> tuple[bool, Tensor | None]:
        """Whether a tile is blocked whole; if not, what to add to it."""
        rows, cols, bias = self.rows[i], self.cols[j], None
        t, s = rows.stop - rows.start, cols.stop - cols.start
        # the last key that the first of these queries may see, from the
        # first of these keys
        sees = rows.start + self.offset - cols.start
        if sees + t - 1 < 0:
            return True, None
        if sees < s - 1:
            bias = self.triangle(sees, t, s)
        if self.reader is not None:
            read = self.reader(rows, cols)
            bias = read if bias is None else bias + read
            if (bias == -torch.inf).all():
                return True, None
        return False, bias

    def triangle(self, first: int, t: int, s: int) -> Tensor:
        """Minus infinity beyond key `first`, one key later in each row.

        The tiles on a diagonal share it.
        """
        if (first, t, s) not in self.triangles:
            blocked = self.memory.new_full((t, s), -torch.inf)
            self.triangles[first, t, s] = blocked.triu_(first + 1)
        return self.triangles[first, t, s]

    def room(self, which: int, first: Tensor, second: Tensor) -> Tensor:
        """Memory for a tile, [N, tokens of first, tokens of second].

        It is the same for every tile of that shape.
        """
        shape = len(first), first.shape[1], second.shape[1]
        if (which, *shape) not in self.rooms:
            memory = self.memory[which, : math.prod(shape)]
            self.rooms[which, *shape] = memory.view(shape)
        return self.rooms[which, *shape]

    def add(
        self, bias: Tensor | None, tile: Tensor, factor: float = 1.0
    ) -> Tensor:
        """The tile, in its place, and the bias added times the factor."""
        if bias is not None:
            tile.view(*self.lead, *tile.shape[1:]).add_(bias, alpha=factor)
        return tile

    def add_to_mask(
        self, dmask: Tensor, dscores: Tensor, i: int, j: int
    ) -> None:
        """Add a tile's gradient to the mask's.

        It is summed over the axes along which the mask was broadcast.
        """
        rows = self.rows[i] if dmask.shape[-2] > 1 else slice(None)
        piece = dmask[..., rows, self.cols[j]]
        piece += dscores.unflatten(0, self.lead or (1,)).sum_to_size(
            piece.shape
        )


def pieces(tokens: int, block: int) -> list[slice]:
    """A sequence in pieces of a block each; the last may be shorter."""
    starts = range(0, tokens, block)
    return [slice(i, min(i + block, tokens)) for i in starts]


def usual_block(Q: Tensor, K: Tensor) -> int:
    """Tokens in a tile, by default.

    Large tiles are for few long sequences, so that all heads' tiles stay in
    the cache.
    """
    long = min(Q.shape[1], K.shape[1]) >= 1024
    return 256 if long and len(Q) <= 16 else 128
