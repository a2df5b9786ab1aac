"""Cuts in a model's attention: which heads of which layers lose what."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from surgeon.anatomy.mask_rules import all_of, any_of, causal, mask_of, window
from surgeon.anatomy.positions import Positions, Sinusoidal
from surgeon.arguments import natural_number, positive_integer, truth

Which = int | Sequence[int] | None  # one, some or all of a model's
Tokens = int | Sequence[int]  # one or some of a text's
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
    T, S = weights.shape[-2:]  # the last query stands beside the last key
    own = torch.ones(T, S, dtype=torch.bool, device=weights.device)
    return weights * own.tril(S - T).triu(S - T)


def silent(weights: Tensor, seen: Tensor) -> Tensor:
    """For `Cut`: no query looks at anything.

    The head adds nothing to its layer.
    """
    return torch.zeros_like(weights)


def top_k(k: int) -> WeightsOf:
    """For `Cut`: each query keeps its `k` largest weights.

    They are shared out again to one. Of equal ones any may be kept.

    Raises
    ------
    ValueError
        If `k` is no positive integer.
    """
    k = positive_integer("k", k)

    def keep(weights: Tensor, seen: Tensor) -> Tensor:
        best = weights.topk(min(k, weights.shape[-1]), dim=-1)
        kept = torch.zeros_like(weights).scatter(-1, *best[::-1])
        total = kept.sum(-1, keepdim=True)  # 0 where nothing was looked at
        return kept / total.masked_fill(total == 0, 1.0)

    return keep


@dataclass(frozen=True)
class Cut:
    r"""One intervention in the attention of some heads of some layers.

    Several cuts in one head act in the order of attention, whatever theirs:
    positions (the last that are given, and the sum of all shifts), all the
    scales, all the masks, then the weights, one after the other.

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
        see, to the weights to use instead. Here are `uniform`,
        `own_diagonal`, `silent` and `top_k`.
    hide : int or sequence of int
        Tokens whose keys no query of these heads may see, not even their own;
        a text that is shorter has none of them. A row that may then look at
        nothing is zero.
    mute : int or sequence of int
        Tokens whose values count as zero: they are looked at, and give
        nothing.
    causal : bool
        False takes a language model's own mask away. What `mask` says is then
        all there is: without one, every query sees every key.
    positions : Positions, optional
        What a language model's heads use in place of their own rotation: a
        scheme of `surgeon.anatomy.positions` but for `Sinusoidal`, which
        changes tokens and no heads. ``Positions()`` changes nothing, so that
        the heads do not know where tokens stand.
    shift_queries, shift_keys : float
        How many places later than they do the queries, or the keys, are said
        to stand. Only the difference counts.

    Raises
    ------
    ValueError
        If one of these is of another kind, or a number is out of its range.
        Whether a model has that layer and head is seen when it is cut, and so
        is that an encoder has neither a mask nor a rotation of its own.

    Notes
    -----
    Where tokens follow those in a cache, the last query stands beside the
    last key: a mask is made for all `S` tokens, of which the new ones are the
    last `T` rows, and `weights` are given [B, H, T, S].

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
    hide: Tokens = ()
    mute: Tokens = ()
    causal: bool = True
    positions: Positions | None = None
    shift_queries: float = 0
    shift_keys: float = 0

    def __post_init__(self) -> None:
        _check_which("layers", self.layers)
        _check_which("heads", self.heads)
        _check_number("scale", self.scale)
        _check_function("mask", self.mask)
        _check_function("weights", self.weights)
        _check_tokens("hide", self.hide)
        _check_tokens("mute", self.mute)
        truth("causal", self.causal)
        _check_positions(self.positions)
        _check_number("shift_queries", self.shift_queries)
        _check_number("shift_keys", self.shift_keys)

    def layers_of(self, count: int) -> list[int]:
        """The layers that are cut, one by one, in a model of so many."""
        return _listed("layers", self.layers, count)

    def heads_of(self, count: int) -> list[int]:
        """The heads that are cut, one by one, in a layer of so many."""
        return _listed("heads", self.heads, count)

    def hidden_of(self, count: int) -> list[int]:
        """The tokens that nobody sees, one by one, in a text of so many."""
        return _there(self.hide, count)

    def muted_of(self, count: int) -> list[int]:
        """The tokens that give nothing, one by one, in a text of so many."""
        return _there(self.mute, count)

    @property
    def moves(self) -> bool:
        """Whether it changes where tokens are said to stand."""
        shifted = self.shift_queries != 0 or self.shift_keys != 0
        return self.positions is not None or shifted


def unscaled(
    layers: Which = None,
    heads: Which = None,
    d_k: int = 32,
) -> Cut:
    r"""The cut that takes back the division by :math:`\sqrt{d_k}`.

    `layers` and `heads` are those of `Cut`, and `d_k` is the width of the
    heads, which is 32 in the specimen, and 64 in the language model.
    """
    return Cut(layers, heads, scale=math.sqrt(d_k))


def windowed(
    width: int,
    sinks: int = 0,
    layers: Which = None,
    heads: Which = None,
) -> Cut:
    """The cut that lets queries see the nearby keys, and the first ones.

    Parameters
    ----------
    width : int
        How many keys a query sees at most, its own counted, at least 1.
    sinks : int
        How many tokens at the beginning every later query sees besides.
    layers, heads
        As `Cut` takes them.

    Returns
    -------
    Cut

    Raises
    ------
    ValueError
        If `width` is no integer of at least 1, or `sinks` none of at least 0,
        or as `Cut`.

    Notes
    -----
    Source: xiao2024 (book/references.bib).

    Examples
    --------
    >>> windowed(2, sinks=1).mask(4).int()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [1, 1, 1, 0],
            [1, 0, 1, 1]], dtype=torch.int32)
    """
    width = positive_integer("width", width)
    sinks = natural_number("sinks", sinks)
    near = any_of(window(width - 1, 0), lambda b, h, i, j: j < sinks)
    rule = all_of(causal, near)
    return Cut(layers, heads, mask=lambda T: mask_of(rule, (T, T)))


def check_cuts(
    cuts: Sequence[Cut], layers: int, heads: int, *, ordered: bool = False
) -> None:
    """Raise a ValueError unless a model of that many layers has them all.

    `ordered` says whether its attention has a causal mask and positions.
    """
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
        if not ordered and (cut.moves or not cut.causal):
            raise ValueError(
                "cuts of an encoder must leave causal, positions,"
                " shift_queries and shift_keys as they are, since its heads"
                " have no mask and no rotation to cut, got one that does not."
            )


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


def _there(tokens: Tokens, count: int) -> list[int]:
    chosen = tokens if isinstance(tokens, Sequence) else [tokens]
    return [int(one) for one in chosen if one < count]


def _check_tokens(name: str, tokens: Tokens) -> None:
    if tokens is None:
        raise ValueError(
            f"{name} must be an integer or a sequence of them, got None."
        )
    _check_which(name, tokens)


def _check_positions(positions: Positions | None) -> None:
    fits = positions is None or isinstance(positions, Positions)
    if not fits or isinstance(positions, Sinusoidal):
        raise ValueError(
            "positions must be a scheme of surgeon.anatomy.positions that"
            " changes queries, keys or scores, or None, got"
            f" {type(positions).__name__}."
        )


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


def _check_number(name: str, value: float) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")


def _check_function(name: str, function: object) -> None:
    if function is not None and not callable(function):
        raise ValueError(
            f"{name} must be a function, or None, got"
            f" {type(function).__name__}."
        )
