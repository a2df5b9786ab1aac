"""Attention in tiles: `attention` without ever its matrix of scores."""

from functools import partial

from torch import Tensor

from surgeon.arguments import truth
from surgeon.procedures.inputs import block_size, fold
from surgeon.procedures.online import Partial
from surgeon.procedures.tile_loops import Tiled
from surgeon.procedures.tiles import Tiling, usual_block


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
    r"""Scaled dot-product attention, a tile of queries by keys at a time.

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
    The mean of three, and log 3:

    >>> import torch
    >>> Q, K = torch.zeros(1, 2), torch.zeros(3, 2)
    >>> V = torch.tensor([[1.0], [2.0], [3.0]])
    >>> flash_attention(Q, K, V, block_k=2, return_lse=True)
    Partial(out=tensor([[2.]]), lse=tensor([1.0986]))
    """
    inputs = fold(Q, K, V, scale)
    mask, reader = inputs.read(mask)
    usual = usual_block(inputs.Q, inputs.K)
    block = (
        block_size("block_q", block_q, usual),
        block_size("block_k", block_k, usual),
    )
    tiling = partial(
        Tiling,
        reader=reader,
        causal=truth("causal", causal),
        lead=inputs.lead,
        block=block,
    )
    folded = inputs.Q, inputs.K, inputs.V
    out, lse = Tiled.apply(
        *folded, mask, inputs.factor, tiling, "flash_attention"
    )
    part = Partial(inputs.unfold(out.to(inputs.dtype)), inputs.unfold(lse))
    return part if return_lse else part.out
