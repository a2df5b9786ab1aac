"""Interventions in a model's attention: which heads of which layers lose what."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.mask_reading import as_additive, visible

LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536

MaskOf = Callable[[int], Tensor]  # from a number of tokens to their mask
WeightsOf = Callable[
    [Tensor, Tensor], Tensor
]  # from weights, and who may see whom, to other weights


def uniform(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: each query looks at all that it may see, evenly."""
    return seen.to(weights.dtype) / seen.sum(-1, keepdim=True).clamp(
        min=1
    )  # of nothing, nothing


def own_diagonal(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: each query keeps the weight that it gave its own token, and the rest goes to nobody."""
    return weights * torch.eye(
        weights.shape[-1], dtype=weights.dtype, device=weights.device
    )


def silent(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: nothing is looked at, and the head adds nothing to its layer."""
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

    Examples
    --------
    >>> from surgeon import create_causal_mask
    >>> cuts = [Cut(mask=create_causal_mask), Cut(layers=0, heads=[2, 5], weights=silent)]
    """

    layers: int | Sequence[int] | None = None
    heads: int | Sequence[int] | None = None
    scale: float = 1.0
    mask: MaskOf | None = None
    weights: WeightsOf | None = None

    def __post_init__(self) -> None:
        for name, which, count in (
            ("layers", self.layers, LAYERS),
            ("heads", self.heads, HEADS),
        ):
            if which is not None and not isinstance(which, int | Sequence):
                raise ValueError(
                    f"{name} must be an integer, a sequence of them, or None,"
                    f" got {type(which).__name__}."
                )
            for one in listed(which, count):
                if (
                    not isinstance(one, int)
                    or isinstance(one, bool)
                    or not 0 <= one < count
                ):
                    raise ValueError(
                        f"{name} must be integers from 0 to {count - 1}, got"
                        f" {one!r}."
                    )
        if (
            not isinstance(self.scale, int | float)
            or isinstance(self.scale, bool)
            or not math.isfinite(self.scale)
        ):
            raise ValueError(
                f"scale must be a finite number, got {self.scale!r}."
            )
        for name in ("mask", "weights"):
            if getattr(self, name) is not None and not callable(
                getattr(self, name)
            ):
                raise ValueError(
                    f"{name} must be a function, or None, got"
                    f" {type(getattr(self, name)).__name__}."
                )

    def is_in(self, layer: int) -> bool:
        """Whether this layer is one of those cut."""
        return layer in listed(self.layers, LAYERS)

    @property
    def chosen(self) -> list[int]:
        """The heads cut, one by one."""
        return listed(self.heads, HEADS)


def unscaled(
    layers: int | Sequence[int] | None = None,
    heads: int | Sequence[int] | None = None,
) -> Cut:
    r"""The cut that takes back the division by :math:`\sqrt{d_k} = \sqrt{32}`, in the layers and heads of `Cut`."""
    return Cut(layers, heads, scale=math.sqrt(WIDTH // HEADS))


def attend(
    Q: Tensor, K: Tensor, V: Tensor, real: Tensor, cuts: Sequence[Cut]
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention with cuts: output [B, H, T, d_v], scores and weights [B, H, T, T].

    Without cuts it is `surgeon.attention`, which is two of the five stages of
    `dissect`.
    """
    (H, T), mask = Q.shape[-3:-1], real[:, None]  # [B, 1, 1, T]
    factor, bias = Q.new_ones(H, 1, 1), Q.new_zeros(H, T, T)
    for cut in cuts:
        factor[cut.chosen] *= cut.scale
        if cut.mask is not None:
            bias[cut.chosen] += as_additive(
                cut.mask(T), (T, T), dtype=Q.dtype, device=Q.device
            )
            mask = bias.masked_fill(
                ~real[:, None], -torch.inf
            )  # [B, H, T, T]
    stages = dissect(Q * factor, K, V, mask)
    if all(cut.weights is None for cut in cuts):
        return stages.output, stages.scores, stages.weights
    weights, seen = (
        stages.weights.clone(),
        visible(mask, stages.scores.shape, Q.device),
    )
    for cut in cuts:
        if cut.weights is not None:
            given = weights[:, cut.chosen]
            weights[:, cut.chosen] = _without_padding(
                cut.weights(given, seen[:, cut.chosen]), given, real
            )
    return weights @ V, stages.scores, weights


def listed(which: int | Sequence[int] | None, count: int) -> list[int]:
    return (
        list(range(count))
        if which is None
        else [which]
        if isinstance(which, int)
        else list(which)
    )


def _without_padding(weights: Tensor, given: Tensor, real: Tensor) -> Tensor:
    """Weights that a cut gave, for queries that are padding none; an error, if other queries would look at padding."""
    if not isinstance(weights, Tensor) or weights.shape not in (
        given.shape,
        given.shape[-2:],
    ):
        came = (
            list(weights.shape)
            if isinstance(weights, Tensor)
            else type(weights).__name__
        )
        raise ValueError(
            f"weights of a cut must give a tensor {list(given.shape)}, as"
            f" they were given, got {came}."
        )
    keys, queries = (
        real[:, None],
        real[:, None].mT,
    )  # [B, 1, 1, T], [B, 1, T, 1]
    weights = (
        weights.to(given.dtype).expand(given.shape).masked_fill(~queries, 0.0)
    )
    if (weights.masked_fill(keys, 0.0) != 0).any():
        raise ValueError(
            "weights of a cut must be 0 on padding, where its second argument"
            " is False, got other numbers."
        )
    return weights
