"""Cuts in weights: what `Cut` can do where nothing but weights is known."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.precision import at_least_float32
from surgeon.anatomy.softmax import stable_softmax
from surgeon.models.cut_attention import fitting
from surgeon.models.cuts import Cut

# A score so far below the largest of its row is a mask's: some models write
# -10,000 for minus infinity.
FAR = 5_000.0

# In layers by number, or from a layer's name
Cuts = Sequence[Cut] | Mapping[str, Sequence[Cut]]


def seen_of(scores: Tensor) -> Tensor:
    """Which keys each query may see, by the scores [..., T, S].

    Those whose score is not 5,000 below the row's largest, or minus
    infinity: such numbers are masks', since their weights are zero in any
    precision.
    """
    scores = scores.detach()
    near = scores >= scores.amax(-1, keepdim=True) - FAR
    return near & (scores != -torch.inf)


def check_captured_cuts(cuts: Cuts) -> None:
    """Raise a ValueError unless all of them can be made in weights."""
    if isinstance(cuts, Mapping):
        for name, some in cuts.items():
            check_captured_cuts(some)
            if any(cut.layers is not None for cut in some):
                raise ValueError(
                    "cuts by name must leave layers as they are, got layers"
                    f" for {name!r}."
                )
        return
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


def cut_weights(
    weights: Tensor,
    seen: Tensor,
    cuts: Sequence[Cut],
    scores: Tensor | None = None,
) -> Tensor:
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
    scores : Tensor, optional
        [B, H, T, S or more]: what the weights are the softmax of, the first
        S of each row. Rows that are not its softmax, as after dropout, are
        cut by their shares alone.

    Returns
    -------
    Tensor
        [B, H, T, S]. Where keys are hidden, the others share what these
        had, as if their scores were minus infinity.

    Warns
    -----
    UserWarning
        If a row keeps nothing, since what others had is too small to be told
        from zero and the scores are not known.

    Raises
    ------
    ValueError
        If there is no such head, or if a cut's mask or weights do not fit.
    """
    weights, seen = weights.clone(), seen.clone()
    H, T, S = weights.shape[1:]
    working = at_least_float32(weights.dtype)
    terms = weights.new_zeros(H, T, S, dtype=working)
    touched: set[int] = set()
    for cut in cuts:
        heads, hidden = cut.heads_of(H), cut.hidden_of(S)
        if cut.mask is not None:
            terms[heads] += _added(cut, T, S, terms)
        for h in heads if hidden else ():
            terms[h, :, hidden] = -torch.inf
        touched |= set(heads if hidden or cut.mask is not None else ())
    if touched:
        at = sorted(touched)
        known = None if scores is None else scores[:, at]
        weights[:, at] = _masked(
            weights[:, at], seen[:, at], terms[at], known
        )
        seen &= terms != -torch.inf
    for cut in cuts:
        if cut.weights is not None:
            heads = cut.heads_of(H)
            before = weights[:, heads]
            after = cut.weights(before, seen[:, heads])
            weights[:, heads] = fitting(after, before)
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


def _masked(
    weights: Tensor, seen: Tensor, added: Tensor, scores: Tensor | None
) -> Tensor:
    r"""Weights, as if numbers had been added to their scores.

    By the scores, where weights are their softmax. Else by the shares,
    :math:`a_j e^{b_j} / (r + \sum_k a_k e^{b_k})`, where `r` is what the row
    keeps for nobody, a sink's share.
    """
    given, working = weights.dtype, at_least_float32(weights.dtype)
    weights, slack = weights.to(working), slack_of(given)
    by_scores, known = None, weights.new_zeros(1, dtype=torch.bool)
    if scores is not None:
        by_scores, known = _by_scores(weights, added, scores, slack)
        if known.all():
            return by_scores.to(given)
    rest = 1 - weights.sum(-1, keepdim=True)
    rest = rest.masked_fill(rest < slack, 0.0)
    powers = weights * torch.exp(added)
    whole = rest + powers.sum(-1, keepdim=True)
    # A mask of the model's own is told from a share of zero by its score.
    left = (added != -torch.inf) & (seen if scores is not None else True)
    left = left.any(-1, keepdim=True) & (weights != 0).any(-1, keepdim=True)
    if (left & (whole == 0) & ~known).any():
        warnings.warn(
            "cuts hide keys that had all the weight, so that what the others"
            " had cannot be told from zero, and their scores are not known:"
            " such rows are recorded and used as zeros.",
            stacklevel=2,
        )
    shared = powers / whole.masked_fill((whole == 0) | known, 1.0)
    if by_scores is not None:
        shared = torch.where(known, by_scores, shared)
    return shared.to(given)


def slack_of(dtype: torch.dtype) -> float:
    """How far a row's sum may be from one by rounding."""
    return max(1e-4, 4 * torch.finfo(dtype).eps)


def _by_scores(
    weights: Tensor, added: Tensor, scores: Tensor, slack: float
) -> tuple[Tensor, Tensor]:
    """Weights by their scores, and in which rows those are known."""
    S, working = weights.shape[-1], weights.dtype
    scores = scores.to(working).masked_fill(~seen_of(scores), -torch.inf)
    plain = stable_softmax(scores.detach())[..., :S]
    off = (weights.detach() - plain).abs().amax(-1, keepdim=True)
    # What stands beyond the keys is a sink's, and is not cut.
    beyond = added.new_zeros(*added.shape[:-1], scores.shape[-1] - S)
    cut = stable_softmax(scores + torch.cat([added, beyond], -1))
    return cut[..., :S], off <= slack
