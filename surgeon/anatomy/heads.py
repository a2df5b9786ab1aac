"""Many heads: split the width, attend in each part alone, join the parts again."""

import torch
from torch import Tensor, nn

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.groups import grouped_attention
from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.masks import combine_masks
from surgeon.arguments import probability


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
        If `num_heads` is not a positive integer that divides the width.

    Examples
    --------
    >>> import torch
    >>> split_heads(torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), 2).tolist()
    [[[1, 2], [5, 6]], [[3, 4], [7, 8]]]
    """
    _check_divides("num_heads", num_heads, "the width", x.shape[-1])
    d = x.shape[-1] // num_heads
    x = x.unflatten(-1, (num_heads, d))  # [..., T, H, d]: no token moves
    return x.transpose(
        -3, -2
    )  # [..., H, T, d]: heads are an axis to batch over


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
    if x.ndim < 3:
        raise ValueError(
            "x must have at least three axes (heads, sequence, width), got"
            f" shape {list(x.shape)}."
        )
    return x.transpose(-3, -2).flatten(
        -2
    )  # [..., T, H, d] -> [..., T, H * d]


class MultiHeadAttention(nn.Module):
    r"""Attention in `num_heads` subspaces at once.

    .. math:: \mathrm{head}_h = \mathrm{Attention}(XW^Q_h, CW^K_h, CW^V_h), \qquad
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

    Raises
    ------
    ValueError
        If a number of heads does not divide, or `dropout` is outside [0, 1).

    Notes
    -----
    Source: vaswani2017, shazeer2019 (multi-query), ainslie2023
    (grouped-query) (book/references.bib).

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
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        _check_divides("num_heads", num_heads, "d_model", d_model)
        _check_divides("num_kv_heads", num_kv_heads, "num_heads", num_heads)
        self.d_model, self.num_heads, self.num_kv_heads = (
            d_model,
            num_heads,
            num_kv_heads,
        )
        self.dropout, self.scale = probability("dropout", dropout), scale
        d_kv = d_model // num_heads * num_kv_heads
        self.W_Q = nn.Linear(d_model, d_model)
        self.W_K = nn.Linear(d_model, d_kv)
        self.W_V = nn.Linear(d_model, d_kv)
        self.W_O = nn.Linear(d_model, d_model)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend from `x` to `context`, or to `x` itself and the tokens before it.

        Parameters
        ----------
        x : Tensor
            [B, T, d_model], or any other leading axes, or none.
        context : Tensor, optional
            [B, S, d_model]: where keys and values come from. `x` if not
            given.
        mask : Tensor, optional
            [T, S] for all, [B, T, S] a sequence, or [B, H, T, S] a head; any
            convention that `attention` reads.
        cache : KeyValueCache, optional
            This layer's own: the tokens of `x` follow those that it holds,
            and are added to them. The layer is then causal, whatever `mask`
            says: a token sees itself and all before it, or what `mask` leaves
            of these. The S keys are the cached and the new ones. Gradients
            must be off.

        Returns
        -------
        output : Tensor
            [B, T, d_model].
        weights : Tensor
            [B, H, T, S].

        Raises
        ------
        ValueError
            If a width is not `d_model`, if there are too few axes, if there
            is a cache and a context, or as `attention` and
            `KeyValueCache.append`. A cache is then left as it was.
        """
        if cache is not None and context is not None:
            raise ValueError(
                "cache must not come with a context, whose keys do not grow"
                " token by token, got both."
            )
        context = x if context is None else context
        for name, given in (("x", x), ("context", context)):
            if given.ndim < 2 or given.shape[-1] != self.d_model:
                raise ValueError(
                    f"{name} must have shape [..., tokens, d_model ="
                    f" {self.d_model}], got {list(given.shape)}."
                )
        if isinstance(mask, Tensor) and mask.ndim == x.ndim and x.ndim > 2:
            mask = mask.unsqueeze(
                -3
            )  # [B, T, S] -> [B, 1, T, S]: the same for every head
        Q = split_heads(self.W_Q(x), self.num_heads)  # [B, H, T, d]
        K = split_heads(
            self.W_K(context), self.num_kv_heads
        )  # [B, H_kv, S, d]
        V = split_heads(
            self.W_V(context), self.num_kv_heads
        )  # [B, H_kv, S, d]
        if cache is not None:
            mask = _causal_after(
                len(cache), mask, Q
            )  # [T, S], or as the mask
            K, V = cache.append(K, V)  # [B, H_kv, S, d]: all so far
        dropout = self.dropout if self.training else 0.0
        output, weights = grouped_attention(
            Q, K, V, mask, self.scale, dropout=dropout
        )
        return self.W_O(merge_heads(output)), weights


def _causal_after(past: int, mask: Tensor | None, Q: Tensor) -> Tensor | None:
    """What new tokens may see of the `past` ones, and of each other, by position; `mask` may hide more."""
    T, S = Q.shape[-2], past + Q.shape[-2]
    if mask is not None:
        mask = as_additive(
            mask, (*Q.shape[:-1], S), dtype=torch.float64, device=Q.device
        )  # checked before K is kept
    if T == 1:
        return mask  # all that there is lies in the past
    causal = torch.ones(T, S, dtype=torch.bool, device=Q.device).tril(past)
    return causal if mask is None else combine_masks(causal, mask)


def _check_divides(name: str, parts: int, of: str, whole: int) -> None:
    if (
        not isinstance(parts, int)
        or isinstance(parts, bool)
        or parts < 1
        or whole % parts
    ):
        raise ValueError(
            f"{name} must be a positive integer that divides {of} ({whole}),"
            f" got {parts!r}."
        )
