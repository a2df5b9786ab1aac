"""Attention in tiles: `attention` without ever its matrix of scores."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from surgeon.anatomy.mask_rules import Rule
from surgeon.arguments import truth
from surgeon.procedures.inputs import block_size, fold
from surgeon.procedures.online import Partial
from surgeon.procedures.rule_tiles import Ruled, RuleTiles, fitting
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
    rule: Rule | RuleTiles | None = None,
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
    rule : callable or RuleTiles, optional
        Which keys a query sees, as `surgeon.mask_of` takes it, on top of what
        `mask` and `causal` hide. Query `i` is counted from 0, and not from
        `S - T` as `causal` has it. The tiles that the rule leaves empty are
        skipped. It is asked once for every pair, before anything is computed;
        `surgeon.tiles_of` does that once for many calls.
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
        As `surgeon.attention`, if a block is not a positive integer, if the
        rule returns anything else than booleans that broadcast, if there are
        more than two leading axes for it, or if its tiles were made for other
        scores or other blocks.
    RuntimeError
        If a second derivative is asked for (``create_graph=True``).

    Notes
    -----
    Half precision is computed in float32. Source: milakov2018, dao2022,
    dong2024 (book/references.bib).

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
    usual = (usual_block(inputs.Q, inputs.K),) * 2
    if isinstance(rule, RuleTiles):
        usual = rule.block
    block = (
        block_size("block_q", block_q, usual[0]),
        block_size("block_k", block_k, usual[1]),
    )
    how: dict[str, Any] = {
        "reader": reader,
        "causal": truth("causal", causal),
        "lead": inputs.lead,
        "block": block,
    }
    tiling: Callable[[Tensor, Tensor], Tiling] = partial(Tiling, **how)
    if rule is not None:
        scores = (*inputs.lead, inputs.Q.shape[1], inputs.K.shape[1])
        ruled = fitting(rule, scores, block, inputs.Q.device)
        tiling = partial(Ruled, rule=ruled.rule, kinds=ruled.for_all(), **how)
    folded = inputs.Q, inputs.K, inputs.V
    out, lse = Tiled.apply(
        *folded, mask, inputs.factor, tiling, "flash_attention"
    )
    part = Partial(inputs.unfold(out.to(inputs.dtype)), inputs.unfold(lse))
    return part if return_lse else part.out
