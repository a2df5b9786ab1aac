"""Cuts in weights: what `Cut` can do where nothing but weights is known."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.precision import at_least_float32
from surgeon.models.cuts import Cut

# A score so far below the largest of its row is a mask's: some models write
# -10,000 for minus infinity.
FAR = 5_000.0


def seen_of(scores: Tensor) -> Tensor:
    """Which keys each query may see, by the scores [..., T, S].

    Those whose score is not 5,000 below the row's largest, or minus
    infinity: such numbers are masks', since their weights are zero in any
    precision.
    """
    scores = scores.detach()
    near = scores >= scores.amax(-1, keepdim=True) - FAR
    return near & (scores != -torch.inf)


def check_captured_cuts(cuts: Sequence[Cut]) -> None:
    """Raise a ValueError unless all of them can be made in weights."""
    if not isinstance(cuts, Sequence) or not all(
        isinstance(cut, Cut) for cut in cuts
    ):
        raise ValueError(
            f"cuts must be a sequence of Cut, got {cuts!r:.60}; write"
            " [cut] for a single one."
        )
    for cut in cuts:
        if cut.moves or not cut.causal or cut.scale != 1:
            raise ValueError(
                "cuts of a captured model must leave scale, causal,"
                " positions, shift_queries and shift_keys as they are, since"
                " its weights are cut and not its scores, got one that does"
                " not."
            )


def cut_weights(weights: Tensor, seen: Tensor, cuts: Sequence[Cut]) -> Tensor:
    """The weights of one layer, [B, H, T, S], after its cuts.

    Parameters
    ----------
    weights : Tensor
        [B, H, T, S]; a row may sum to less than one, as where a sink took
        the rest.
    seen : Tensor
        Booleans [B, H, T, S]: which keys each query may see.
    cuts : sequence of Cut
        Those in this layer. They act in the order of attention: masks and
        hidden keys, then weights, then keys that give nothing.

    Returns
    -------
    Tensor
        [B, H, T, S]. Where keys are hidden, the others share what these
        had, as if their scores were minus infinity.

    Raises
    ------
    ValueError
        If there is no such head, or if a cut's mask or weights do not fit.
    """
    weights, seen = weights.clone(), seen.clone()
    H, T, S = weights.shape[1:]
    for cut in cuts:
        heads = cut.heads_of(H)
        if cut.mask is not None:
            added = _added(cut, T, S, weights)
            weights[:, heads] = _masked(weights[:, heads], added)
            seen[:, heads] &= added != -torch.inf
        hidden = cut.hidden_of(S)
        if hidden:
            added = weights.new_zeros(T, S)
            added[:, hidden] = -torch.inf
            weights[:, heads] = _masked(weights[:, heads], added)
            seen[:, heads] &= added != -torch.inf
    for cut in cuts:
        if cut.weights is not None:
            heads = cut.heads_of(H)
            before = weights[:, heads]
            after = cut.weights(before, seen[:, heads])
            weights[:, heads] = _fitting(after, before)
    for cut in cuts:
        muted = cut.muted_of(S)
        if muted:
            gives = weights.new_ones(H, 1, S)
            for h in cut.heads_of(H):
                gives[h, :, muted] = 0.0
            weights = weights * gives
    return weights


def _added(cut: Cut, T: int, S: int, like: Tensor) -> Tensor:
    """What a cut's mask adds to the scores, [T, S]."""
    assert cut.mask is not None
    if T > S:
        raise ValueError(
            "mask of a cut must be in a layer with a key for each query, got"
            f" {T} queries and {S} keys."
        )
    added = as_additive(
        cut.mask(S), (S, S), dtype=like.dtype, device=like.device
    )
    return added.expand(S, S)[S - T :]


def _masked(weights: Tensor, added: Tensor) -> Tensor:
    r"""Weights, as if numbers had been added to their scores.

    :math:`a_j e^{b_j} / (r + \sum_k a_k e^{b_k})`, where `r` is what the row
    keeps for nobody, a sink's share.
    """
    given, working = weights.dtype, at_least_float32(weights.dtype)
    weights = weights.to(working)
    rest = 1 - weights.sum(-1, keepdim=True)
    slack = max(1e-4, 4 * torch.finfo(given).eps)
    rest = rest.masked_fill(rest < slack, 0.0)
    powers = weights * torch.exp(added.to(working))
    whole = rest + powers.sum(-1, keepdim=True)
    return (powers / whole.masked_fill(whole == 0, 1.0)).to(given)


def _fitting(after: Any, before: Tensor) -> Tensor:
    """What a cut gave for weights, as wide and of their kind."""
    whole = before.shape
    if not isinstance(after, Tensor) or after.shape not in (whole, whole[2:]):
        tensor = isinstance(after, Tensor)
        got = list(after.shape) if tensor else type(after).__name__
        raise ValueError(
            f"weights of a cut must give a tensor {list(whole)}, as they were"
            f" given, got {got}."
        )
    return after.to(before).expand(whole)
