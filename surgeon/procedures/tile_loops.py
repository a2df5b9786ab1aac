"""The loops over tiles, forward and backward, and what autograd sees."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from surgeon.anatomy.precision import without_autocast
from surgeon.procedures.inputs import refuse_second_derivative
from surgeon.procedures.tiles import Tiling

# e^20 and e^-20 are far from both ends of float32, so scores within ±20 need
# no maximum subtracted
SMALL = 20.0
# e^s = 2^(s log2 e), and powers of 2 are faster to compute
LOG2_E = math.log2(math.e)


@without_autocast
def forward_tiles(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    factor: float,
    tiles: Tiling,
    careful: bool,
) -> tuple[Tensor, Tensor]:
    """Output [N, T, d_v] and log-sum-exp [N, T].

    `careful` subtracts the largest score seen so far.
    """
    out = V.new_empty(*Q.shape[:2], V.shape[-1])
    lse = Q.new_empty(Q.shape[:2])
    keys = [k.mT for k in tiles.blocks_of_keys(K)]
    values = tiles.blocks_of_keys(V)
    blocks = zip(*map(tiles.blocks_of_queries, (Q, out, lse)), strict=True)
    for i, (q, o, log_total) in enumerate(blocks):
        q = q * (factor * LOG2_E)
        total = q.new_zeros(*q.shape[:2], 1)
        average = torch.zeros_like(o)  # not yet divided by the total
        top = torch.full_like(total, -torch.inf if careful else 0.0)
        for j, bias in tiles.along(i):
            room = tiles.room(0, q, values[j])
            # scores, as yet, times log2 e
            powers = tiles.add(bias, torch.bmm(q, keys[j], out=room), LOG2_E)
            if careful:
                seen = top
                top = torch.maximum(top, powers.amax(-1, keepdim=True))
                finite = top.masked_fill(top == -torch.inf, 0.0)
                powers -= finite
                shrink = torch.exp2(seen - finite)
                total *= shrink  # what was counted against the old maximum
                average *= shrink
            powers.exp2_()
            total += powers.sum(-1, keepdim=True)
            average.baddbmm_(powers, values[j])
        # log 0 is the -inf that an empty row wants
        log_total.copy_((torch.log2(total) + top).squeeze(-1) / LOG2_E)
        torch.div(average, total.masked_fill_(total == 0, 1.0), out=o)
    return out, lse


@without_autocast
def backward_tiles(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    out: Tensor,
    lse: Tensor,
    dout: Tensor,
    dlse: Tensor,
    factor: float,
    tiles: Tiling,
    dmask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Q, K and V; that of the mask is added to `dmask`.

    Here a tile is [N, keys, queries].
    """
    empty = lse == -torch.inf
    # 2^(s - inf) = 0: an empty row passes nothing back
    base = lse.masked_fill(empty, torch.inf) * LOG2_E
    delta = ((dout * out).sum(-1) - dlse).masked_fill(empty, 0.0)
    # scaled before the product, as in forward, so that scores round as there
    rows = (Q * (factor * LOG2_E), dout.contiguous(), base, delta)
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
            # scores, as yet, times log2 e
            weights = tiles.add(bias, torch.bmm(k, q.mT, out=room), LOG2_E)
            weights.sub_(log_total.unsqueeze(-2)).exp2_()
            dscores = torch.bmm(v, do.mT, out=tiles.room(1, k, q))
            dscores.sub_(pull.unsqueeze(-2)).mul_(weights)
            dv.baddbmm_(weights, do)
            dk.baddbmm_(dscores, q)
            dQ[i].baddbmm_(dscores.mT, k)
            if dmask is not None:
                tiles.add_to_mask(dmask, dscores.mT, i, j)
        dK.append(dk.div_(LOG2_E))
        dV.append(dv)
    return torch.cat(dQ, 1).mul_(factor), torch.cat(dK, 1), torch.cat(dV, 1)


@without_autocast
def scores_are_small(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, factor: float
) -> bool:
    r"""Whether no score can leave ±`SMALL`.

    By Cauchy and Schwarz, :math:`|q \cdot k| \le \|q\| \|k\|`. Then the
    powers and their sums can neither overflow nor vanish, and the running
    maximum is not needed.
    """
    if mask is not None and mask.is_floating_point():
        return False  # numbers to add are scores as well
    if not len(Q):
        return True  # a batch of none
    longest_q, longest_k = (
        torch.linalg.vector_norm(x, dim=-1).amax() for x in (Q, K)
    )
    scores_fit = longest_q * longest_k * factor <= SMALL  # False for NaN
    values_fit = torch.linalg.vector_norm(V, ord=torch.inf) < 1e20
    return bool(scores_fit & values_fit)


class Tiled(Function):
    """Attention over [N, tokens, width], N for all leading axes together.

    `tiling` makes the tiles from Q and K, for each way anew, so that none of
    their memory waits for the backward.
    """

    @staticmethod
    def forward(
        ctx: Any,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        mask: Tensor | None,
        factor: float,
        tiling: Callable[[Tensor, Tensor], Tiling],
        name: str,
    ) -> tuple[Tensor, Tensor]:
        careful = not scores_are_small(Q, K, V, mask, factor)
        out, lse = forward_tiles(Q, K, V, factor, tiling(Q, K), careful)
        ctx.save_for_backward(Q, K, V, mask, out, lse)
        ctx.factor, ctx.tiling, ctx.name = factor, tiling, name
        return out, lse

    @staticmethod
    def backward(
        ctx: Any, dout: Tensor, dlse: Tensor
    ) -> tuple[Tensor | None, ...]:
        refuse_second_derivative(ctx.name)
        Q, K, V, mask, out, lse = ctx.saved_tensors
        dmask = None
        if ctx.needs_input_grad[3]:
            dmask = torch.zeros_like(mask, dtype=Q.dtype)
        rows, tiles = (out, lse, dout, dlse), ctx.tiling(Q, K)
        gradients = backward_tiles(Q, K, V, *rows, ctx.factor, tiles, dmask)
        if dmask is not None:
            dmask = dmask.to(mask.dtype)
        return *gradients, dmask, None, None, None
