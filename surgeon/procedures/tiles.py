"""Attention a tile at a time: the loops over blocks of queries and of keys, forward and backward."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import read_in_tiles
from surgeon.anatomy.softmax import at_least_float32

# e^20 and e^-20 are far from both ends of float32, so scores within ±20 need
# no maximum subtracted
SMALL = 20.0


def forward_tiles(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    factor: float,
    tiles: "Tiling",
    careful: bool,
) -> tuple[Tensor, Tensor]:
    """Output [N, T, d_v] and log-sum-exp [N, T]; `careful` subtracts the largest score seen so far."""
    out, lse = (
        V.new_empty(*Q.shape[:2], V.shape[-1]),
        Q.new_empty(Q.shape[:2]),
    )
    keys = [k.mT for k in tiles.blocks_of_keys(K)]
    values = tiles.blocks_of_keys(V)
    blocks = zip(*map(tiles.blocks_of_queries, (Q, out, lse)), strict=True)
    for i, (q, o, log_total) in enumerate(blocks):
        q = q * factor
        total = q.new_zeros(*q.shape[:2], 1)
        average = torch.zeros_like(o)  # not yet divided by the total
        top = torch.full_like(total, -torch.inf if careful else 0.0)
        for j, bias in tiles.along(i):
            room = tiles.room(0, q, values[j])
            # scores, as yet
            powers = tiles.add(bias, torch.bmm(q, keys[j], out=room))
            if careful:
                seen = top
                top = torch.maximum(top, powers.amax(-1, keepdim=True))
                finite = top.masked_fill(top == -torch.inf, 0.0)
                powers -= finite
                shrink = torch.exp(seen - finite)
                total *= shrink  # what was counted against the old maximum
                average *= shrink
            powers.exp_()
            total += powers.sum(-1, keepdim=True)
            average.baddbmm_(powers, values[j])
        # log 0 is the -inf that an empty row wants
        log_total.copy_((torch.log(total) + top).squeeze(-1))
        torch.div(average, total.masked_fill_(total == 0, 1.0), out=o)
    return out, lse


def backward_tiles(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    out: Tensor,
    lse: Tensor,
    dout: Tensor,
    dlse: Tensor,
    factor: float,
    tiles: "Tiling",
    dmask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Q, K and V; that of the mask is added to `dmask`. Here a tile is [N, keys, queries]."""
    empty = lse == -torch.inf
    # e^(s - inf) = 0: an empty row passes nothing back
    base = lse.masked_fill(empty, torch.inf)
    delta = ((dout * out).sum(-1) - dlse).masked_fill(empty, 0.0)
    # scaled before the product, as in forward, so that scores round as there
    rows = (Q * factor, dout.contiguous(), base, delta)
    by_queries = list(zip(*map(tiles.blocks_of_queries, rows), strict=True))
    # each contiguous, so that a product can be added in place
    dQ = [q.new_zeros(q.shape) for q, *_ in by_queries]
    dK, dV = [], []
    blocks = zip(*map(tiles.blocks_of_keys, (K, V)), strict=True)
    for j, (k, v) in enumerate(blocks):
        dk, dv = k.new_zeros(k.shape), v.new_zeros(v.shape)
        for i, bias in tiles.down(j):
            q, do, log_total, pull = by_queries[i]
            room = tiles.room(0, k, q)
            # scores, as yet
            weights = tiles.add(bias, torch.bmm(k, q.mT, out=room))
            weights.sub_(log_total.unsqueeze(-2)).exp_()
            dscores = torch.bmm(v, do.mT, out=tiles.room(1, k, q))
            dscores.sub_(pull.unsqueeze(-2)).mul_(weights)
            dv.baddbmm_(weights, do)
            dk.baddbmm_(dscores, q)
            dQ[i].baddbmm_(dscores.mT, k)
            if dmask is not None:
                tiles.add_to_mask(dmask, dscores.mT, i, j)
        dK.append(dk)
        dV.append(dv)
    return torch.cat(dQ, 1).mul_(factor), torch.cat(dK, 1), torch.cat(dV, 1)


def fold_leading(x: Tensor, lead: Sequence[int]) -> Tensor:
    """[..., tokens, width] in at least float32, leading axes broadcast to `lead` and made one: [N, tokens, width]."""
    x = x.to(at_least_float32(x.dtype)).expand(*lead, *x.shape[-2:])
    return x.reshape(math.prod(lead), *x.shape[-2:])


def refuse_second_derivative(name: str) -> None:
    """Raise a RuntimeError in a backward pass with create_graph: its results would silently count as constants."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{name} can be differentiated once; use attention for second"
            " derivatives."
        )


def usual_block(Q: Tensor, K: Tensor) -> int:
    """Tokens in a tile, by default: large tiles for few long sequences, so that all heads' tiles stay in the cache."""
    return (
        256 if min(Q.shape[1], K.shape[1]) >= 1024 and len(Q) <= 16 else 128
    )


