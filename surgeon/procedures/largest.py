"""The largest score of each row, a tile of scores at a time."""

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import check_inputs
from surgeon.anatomy.precision import without_autocast
from surgeon.arguments import truth
from surgeon.procedures.inputs import fold
from surgeon.procedures.tiles import Tiling, usual_block


@without_autocast
@torch.no_grad()
def largest_scores(
    Q: Tensor,
    K: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    causal: bool = False,
) -> Tensor:
    r"""What each query's largest visible score is, without the scores.

    .. math:: m_i = \max_j \left(\frac{q_i \cdot k_j}{\sqrt{d_k}} + M_{ij}
        \right)

    It walks the tiles of `flash_attention`, which keeps this maximum where
    scores are large, but hands back the log-sum-exp alone.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., S, d_k].
    mask, scale, causal
        As `surgeon.procedures.flash.flash_attention` takes them. What a mask
        adds, `M`, counts as score.

    Returns
    -------
    Tensor
        [..., T], at least float32, without a gradient; :math:`-\infty` for a
        row that may look at nothing.

    Raises
    ------
    ValueError
        As `surgeon.attention`.

    Notes
    -----
    Half precision is computed in float32. Source: milakov2018, dao2022
    (book/references.bib).

    Examples
    --------
    >>> Q, K = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [3.0]])
    >>> largest_scores(Q, K), largest_scores(Q, K, causal=True)
    (tensor([ 6., -1.]), tensor([ 2., -1.]))
    """
    check_inputs(Q, K, K)
    inputs = fold(Q, K, K, scale)
    _, reader = inputs.read(mask)
    usual = usual_block(inputs.Q, inputs.K)
    tiles = Tiling(
        inputs.Q,
        inputs.K,
        reader=reader,
        causal=truth("causal", causal),
        lead=inputs.lead,
        block=(usual, usual),
    )
    keys = [k.mT for k in tiles.blocks_of_keys(inputs.K)]
    top = inputs.Q.new_full(inputs.Q.shape[:2], -torch.inf)
    blocks = zip(*map(tiles.blocks_of_queries, (inputs.Q, top)), strict=True)
    for i, (q, largest) in enumerate(blocks):
        q = q * inputs.factor
        for j, bias in tiles.along(i):
            room = tiles.room(0, q, keys[j].mT)
            scores = tiles.add(bias, torch.bmm(q, keys[j], out=room))
            torch.maximum(largest, scores.amax(-1), out=largest)
    return inputs.unfold(top)
