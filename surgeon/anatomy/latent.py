"""Keys and values of all heads, made from one narrow row for each token."""

import math

import torch
from torch import Tensor, nn

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.groups import attend_in_groups
from surgeon.anatomy.heads import (
    check_texts,
    merge_heads,
    read_for_heads,
    split_heads,
)
from surgeon.anatomy.positions import rotary
from surgeon.arguments import (
    divisor,
    natural_number,
    positive_integer,
    truth,
)


class LatentAttention(nn.Module):
    r"""Attention whose keys and values are compressed: a latent is kept.

    .. math::

        \begin{gathered}
        c = XW^{DKV}, \qquad
        Y = [\mathrm{head}_1 \dots \mathrm{head}_H]\,W^O, \\
        \mathrm{head}_h
        = \mathrm{Attention}(XW^Q_h, cW^{UK}_h, cW^{UV}_h)
        \end{gathered}

    Of a token, `c` alone is needed later. Nor need a key ever be made of it:
    :math:`q\,(c\,W^{UK}_h)^T = (q\,W^{UK\,T}_h)\,c^T`, and an average of
    values is the average of `c`, times :math:`W^{UV}_h`. Absorbed like this,
    the layer is multi-query attention: one head of keys, which are the
    values too.

    Keys that are turned by their places would not allow it, since a turn
    for each distance then stands between the two matrices. So `d_rotary`
    columns of their own are turned, which all heads share, and are compared
    beside the others.

    Parameters
    ----------
    d_model : int
        Width of what comes in and goes out.
    num_heads : int
        Number of heads `H`; it must divide `d_model`.
    d_latent : int
        Width of the latent, `r`.
    d_rotary : int
        Columns of queries and keys that are turned, an even number. 0: the
        layer is not told where tokens stand.

    Raises
    ------
    ValueError
        If `d_model` or `d_latent` is no positive integer, if `num_heads` does
        not divide, or if `d_rotary` is no even integer of at least 0.

    Notes
    -----
    Source: deepseekai2024, section 2.1 (book/references.bib). There, queries
    are compressed too, and the latent is normalised before it is kept; both
    are left out here. As there, neighbouring columns are turned together.

    Examples
    --------
    >>> import torch
    >>> layer, cache = LatentAttention(12, 3, 5), KeyValueCache(7)
    >>> with torch.no_grad():
    ...     output, weights = layer(torch.randn(2, 7, 12), cache=cache)
    >>> list(output.shape), list(weights.shape)
    ([2, 7, 12], [2, 3, 7, 7])
    >>> cache.nbytes == 2 * 7 * 5 * 4  # texts, tokens, latent, float32
    True
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_latent: int,
        *,
        d_rotary: int = 0,
    ) -> None:
        super().__init__()
        self.d_model = width = positive_integer("d_model", d_model)
        H = divisor("num_heads", num_heads, "d_model", width)
        self.num_heads = H
        self.d_latent = r = positive_integer("d_latent", d_latent)
        self.d_rotary = turned = natural_number("d_rotary", d_rotary)
        if turned % 2:
            raise ValueError(f"d_rotary must be even, got {turned}.")
        self.W_Q = nn.Linear(width, width + H * turned)
        self.W_DKV = nn.Linear(width, r + turned)
        self.W_UK = nn.Linear(r, width, bias=False)
        self.W_UV = nn.Linear(r, width, bias=False)
        self.W_O = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
        absorbed: bool = False,
    ) -> tuple[Tensor, Tensor]:
        r"""Attend from `x` to `x` and what is before it.

        Parameters
        ----------
        x : Tensor
            [B, T, d_model], or any other leading axes, or none.
        mask : Tensor, optional
            As `MultiHeadAttention` reads it.
        cache : KeyValueCache, optional
            This layer's own, as `MultiHeadAttention` takes it. Where keys
            usually lie it keeps latents, [B, 1, S, d_latent], and in the
            values' place the turned columns, [B, 1, S, d_rotary].
        absorbed : bool
            Whether keys and values are never made. The result is the same,
            but for rounding. It takes fewer operations where few tokens come
            after many: for heads of width `d`, below :math:`r d / (r - d)`,
            if `r` is above `d`. It takes more for a long text at once.

        Returns
        -------
        output : Tensor
            [B, T, d_model].
        weights : Tensor
            [B, H, T, S].

        Raises
        ------
        ValueError
            If the width is not `d_model`, if there are too few axes or no
            tokens, if a mask cannot be read, if `absorbed` is no boolean, or
            as `KeyValueCache.append`. A cache is then left as it was.
        """
        check_texts(x, None, self.d_model, cache)
        absorbed = truth("absorbed", absorbed)
        H, r, turned = self.num_heads, self.d_latent, self.d_rotary
        d, past = self.d_model // H, 0 if cache is None else len(cache)
        W_UK, W_UV = by_head(self.W_UK, H), by_head(self.W_UV, H)

        # 1. Queries of each head, and one latent for all: [B, 1, T, r].
        Q, Q_turned = split_heads(self.W_Q(x), H).split([d, turned], -1)
        c, K_turned = split_heads(self.W_DKV(x), 1).split([r, turned], -1)
        additive = read_for_heads(mask, Q, c, cache)

        # 2. Columns of their own are turned by places; the latent is not.
        if turned:
            Q_turned = rotary(Q_turned, offset=past, pairs="neighbours")
            K_turned = rotary(K_turned, offset=past, pairs="neighbours")
        # 3. All that is kept of a token: r numbers, and those turned.
        if cache is not None:
            c, K_turned = cache.append(c, K_turned)
        # 4. Keys and values for each head, [B, H, S, d]; or one head of c.
        if absorbed:
            Q, K, V = Q @ W_UK.mT, c, c
        else:
            K, V = c @ W_UK, c @ W_UV
        # 5. A score adds what both kinds of columns say.
        Q = torch.cat([Q, Q_turned], -1) / math.sqrt(d + turned)
        K_turned = K_turned.expand(*K.shape[:-1], turned)
        K = torch.cat([K, K_turned], -1)
        heads, weights = attend_in_groups(Q, K, V, additive, scale=False)
        # 6. An average of latents becomes one of values: [B, H, T, d].
        if absorbed:
            heads = heads @ W_UV
        return self.W_O(merge_heads(heads)), weights


def by_head(up: nn.Linear, H: int) -> Tensor:
    """What makes each head's keys (or values) of a latent: [H, r, d]."""
    return up.weight.unflatten(0, (H, -1)).mT
