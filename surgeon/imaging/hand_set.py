"""Queries and keys set by hand: a pattern of attention with a known cause."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from surgeon.arguments import place, positive_integer, whole_number

PATTERNS = ("diagonal", "previous", "vertical", "horizontal", "blocks")


def hand_set_pattern(
    pattern: str,
    num_tokens: int,
    *,
    lead: float = 4.0,
    token: int = 0,
    phrases: Sequence[int] = (),
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    r"""Queries and keys whose scaled scores are `lead` for a wanted key.

    For all others they are 0:

    .. math::
       \frac{q_i \cdot k_j}{\sqrt{d_k}}
       = \ell \cdot [\,\text{query } i \text{ wants key } j\,]

    A query that wants one key of `T` gives it the weight :math:`e^\ell /
    (e^\ell + T - 1)`. A query of zeros wants none, and reads all of them
    evenly.

    Parameters
    ----------
    pattern : str
        "diagonal" (each query wants its own place), "previous" (the place
        before; the first query is zero), "vertical" (all want the key of
        `token`), "horizontal" (the diagonal, with the query of `token` zero)
        or "blocks" (each wants every key of its own phrase).
    num_tokens : int
        Queries, and as many keys: `T`.
    lead : float
        The score :math:`\ell` of a wanted key, after scaling; all others have
        0.
    token : int
        The place, from 0, of the token that "vertical" and "horizontal" are
        about.
    phrases : sequence of int
        For "blocks": the lengths of the phrases, one after the other, `T` in
        sum.
    dtype : torch.dtype
        Precision of both.

    Returns
    -------
    Q, K : Tensor
        [T, d_k] each, with d_k = 1 for "vertical", one direction a phrase for
        "blocks", one a place (T) otherwise.

    Raises
    ------
    ValueError
        If the pattern has another name, `num_tokens` is not a positive
        integer, `lead` is not finite, `token` is no place of the text, or the
        phrases of "blocks" are not lengths of at least 1 that add up to it.

    Examples
    --------
    >>> hand_set_pattern("vertical", 3, lead=4.0, token=2)
    (tensor([[4.],
            [4.],
            [4.]]), tensor([[0.],
            [0.],
            [1.]]))
    """
    T = positive_integer("num_tokens", num_tokens)
    token = place("token", token, T)
    _check_choice(pattern, T, lead, phrases)
    # Place j has the unit vector j.
    wanted = keys = torch.eye(T, dtype=dtype, device="cpu")
    if pattern == "previous":
        # A row of zeros comes first.
        wanted = F.pad(keys, (0, 0, 1, 0))[:T]
    elif pattern == "horizontal":
        wanted = keys.clone()
        wanted[token] = 0.0
    elif pattern == "vertical":
        wanted = keys.new_ones(T, 1)
        # 1 at the token, 0 elsewhere.
        keys = keys[:, token : token + 1]
    elif pattern == "blocks":
        phrase_of = [p for p, n in enumerate(phrases) for _ in range(n)]
        # The tokens of phrase p have the unit vector p.
        wanted = keys = keys[phrase_of, : len(phrases)]
    return lead * math.sqrt(keys.shape[1]) * wanted, keys


def _check_choice(
    pattern: str, T: int, lead: float, phrases: Sequence[int]
) -> None:
    if pattern not in PATTERNS:
        raise ValueError(
            f"pattern must be one of {', '.join(PATTERNS)}, got {pattern!r}."
        )
    if not math.isfinite(lead):
        raise ValueError(f"lead must be a finite number, got {lead}.")
    lengths = [whole_number(n) or 0 for n in phrases]
    if pattern == "blocks" and (
        min(lengths, default=0) < 1 or sum(lengths) != T
    ):
        raise ValueError(
            f"phrases must be lengths of at least 1 that add up to {T}"
            f" (num_tokens), got {list(phrases)}."
        )