def scores_are_small(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, factor: float
) -> bool:
    r"""Whether no score can leave ±`SMALL`: by Cauchy and Schwarz, :math:`|q \cdot k| \le \|q\| \|k\|`.

    Then the powers and their sums can neither overflow nor vanish, and the
    running maximum is not needed.
    """
    if mask is not None and mask.is_floating_point():
        return False  # numbers to add are scores as well
    if not len(Q):
        return True  # a batch of none
    longest = [torch.linalg.vector_norm(x, dim=-1).amax() for x in (Q, K)]
    largest = torch.linalg.vector_norm(V, ord=torch.inf)
    return bool(
        (longest[0] * longest[1] * factor <= SMALL) & (largest < 1e20)
    )  # False for NaN too


class Tiling:
    """Which tiles there are, what is added to the scores in each, and room for two of them.

    Q is [N, T, d_k] and K [N, S, d_k], where N counts the leading axes `lead`
    together; mask and causal are as `flash_attention` takes them; `block` is
    the number of queries and of keys in a tile.
    """

    def __init__(
        self,
        Q: Tensor,
        K: Tensor,
        mask: Tensor | None,
        causal: bool,
        lead: Sequence[int],
        block: tuple[int, int],
    ) -> None:
        T, S = Q.shape[1], K.shape[1]
        self.block_q, self.block_k = min(block[0], T), min(block[1], S)
        self.rows = [
            slice(i, min(i + self.block_q, T))
            for i in range(0, T, self.block_q)
        ]
        self.cols = [
            slice(j, min(j + self.block_k, S))
            for j in range(0, S, self.block_k)
        ]
        self.lead, self.offset = tuple(lead), S - T if causal else S
        self.mask = (
            None
            if mask is None
            else read_in_tiles(
                mask, (*lead, T, S), dtype=Q.dtype, device=Q.device
            )
        )
        self.memory = Q.new_empty(2, Q.shape[0] * self.block_q * self.block_k)
        self.rooms: dict[tuple[int, ...], Tensor] = {}
        self.triangles: dict[tuple[int, ...], Tensor] = {}

    def blocks_of_queries(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.block_q, 1)

    def blocks_of_keys(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.block_k, 1)

    def along(self, i: int) -> Iterator[tuple[int, Tensor | None]]:
        """The tiles in which queries of block `i` see a key: block of keys, what to add there, [..., t, s]."""
        for j in range(len(self.cols)):
            blocked, bias = self.bias(i, j)
            if not blocked:
                yield j, bias

    def down(self, j: int) -> Iterator[tuple[int, Tensor | None]]:
        """The tiles in which keys of block `j` are seen: block of queries, what to add there, [..., s, t]."""
        for i in range(len(self.rows)):
            blocked, bias = self.bias(i, j)
            if not blocked:
                yield i, None if bias is None else bias.mT

    def bias(self, i: int, j: int) -> tuple[bool, Tensor | None]:
        """Whether a tile is blocked entirely; if not, what to add to its scores, None for nothing."""
        rows, cols, bias = self.rows[i], self.cols[j], None
        sees = (
            rows.start + self.offset
        )  # the last key that the first of these queries may see
        if cols.start > sees + rows.stop - rows.start - 1:
            return True, None
        if cols.stop - 1 > sees:
            bias = self.triangle(
                sees - cols.start,
                rows.stop - rows.start,
                cols.stop - cols.start,
            )
        if self.mask is not None:
            read = self.mask(rows, cols)
            bias = read if bias is None else bias + read
            if (bias == -torch.inf).all():
                return True, None
        return False, bias

    def triangle(self, first: int, t: int, s: int) -> Tensor:
        """Minus infinity beyond key `first` for the first query, one key later for each next; a diagonal shares it."""
        if (first, t, s) not in self.triangles:
            self.triangles[first, t, s] = self.memory.new_full(
                (t, s), -torch.inf
            ).triu_(first + 1)
        return self.triangles[first, t, s]

    def room(self, which: int, first: Tensor, second: Tensor) -> Tensor:
        """Memory for a tile, [N, tokens of first, tokens of second], the same for every tile of that shape."""
        shape = (which, len(first), first.shape[1], second.shape[1])
        if shape not in self.rooms:
            self.rooms[shape] = self.memory[
                which, : math.prod(shape[1:])
            ].view(shape[1:])
        return self.rooms[shape]

    def add(self, bias: Tensor | None, tile: Tensor) -> Tensor:
        """The tile, in its place, with the bias added over the leading axes."""
        if bias is not None:
            tile.view(*self.lead, *tile.shape[1:]).add_(bias)
        return tile

    def add_to_mask(
        self, dmask: Tensor, dscores: Tensor, i: int, j: int
    ) -> None:
        """Add a tile's gradient to the mask's, summed over the axes along which the mask was broadcast."""
        piece = dmask[
            ...,
            self.rows[i] if dmask.shape[-2] > 1 else slice(None),
            self.cols[j],
        ]
        piece += dscores.unflatten(0, self.lead or (1,)).sum_to_size(
            piece.shape
        )
