"""Attention in tiles: the same numbers as `attention`, without ever holding the matrix of scores."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from surgeon.anatomy.dot_product import check_inputs
from surgeon.arguments import positive_integer
from surgeon.procedures.online import Partial
from surgeon.procedures.tiles import (
    Tiling,
    backward_tiles,
    fold_leading,
    forward_tiles,
    refuse_second_derivative,
    scores_are_small,
    usual_block,
)


def flash_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    causal: bool = False,
    block_q: int | None = None,
    block_k: int | None = None,
    return_lse: bool = False,
) -> Tensor | Partial:
    r"""Scaled dot-product attention, computed a tile of queries by keys at a time.

    The largest thing it makes besides its result is a tile for each head, so
    memory grows with the number of tokens and not with its square. The
    backward pass finds no tile kept: it computes each again from Q, K and the
    log-sum-exp.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., S, d_k].
    V : Tensor
        Values [..., S, d_v].
    mask : Tensor, optional
        As `surgeon.attention` reads it, a tile at a time; a mask of numbers
        to add passes its gradient.
    scale : bool
        Whether scores are divided by :math:`\sqrt{d_k}`.
    causal : bool
        Whether query `i` sees only the keys `j` :math:`\le i + S - T`: the
        last query sees every key. Tiles above the diagonal cost nothing, and
        no mask is made for them.
    block_q, block_k : int, optional
        Queries and keys in a tile. They change the speed, and no more of the
        result than its rounding; by default, what was found fast on a
        processor: 256 for long sequences and few heads, otherwise 128.
    return_lse : bool
        Whether to hand back the log-sum-exp of each row of scores as well, so
        that the result can be merged.

    Returns
    -------
    Tensor or Partial
        The output [..., T, d_v] in the precision of the inputs; with
        `return_lse`, `surgeon.procedures.online.Partial` of the output and
        `lse` [..., T], at least float32. Both are differentiable, once. A row
        that may look at nothing is zero, and its `lse` :math:`-\infty`.

    Raises
    ------
    ValueError
        As `surgeon.attention`, or if a block is not a positive integer.
    RuntimeError
        If a second derivative is asked for (``create_graph=True``).

    Notes
    -----
    Half precision is computed in float32. Source: milakov2018, dao2022
    (book/references.bib).

    Examples
    --------
    >>> Q, K, V = torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([[1.0], [2.0], [3.0]])
    >>> flash_attention(Q, K, V, block_k=2, return_lse=True)  # the mean of three, and log 3
    Partial(out=tensor([[2.]]), lse=tensor([1.0986]))
    """
    check_inputs(Q, K, V)
    blocks = {"block_q": block_q, "block_k": block_k}
    block_q, block_k = (
        None if n is None else positive_integer(name, n)
        for name, n in blocks.items()
    )
    given, lead = (
        Q.dtype,
        torch.broadcast_shapes(Q.shape[:-2], K.shape[:-2], V.shape[:-2]),
    )
    Q, K, V = (fold_leading(x, lead) for x in (Q, K, V))
    block = (block_q or usual_block(Q, K), block_k or usual_block(Q, K))
    factor = 1 / math.sqrt(Q.shape[-1]) if scale else 1.0
    out, lse = _Flash.apply(Q, K, V, mask, factor, causal, lead, block)
    part = Partial(
        out.to(given).unflatten(0, lead or (1,)),
        lse.unflatten(0, lead or (1,)),
    )
    part = part if lead else Partial(part.out.squeeze(0), part.lse.squeeze(0))
    return part if return_lse else part.out


class _Flash(Function):
    """Forward and backward over [N, tokens, width], where N counts all leading axes together."""

    @staticmethod
    def forward(
        ctx: Any,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        mask: Tensor | None,
        factor: float,
        causal: bool,
        lead: Sequence[int],
        block: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        tiles = Tiling(Q, K, mask, causal, lead, block)
        out, lse = forward_tiles(
            Q,
            K,
            V,
            factor,
            tiles,
            careful=not scores_are_small(Q, K, V, mask, factor),
        )
        ctx.save_for_backward(Q, K, V, mask, out, lse)
        ctx.factor, ctx.tiles = factor, tiles
        return out, lse

    @staticmethod
    def backward(
        ctx: Any, dout: Tensor, dlse: Tensor
    ) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("flash_attention")
        Q, K, V, mask, out, lse = ctx.saved_tensors
        dmask = (
            torch.zeros_like(mask, dtype=Q.dtype)
            if ctx.needs_input_grad[3]
            else None
        )
        dQ, dK, dV = backward_tiles(
            Q, K, V, out, lse, dout, dlse, ctx.factor, ctx.tiles, dmask
        )
        return (
            dQ,
            dK,
            dV,
            dmask if dmask is None else dmask.to(mask.dtype),
            None,
            None,
            None,
            None,
        )
