"""Cuts in a model's attention: which heads of which layers lose what."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.mask_reading import as_additive, visible
from surgeon.arguments import natural_number

Which = int | Sequence[int] | None  # one, some or all of a model's
MaskOf = Callable[[int], Tensor]  # from a number of tokens to their mask
# from weights, and who may see whom, to other weights
WeightsOf = Callable[[Tensor, Tensor], Tensor]


def uniform(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: each query looks at all that it may see, evenly."""
    keys = seen.sum(-1, keepdim=True).clamp(min=1)  # of nothing, nothing
    return seen.to(weights.dtype) / keys


def own_diagonal(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: each query keeps the weight that it gave its own token.

    The rest goes to nobody.
    """
    return weights.diagonal(dim1=-2, dim2=-1).diag_embed()


def silent(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: no query looks at anything.

    The head adds nothing to its layer.
    """
    return torch.zeros_like(weights)


@dataclass(frozen=True)
class Cut:
    r"""One intervention in the attention of some heads of some layers.

    Several cuts in one head act in the order of attention, whatever theirs:
    all the scales, all the masks, then the weights, one after the other.

    Parameters
    ----------
    layers : int or sequence of int, optional
        Which layers, counted from 0; all if not given.
    heads : int or sequence of int, optional
        Which heads of these layers, counted from 0; all if not given.
    scale : float
        What the scaled scores are multiplied by: 1 changes nothing,
        :math:`\sqrt{d_k}` (`unscaled`) undoes the scale.
    mask : callable, optional
        From a number of tokens `T` to a mask [T, T] of any convention that
        `surgeon.attention` reads, such as `surgeon.create_causal_mask`; what
        it hides is hidden besides the padding.
    weights : callable, optional
        ``weights(a, seen)``: from weights `a` [B, H, T, T] of the chosen
        heads, and booleans of that shape that tell which keys each query may
        see, to the weights to use instead. Here are `uniform`, `own_diagonal`
        and `silent`.

    Raises
    ------
    ValueError
        If one of these is of another kind, or a number is out of its range.
        Whether a model has that layer and head is seen when it is cut.

    Examples
    --------
    >>> from surgeon import create_causal_mask
    >>> blind = Cut(mask=create_causal_mask)
    >>> both = [blind, Cut(layers=0, heads=[2, 5], weights=silent)]
    """

    layers: Which = None
    heads: Which = None
    scale: float = 1.0
    mask: MaskOf | None = None
    weights: WeightsOf | None = None

    def __post_init__(self) -> None:
        _check_which("layers", self.layers)
        _check_which("heads", self.heads)
        _check_scale(self.scale)
        _check_function("mask", self.mask)
        _check_function("weights", self.weights)

    def layers_of(self, count: int) -> list[int]:
        """The layers that are cut, one by one, in a model of so many."""
        return _listed("layers", self.layers, count)

    def heads_of(self, count: int) -> list[int]:
        """The heads that are cut, one by one, in a layer of so many."""
        return _listed("heads", self.heads, count)


def unscaled(
    layers: Which = None,
    heads: Which = None,
    d_k: int = 32,
) -> Cut:
    r"""The cut that takes back the division by :math:`\sqrt{d_k}`.

    `layers` and `heads` are those of `Cut`, and `d_k` is the width of the
    heads, which is 32 in the specimen.
    """
    return Cut(layers, heads, scale=math.sqrt(d_k))


def attend(
    Q: Tensor, K: Tensor, V: Tensor, real: Tensor, cuts: Sequence[Cut]
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention with cuts: output, scores and weights.

    Without cuts it is `surgeon.attention`, which is two of the five stages of
    `dissect`.

    Parameters
    ----------
    Q, K, V : Tensor
        [B, H, T, d_k] and, for the values, [B, H, T, d_v].
    real : Tensor
        Booleans [B, 1, T]: which tokens are no padding.
    cuts : sequence of Cut
        The cuts in this layer.

    Returns
    -------
    output, scores, weights : Tensor
        [B, H, T, d_v] and twice [B, H, T, T].

    Raises
    ------
    ValueError
        If there is no such head, or if a cut's mask or weights do not fit.
    """
    H = Q.shape[1]
    # 1. What multiplies the queries multiplies the scores.
    factor = Q.new_ones(H, 1, 1)
    for cut in cuts:
        factor[cut.heads_of(H)] *= cut.scale
    # 2. Padding is hidden from every head, and more from some.
    mask = real[:, None]  # [B, 1, 1, T]
    if any(cut.mask is not None for cut in cuts):
        mask = _bias(cuts, Q).masked_fill(~mask, -torch.inf)  # [B, H, T, T]
    # 3. Attention.
    stages = dissect(Q * factor, K, V, mask)
    output, weights = stages.output, stages.weights
    # 4. Some heads are given other weights to take their values with.
    if any(cut.weights is not None for cut in cuts):
        seen = visible(mask, weights.shape, weights.device)
        weights = _replace(weights, seen, real, cuts)
        output = weights @ V
    return output, stages.scores, weights


def check_cuts(cuts: Sequence[Cut], layers: int, heads: int) -> None:
    """Raise a ValueError unless a model of that many layers has them all."""
    if not isinstance(cuts, Sequence) or not all(
        isinstance(cut, Cut) for cut in cuts
    ):
        raise ValueError(
            f"cuts must be a sequence of Cut, got {cuts!r:.60}; write"
            " [cut] for a single one."
        )
    for cut in cuts:
        cut.layers_of(layers)
        cut.heads_of(heads)


def _bias(cuts: Sequence[Cut], Q: Tensor) -> Tensor:
    """What the cuts' masks add to the scores of each head, [H, T, T]."""
    H, T = Q.shape[1:3]
    bias = Q.new_zeros(H, T, T)
    for cut in cuts:
        if cut.mask is not None:
            bias[cut.heads_of(H)] += as_additive(
                cut.mask(T), (T, T), dtype=Q.dtype, device=Q.device
            )
    return bias


def _replace(
    weights: Tensor, seen: Tensor, real: Tensor, cuts: Sequence[Cut]
) -> Tensor:
    """Weights [B, H, T, T], with those that the cuts give in their place."""
    weights = weights.clone()
    for cut in cuts:
        if cut.weights is not None:
            heads = cut.heads_of(weights.shape[1])
            before = weights[:, heads]
            after = cut.weights(before, seen[:, heads])
            weights[:, heads] = _without_padding(after, before, real)
    return weights


def _without_padding(after: Any, before: Tensor, real: Tensor) -> Tensor:
    """Weights that a cut gave: none for padding, and an error for any on it.

    As wide as the weights before the cut, of their kind, and where they are.
    """
    whole = before.shape
    if not isinstance(after, Tensor) or after.shape not in (whole, whole[2:]):
        tensor = isinstance(after, Tensor)
        got = list(after.shape) if tensor else type(after).__name__
        raise ValueError(
            f"weights of a cut must give a tensor {list(whole)}, as they were"
            f" given, got {got}."
        )
    keys = real[:, None]  # [B, 1, 1, T]
    queries = keys.mT  # [B, 1, T, 1]
    after = after.to(before).expand(whole).masked_fill(~queries, 0.0)
    if (after.masked_fill(keys, 0.0) != 0).any():
        raise ValueError(
            "weights of a cut must be 0 on padding, where its second argument"
            " is False, got other numbers."
        )
    return after


def _listed(name: str, which: Which, count: int) -> list[int]:
    if which is None:
        return list(range(count))
    chosen = which if isinstance(which, Sequence) else [which]
    for one in chosen:
        if one >= count:
            raise ValueError(
                f"{name} must be integers from 0 to {count - 1}, got {one}."
            )
    return [int(one) for one in chosen]


def _check_which(name: str, which: Which) -> None:
    if which is None:
        return
    if not isinstance(which, Integral | Sequence):
        raise ValueError(
            f"{name} must be an integer, a sequence of them, or None, got"
            f" {type(which).__name__}."
        )
    for one in which if isinstance(which, Sequence) else [which]:
        natural_number(name, one)


def _check_scale(scale: float) -> None:
    number = isinstance(scale, Real) and not isinstance(scale, bool)
    if not number or not math.isfinite(scale):
        raise ValueError(f"scale must be a finite number, got {scale!r}.")


def _check_function(name: str, function: object) -> None:
    if function is not None and not callable(function):
        raise ValueError(
            f"{name} must be a function, or None, got"
            f" {type(function).__name__}."
        )
