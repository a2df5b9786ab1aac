"""Many heads: split the width, attend in each part alone, join the parts."""

import torch
from torch import Tensor, nn

from surgeon.anatomy.cache import KeyValueCache, WindowCache
from surgeon.anatomy.dot_product import check_tokens, common_shape
from surgeon.anatomy.groups import attend_in_groups
from surgeon.anatomy.mask_reading import as_additive, block, rows_as_additive
from surgeon.anatomy.positions import Positions, checked
from surgeon.anatomy.precision import at_least_float32
from surgeon.anatomy.qk_norm import QueryKeyNorm
from surgeon.anatomy.sinks import install_sink
from surgeon.arguments import (
    divisor,
    positive_integer,
    positive_number,
    probability,
    truth,
)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the width into heads, and let each head have its own sequence.

    Parameters
    ----------
    x : Tensor
        [..., T, num_heads * d].
    num_heads : int
        Number of heads `H`; it must divide the width.

    Returns
    -------
    Tensor
        [..., H, T, d]: head `h` holds columns `h * d` to `(h + 1) * d` of
        every token.

    Raises
    ------
    ValueError
        If `x` has fewer than two axes, or `num_heads` is not a positive
        integer that divides the width.

    Examples
    --------
    >>> import torch
    >>> split_heads(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), 2).tolist()
    [[[1, 2], [5, 6]], [[3, 4], [7, 8]]]
    """
    check_axes(x, ("sequence", "width"))
    H = divisor("num_heads", num_heads, "the width", x.shape[-1])
    d = x.shape[-1] // H

    # 1. Cut the width, [..., T, H, d]: no token moves.
    x = x.unflatten(-1, (H, d))
    # 2. Heads to the front, [..., H, T, d]: they are batched over.
    return x.transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """Undo `split_heads`: lay the heads' outputs side by side.

    Parameters
    ----------
    x : Tensor
        [..., H, T, d].

    Returns
    -------
    Tensor
        [..., T, H * d].

    Raises
    ------
    ValueError
        If `x` has fewer than three axes.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(24.0).reshape(2, 3, 4)
    >>> torch.equal(merge_heads(split_heads(x, 2)), x)
    True
    """
    check_axes(x, ("heads", "sequence", "width"))
    return x.transpose(-3, -2).flatten(-2)  # [..., T, H, d], then H * d


class MultiHeadAttention(nn.Module):
    r"""Attention in `num_heads` subspaces at once.

    .. math::

        \mathrm{head}_h = \mathrm{Attention}(XW^Q_h, CW^K_h, CW^V_h), \qquad
        Y = [\mathrm{head}_1 \dots \mathrm{head}_H]\,W^O

    with `C = X` (self-attention) or another sequence (cross-attention).

    Parameters
    ----------
    d_model : int
        Width of what comes in and goes out.
    num_heads : int
        Number of query heads `H`; it must divide `d_model`.
    num_kv_heads : int, optional
        Number of key and value heads; it must divide `num_heads`. `num_heads`
        (the default) is multi-head attention, 1 is multi-query, between them
        is grouped-query: neighbouring query heads share a key and value head.
    dropout : float
        Probability, in [0, 1), with which a weight is dropped while training.
    scale : bool
        Whether scores are divided by the square root of the heads' width.
    qk_norm : str, optional
        "rms" or "l2": how queries and keys are made alike in length before
        they are compared (see `surgeon.anatomy.qk_norm.QueryKeyNorm`).
    temperature : bool
        Whether each head learns what its scores are divided by, in place of
        the scale, where it starts; with "l2" it always does.
    softcap : float, optional
        What no score may exceed, before anything is added to it (see
        `surgeon.anatomy.score_bounds.soft_cap`).
    sink : bool or float, optional
        A score beside those of the keys, whose share of a row goes to nobody
        (see `surgeon.anatomy.sinks`). True: each head learns its own, from 0;
        a number: all heads have that one, for good.
    positions : Positions, optional
        How the layer is told where tokens stand: `Sinusoidal`, `Rotary`,
        `Alibi` or `DistanceBias` of `surgeon.anatomy.positions`. Without it,
        it is not.

    Raises
    ------
    ValueError
        If `d_model` is no positive integer, if a number of heads does not
        divide, if `dropout` is outside [0, 1), if `scale` or `temperature` is
        no boolean, if there is a temperature without a scale, if `qk_norm` is
        unknown, if `softcap` is not positive and finite, if `sink` is no
        boolean and no finite number, or if `positions` is no `Positions`.

    Notes
    -----
    Source: vaswani2017, shazeer2019 (multi-query), ainslie2023
    (grouped-query), henry2020, dehghani2023 (normalised), gemma2024 (capped),
    miller2023, openai2025 (sinks) (book/references.bib).

    Examples
    --------
    >>> import torch
    >>> output, weights = MultiHeadAttention(12, 3)(torch.randn(2, 5, 12))
    >>> list(output.shape), list(weights.shape)
    ([2, 5, 12], [2, 3, 5, 5])
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        scale: bool = True,
        qk_norm: str | None = None,
        temperature: bool = False,
        softcap: float | None = None,
        sink: bool | float | None = None,
        positions: Positions | None = None,
    ) -> None:
        super().__init__()
        if num_kv_heads is None:
            num_kv_heads = num_heads
        self.d_model = width = positive_integer("d_model", d_model)
        H = divisor("num_heads", num_heads, "d_model", width)
        self.num_heads = H
        self.num_kv_heads = divisor(
            "num_kv_heads", num_kv_heads, "num_heads", H
        )
        self.dropout = probability("dropout", dropout)
        self.scale = truth("scale", scale)
        d_kv = width // H * self.num_kv_heads
        self.W_Q = nn.Linear(width, width)
        self.W_K = nn.Linear(width, d_kv)
        self.W_V = nn.Linear(width, d_kv)
        self.W_O = nn.Linear(width, width)
        self.qk_norm = None
        if qk_norm is not None or truth("temperature", temperature):
            self.qk_norm = QueryKeyNorm(H, width // H, qk_norm, temperature)
            if self.qk_norm.log_temperature is not None:
                self.scale = without_scale(self.scale)
        self.softcap = None
        if softcap is not None:
            self.softcap = positive_number("softcap", softcap)
        self.sink: Tensor | None
        install_sink(self, sink, H)
        if positions is not None and not isinstance(positions, Positions):
            raise ValueError(
                "positions must be a scheme of surgeon.anatomy.positions, got"
                f" {positions!r}."
            )
        self.positions = positions

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend from `x` to `context`, or to `x` and what is before it.

        Parameters
        ----------
        x : Tensor
            [B, T, d_model], or any other leading axes, or none.
        context : Tensor, optional
            [B, S, d_model]: where keys and values come from. `x` if not
            given.
        mask : Tensor, optional
            [T, S] for all, [B, T, S] a sequence, or [B, H, T, S] a head; any
            convention that `attention` reads. With a cache, floating zeros
            and ones are refused: of such a mask, cut to the new tokens, a row
            of zeros would add nothing, and block nothing.
        cache : KeyValueCache, optional
            This layer's own: the tokens of `x` follow those that it holds,
            and are added to them. The layer is then causal, whatever `mask`
            says: a token sees itself and all before it, or what `mask` leaves
            of these. The S keys are the cached and the new ones. Gradients
            must be off. With a `WindowCache`, it sees no more than a window;
            `mask` and `places` are of all tokens that came, kept or not.
        places : Tensor, optional
            Where the S tokens stand, [S] or [B, S], for the layer's
            `positions`: with a cache, the kept ones first. 0, 1, 2, ... if
            not given. Where padding comes first, `count_places` has them.

        Returns
        -------
        output : Tensor
            [B, T, d_model].
        weights : Tensor
            [B, H, T, S]; with a `WindowCache`, the S keys that it hands back,
            in its order.

        Raises
        ------
        ValueError
            If a width is not `d_model`, if there are too few axes or no
            tokens, if `x` and `context` are not of one batch, if there is a
            cache and a context, if a mask cannot be read, if `places` do not
            fit, if a layer with positions gets a context, or one without
            gets places, or as `KeyValueCache.append`. A cache is then left
            as it was.
        """
        context = check_texts(x, context, self.d_model, cache)
        places = check_places(places, x, context, self.positions, cache)
        dropout = self.dropout if self.training else 0.0

        if self.positions is not None:
            here = places[..., -x.shape[-2] :]  # of the tokens of x
            x = context = self.positions.add(x, here)

        # 1. Three linear maps; what each gives is cut into heads.
        Q = split_heads(self.W_Q(x), self.num_heads)  # [B, H, T, d]
        K = split_heads(self.W_K(context), self.num_kv_heads)
        V = split_heads(self.W_V(context), self.num_kv_heads)
        # 2. Who may look at whom, as numbers to add to the scores.
        additive = read_for_heads(mask, Q, K, cache)

        if self.qk_norm is not None:
            Q, K = self.qk_norm(Q, K)
        if self.positions is not None:
            Q, K = (self.positions.turn(z, here) for z in (Q, K))
            if cache is not None:  # a ring has keys in an order of its own
                coming = cache.coming(x.shape[-2], x.device)
                places = places[..., coming]
            bias = self.positions.bias(here, places)
            additive = together(additive, bias, Q.dtype)
        if cache is not None:
            K, V = cache.append(K, V)  # [B, H_kv, S, d]: all so far

        # 3. Each head attends alone: [B, H, T, d] and [B, H, T, S].
        heads, weights = attend_in_groups(
            *(Q, K, V, additive, self.scale, dropout),
            softcap=self.softcap,
            sink=self.sink,
        )
        # 4. Heads side by side, [B, T, d_model], and mixed by a last map.
        return self.W_O(merge_heads(heads)), weights


def together(
    additive: Tensor | None, bias: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """What a mask and what distances add to the scores, in one tensor."""
    if bias is not None:
        bias = bias.to(at_least_float32(dtype))
    if additive is None or bias is None:
        return bias if additive is None else additive
    return additive + bias


def without_scale(scale: bool) -> bool:
    """False, since a temperature takes the scale's place.

    A ValueError if the scale was left out, and could not be replaced.
    """
    if not scale:
        raise ValueError(
            "scale must be True where a temperature takes its place, got"
            " False."
        )
    return False


def read_for_heads(
    mask: Tensor | None, Q: Tensor, K: Tensor, cache: KeyValueCache | None
) -> Tensor | None:
    """What is added to the scores: [T, S], [B, 1, T, S] or [B, H, T, S].

    With a cache, `mask` is of all keys, the kept ones first, and what is
    added is causal.
    """
    past, additive = 0 if cache is None else len(cache), None
    if mask is not None:
        lead = common_shape(Q.shape[:-3], K.shape[:-3])
        H, T, S = *Q.shape[-3:-1], past + K.shape[-2]
        axes = mask.ndim if isinstance(mask, Tensor) else 0
        for_all_heads = axes == len(lead) + 2  # [B, T, S]
        shape = (*lead, T, S) if for_all_heads else (*lead, H, T, S)
        dtype = at_least_float32(Q.dtype)
        read = as_additive if cache is None else rows_as_additive
        additive = read(mask, shape, dtype=dtype, device=Q.device)
        additive = additive.unsqueeze(-3) if for_all_heads else additive
    if isinstance(cache, WindowCache):
        return within(cache, additive, Q)
    return additive if cache is None else causal_after(past, additive, Q)


def within(
    cache: WindowCache, additive: Tensor | None, Q: Tensor
) -> Tensor | None:
    """What new tokens may see of the keys that a ring hands back.

    `additive` is of all tokens that came: of its columns, those of the keys
    are taken, in their order.
    """
    T = Q.shape[-2]
    if additive is not None:
        additive = additive[..., cache.coming(T, Q.device)]
    if T == 1:
        return additive  # a ring holds what one token sees, and no more
    hidden = block(~cache.seen(T, Q.device))
    return hidden if additive is None else hidden + additive


def causal_after(
    past: int, additive: Tensor | None, Q: Tensor
) -> Tensor | None:
    """What tokens that follow `past` others may see: these, and no later one.

    Their positions decide. `additive` is what a mask adds: it may hide more.
    """
    T, S = Q.shape[-2], past + Q.shape[-2]
    if T == 1:
        return additive  # all that there is lies in the past
    seen = torch.ones(T, S, dtype=torch.bool, device=Q.device).tril(past)
    return block(~seen) if additive is None else block(~seen) + additive


def check_axes(x: Tensor, names: tuple[str, ...]) -> None:
    """Raise a ValueError if `x` has fewer axes than there are names."""
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor, got {type(x).__name__}.")
    if x.ndim < len(names):
        number = {2: "two", 3: "three"}[len(names)]
        raise ValueError(
            f"x must have at least {number} axes ({', '.join(names)}), got"
            f" shape {list(x.shape)}."
        )


def check_places(
    places: Tensor | None,
    x: Tensor,
    context: Tensor,
    positions: Positions | None,
    cache: KeyValueCache | None,
) -> Tensor:
    """The tokens' places, [S] or [B, S]; a ValueError if they misfit."""
    if positions is None and places is not None:
        raise ValueError(
            "places must come with a layer that has positions, got some for"
            " one that has none."
        )
    if positions is not None and context is not x:
        raise ValueError(
            "context must not come with positions, which are those of one"
            " text, got both."
        )
    S = x.shape[-2] + (0 if cache is None else len(cache))
    if places is None:
        return torch.arange(S, device=x.device)
    if checked(places).shape not in ((S,), (*x.shape[:-2], S)):
        raise ValueError(
            f"places must have shape [{S}] or {[*x.shape[:-2], S]}, got"
            f" {list(places.shape)}."
        )
    return places


def check_texts(
    x: Tensor,
    context: Tensor | None,
    d_model: int,
    cache: KeyValueCache | None,
) -> Tensor:
    """The context, or `x` if there is none; a ValueError if they misfit."""
    if cache is not None and context is not None:
        raise ValueError(
            "cache must not come with a context, whose keys do not grow token"
            " by token, got both."
        )
    context = x if context is None else context
    for name, given in (("x", x), ("context", context)):
        tensor = isinstance(given, Tensor)
        shape = list(given.shape) if tensor else type(given).__name__
        if not tensor or len(shape) < 2 or shape[-1] != d_model:
            raise ValueError(
                f"{name} must have shape [..., tokens, d_model = {d_model}],"
                f" got {shape}."
            )
        check_tokens(name, given)
    try:
        common_shape(x.shape[:-2], context.shape[:-2])
    except RuntimeError:
        raise ValueError(
            "x and context must have leading axes that broadcast, got"
            f" {list(x.shape[:-2])} and {list(context.shape[:-2])}."
        ) from None
    return context
