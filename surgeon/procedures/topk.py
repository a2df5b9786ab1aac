"""Attention to the few keys that score highest."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function

from surgeon.anatomy.precision import without_autocast
from surgeon.anatomy.softmax import stable_softmax
from surgeon.arguments import positive_integer, truth
from surgeon.procedures.inputs import (
    Inputs,
    block_size,
    fold,
    refuse_second_derivative,
)
from surgeon.procedures.tiles import Tiling

# Numbers in the largest tensor of a block of queries, by default: 16 MiB in
# float32
ROOM = 2**22


class TopK(NamedTuple):
    """What attention to the best keys gives, and which keys those were."""

    output: Tensor  #: weighted sums of the chosen values, [..., T, d_v]
    #: what multiplied them, [..., T, k]: each row sums to one, or is zero
    weights: Tensor
    #: the chosen keys in rising order, int64 [..., T, k]; of no meaning where
    #: the weight is zero
    indices: Tensor


def topk_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    k: int,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    causal: bool = False,
    block_q: int | None = None,
) -> TopK:
    r"""Attention of each query to the `k` keys with its largest scores.

    It is as if a mask hid all others from it. Every score is computed, but
    only those of a block of queries are held at a time; the softmax sees `k`
    of each row.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., S, d_k].
    V : Tensor
        Values [..., S, d_v].
    k : int
        How many keys a query attends to, at least 1; all that it may see
        where these are fewer.
    mask : Tensor, optional
        As `surgeon.attention` reads it; what it hides is not chosen. A mask
        of numbers to add passes its gradient.
    scale : bool
        Whether scores are divided by :math:`\sqrt{d_k}`.
    causal : bool
        Whether query `i` sees only the keys `j` :math:`\le i + S - T`, as in
        `surgeon.flash_attention`.
    block_q : int, optional
        Queries at a time; it changes the speed and the memory. By default, as
        many as fit into 16 MiB a tensor.

    Returns
    -------
    TopK
        output [..., T, d_v] and weights [..., T, k] in the precision of the
        inputs, and indices [..., T, k], where `k` is at most S. Output and
        weights are differentiable, once. The choice is a constant for the
        gradient: it reaches the chosen keys and values alone. A query that
        may look at nothing gets zeros, and passes zeros back.

    Raises
    ------
    ValueError
        As `surgeon.attention`, or if `k` or `block_q` is not a positive
        integer.
    RuntimeError
        If a second derivative is asked for (``create_graph=True``).

    Notes
    -----
    Of equal scores the key that comes first is chosen; `topk_mask` is the
    mask that this amounts to. Source: gupta2021 (book/references.bib).

    Examples
    --------
    >>> Q, K = torch.ones(1, 1), torch.tensor([[0.0], [2.0], [2.0]])
    >>> best = topk_attention(Q, K, torch.tensor([[8.0], [1.0], [3.0]]), k=2)
    >>> best.output, best.indices
    (tensor([[2.]]), tensor([[1, 2]]))
    """
    inputs = fold(Q, K, V, scale)
    mask, reader = inputs.read(mask)
    S = inputs.K.shape[1]
    k = min(positive_integer("k", k), S)
    rows = block_size("block_q", block_q, usual_rows(inputs, k))
    tiling = partial(
        Tiling,
        reader=reader,
        causal=truth("causal", causal),
        lead=inputs.lead,
        block=(rows, S),  # all keys in one tile
    )
    folded = inputs.Q, inputs.K, inputs.V
    output, weights, indices = _TopK.apply(
        *folded, mask, k, inputs.factor, tiling
    )
    in_given_precision = output.to(inputs.dtype), weights.to(inputs.dtype)
    return TopK(*map(inputs.unfold, (*in_given_precision, indices)))


def usual_rows(inputs: Inputs, k: int) -> int:
    """Queries at a time, by default: as many as `ROOM` has room for."""
    Q, K, V = inputs.Q, inputs.K, inputs.V
    widest = max(K.shape[1], k * Q.shape[2], k * V.shape[2])
    return min(max(ROOM // (max(len(Q), 1) * widest), 1), 256)


class _TopK(Function):
    """Forward and backward over [N, tokens, width], N for all leading axes.

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
        k: int,
        factor: float,
        tiling: Callable[[Tensor, Tensor], Tiling],
    ) -> tuple[Tensor, Tensor, Tensor]:
        tiles = tiling(Q, K)
        output, weights, indices = forward_topk(Q, K, V, k, factor, tiles)
        ctx.save_for_backward(Q, K, V, mask, weights, indices)
        ctx.mark_non_differentiable(indices)
        ctx.factor, ctx.tiling = factor, tiling
        return output, weights, indices

    @staticmethod
    def backward(
        ctx: Any, doutput: Tensor, dweights: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("topk_attention")
        Q, K, V, mask, weights, indices = ctx.saved_tensors
        dmask = None
        if ctx.needs_input_grad[3]:
            dmask = torch.zeros_like(mask, dtype=Q.dtype)
        rows, tiles = (weights, indices, doutput, dweights), ctx.tiling(Q, K)
        gradients = backward_topk(Q, K, V, *rows, ctx.factor, tiles, dmask)
        if dmask is not None:
            dmask = dmask.to(mask.dtype)
        return *gradients, dmask, None, None, None


@without_autocast
def forward_topk(
    Q: Tensor, K: Tensor, V: Tensor, k: int, factor: float, tiles: Tiling
) -> tuple[Tensor, Tensor, Tensor]:
    """Output [N, T, d_v], weights and indices [N, T, k], block by block."""
    blocks = []
    for i, q in enumerate(tiles.blocks_of_queries(Q * factor)):
        blocked, bias = tiles.bias(i, 0)  # one tile holds all keys
        scores = torch.bmm(q, K.mT, out=tiles.room(0, q, K))  # [N, t, S]
        tiles.add(bias, scores)
        if blocked:
            scores.fill_(-torch.inf)
        best, indices = largest(scores, k)  # [N, t, k]
        weights = stable_softmax(best)
        output = _mix(weights, _take(V, indices))
        blocks.append((output, weights, indices))
    parts = zip(*blocks, strict=True)
    output, weights, indices = (torch.cat(x, 1) for x in parts)
    return output, weights, indices


@without_autocast
def backward_topk(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    weights: Tensor,
    indices: Tensor,
    doutput: Tensor,
    dweights: Tensor,
    factor: float,
    tiles: Tiling,
    dmask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Q, K and V; that of the mask is added to `dmask`.

    No score is computed again.
    """
    dQ, dK, dV = [], torch.zeros_like(K), torch.zeros_like(V)
    rows = (Q, weights, indices, doutput, dweights)
    blocks = zip(*map(tiles.blocks_of_queries, rows), strict=True)
    for i, (q, w, chosen, do, dw) in enumerate(blocks):
        dw = dw + (_take(V, chosen) @ do[..., None]).squeeze(-1)  # [N, t, k]
        ds = w * (dw - (w * dw).sum(-1, keepdim=True))  # through the softmax
        if dmask is not None:
            whole = q.new_zeros(*q.shape[:2], K.shape[1])
            whole.scatter_add_(-1, chosen, ds)
            tiles.add_to_mask(dmask, whole, i, 0)
        ds = ds * factor
        dQ.append(_mix(ds, _take(K, chosen)))
        _give(dK, chosen, ds[..., None] * q[:, :, None])
        _give(dV, chosen, w[..., None] * do[:, :, None])
    return torch.cat(dQ, 1), dK, dV


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest scores of each row and where they stand, [..., k].

    Places rise, and of equal scores the first ones are taken. They lie in
    the `k` groups of neighbours that have the largest maxima: each of these
    holds a score as good as any of the others. So only the maxima are sorted,
    and then those groups.
    """
    S = scores.shape[-1]
    size = math.isqrt(S // k)  # as many maxima as candidates
    if size > 1:
        groups = F.pad(scores, (0, -S % size), value=-torch.inf)
        groups = groups.unflatten(-1, (-1, size))
        best = first_largest(groups.amax(-1), k)
        inside = best[..., None].expand(*best.shape, size)
        scores = groups.gather(-2, inside).flatten(-2)
    places = first_largest(scores, k)
    values = scores.gather(-1, places)
    if size > 1:
        places = best.gather(-1, places // size) * size + places % size
        places = places.clamp(max=S - 1)  # what was padded has no weight
    return values, places


def first_largest(scores: Tensor, k: int) -> Tensor:
    """Places of the `k` largest, in rising order; the first of equal ones.

    PyTorch leaves open which of them it takes.
    """
    best, places = scores.topk(min(k + 1, scores.shape[-1]))
    if best.shape[-1] > k:
        last, next_best = best[..., k - 1], best[..., k]
        tied = (last == next_best) & (next_best > -torch.inf)
        if tied.any():
            rows = scores[tied].sort(dim=-1, descending=True, stable=True)
            places[tied] = rows.indices[:, : k + 1]
    return places[..., :k].sort().values


def topk_mask(scores: Tensor, k: int) -> Tensor:
    """The mask under which dense attention is `topk_attention`.

    It says what top-k means, in one line, on the whole matrix.

    Parameters
    ----------
    scores : Tensor
        [..., T, S], minus infinity where a query may not look: `masked` of
        `surgeon.dissect`.
    k : int
        How many keys each query keeps, at least 1.

    Returns
    -------
    Tensor
        Boolean, [..., T, S]: True on the `k` largest scores of each row, the
        first ones of equal scores, and never where the score is minus
        infinity.

    Raises
    ------
    ValueError
        If `k` is not a positive integer, or scores have fewer than two axes.

    Examples
    --------
    >>> topk_mask(torch.tensor([[0.0, 2.0, 1.0, 1.0]]), 2)
    tensor([[False,  True,  True, False]])
    """
    positive_integer("k", k)
    if scores.ndim < 2:
        raise ValueError(
            "scores must have at least two axes (queries, keys), got shape"
            f" {list(scores.shape)}."
        )
    best = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    return chosen.scatter_(-1, best, True) & (scores > -torch.inf)


def _take(x: Tensor, indices: Tensor) -> Tensor:
    """Rows of x [N, S, d] by indices [N, t, k]: [N, t, k, d]."""
    rows = x.flatten(0, 1).index_select(0, _places(x, indices))
    return rows.unflatten(0, indices.shape)


def _give(x: Tensor, indices: Tensor, rows: Tensor) -> None:
    """Add rows [N, t, k, d] where `_take` would find them."""
    places = _places(x, indices)
    x.view(-1, x.shape[-1]).index_add_(0, places, rows.flatten(0, 2))


def _places(x: Tensor, indices: Tensor) -> Tensor:
    # where each of the N begins, if all lie in one row
    start = torch.arange(len(x), device=x.device) * x.shape[1]
    return (indices + start[:, None, None]).flatten()


def _mix(weights: Tensor, rows: Tensor) -> Tensor:
    """Weighted sums over the chosen, [N, t, k] and [N, t, k, d]."""
    return (weights[..., None, :] @ rows).squeeze(-2)
