"""Queries and keys made alike in length before they are compared."""

import math

import torch
from torch import Tensor, nn

from surgeon.anatomy.score_bounds import rms_norm, unit_length
from surgeon.arguments import truth


class QueryKeyNorm(nn.Module):
    r"""What each head does to its queries and keys before their products.

    .. math::

        q \leftarrow \frac{q}{\mathrm{rms}(q)} \odot g^Q, \quad
        k \leftarrow \frac{k}{\mathrm{rms}(k)} \odot g^K
        \qquad\text{or}\qquad
        q \leftarrow \frac{1}{T_h}\, \frac{q}{\lVert q \rVert}, \quad
        k \leftarrow \frac{k}{\lVert k \rVert}

    Parameters
    ----------
    num_heads, width : int
        Query heads `H`, and the width of one, `d`.
    kind : str, optional
        "rms", with weights :math:`g^Q` and :math:`g^K`, [d], that all heads
        share; "l2", whose products are cosines, with a temperature; or
        neither.
    temperature : bool
        Whether each head learns its temperature :math:`T_h`, which divides
        its scores, whatever the kind. It starts at :math:`\sqrt d`, and for
        "l2" at :math:`1 / \sqrt d`: where random scores spread by about one.

    Raises
    ------
    ValueError
        If `kind` is unknown, or `temperature` is no boolean.

    Notes
    -----
    Source: henry2020 ("l2"), dehghani2023 and wortsman2024 (normalised, with
    layer norm) (book/references.bib).

    Examples
    --------
    >>> norm = QueryKeyNorm(num_heads=3, width=7, kind="l2")
    >>> Q, K = norm(torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7))
    >>> bool(((Q @ K.mT).abs() <= 7**0.5 + 1e-5).all())
    True
    """

    def __init__(
        self,
        num_heads: int,
        width: int,
        kind: str | None = None,
        temperature: bool = False,
    ) -> None:
        super().__init__()
        if kind not in (None, "rms", "l2"):
            raise ValueError(
                f'qk_norm must be "rms", "l2" or None, got {kind!r}.'
            )
        self.kind = kind
        weights = kind == "rms"
        self.gain_Q = nn.Parameter(torch.ones(width)) if weights else None
        self.gain_K = nn.Parameter(torch.ones(width)) if weights else None
        learned = truth("temperature", temperature) or kind == "l2"
        # its logarithm is learned, so that it stays positive
        start = math.log(width) / (-2 if kind == "l2" else 2)
        log = torch.full((num_heads,), start)
        self.log_temperature = nn.Parameter(log) if learned else None

    def forward(self, Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys as they are compared.

        Parameters
        ----------
        Q, K : Tensor
            [..., H, T, d] and [..., H_kv, S, d].

        Returns
        -------
        Q, K : Tensor
            In the shape and dtype that they came in.
        """
        if self.kind == "rms":
            Q, K = rms_norm(Q, self.gain_Q), rms_norm(K, self.gain_K)
        if self.kind == "l2":
            Q, K = unit_length(Q), unit_length(K)
        if self.log_temperature is not None:
            temperature = self.log_temperature.exp()[:, None, None]
            Q = (Q / temperature).to(Q.dtype)
        return Q, K
