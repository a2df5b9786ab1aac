"""Queries, keys and values out of one projection: in which order?

`H` heads, `G` groups that share a key head, `d` a head's width.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.checkup.subjects.answering import SubjectError

# all queries, all keys, all values (GPT-2, Phi-3); each head its own three
# (GPT-NeoX, BLOOM); each group its queries, its key and its value (Falcon);
# each column of a head its three; each column, three times all heads.
FUSED = ("3 H d", "H 3 d", "G q k v", "H d 3", "d 3 H")

# From Q, K and V side by side, in this order, to the module's output.
Ask = Callable[[Tensor, Tensor, Tensor, str], Tensor]


def side_by_side(
    Q: Tensor, K: Tensor, V: Tensor, order: str, heads: int, kv_heads: int
) -> Tensor:
    """[..., T, H * d], [..., T, G * d], [..., T, G * d] as one projection."""
    if order == "3 H d":
        return torch.cat([Q, K, V], -1)
    q, k, v = (
        x.unflatten(-1, (kv_heads, -1, Q.shape[-1] // heads))
        for x in (Q, K, V)
    )  # [..., T, G, H / G or 1, d]
    if order in ("H 3 d", "G q k v"):
        return torch.cat([q, k, v], -2).flatten(-3)
    stacked = torch.stack([q, k, v], -2).squeeze(-3)  # [..., T, H, 3, d]
    way = (-1, -2) if order == "H d 3" else (-1, -3)
    return stacked.transpose(*way).flatten(-3)


def find_order(
    ask: Ask, shape: tuple[int, int, int, int, int], dtype: torch.dtype
) -> str | None:
    """The order in which queries, keys and values act as such.

    A head's key and value move that head's columns alone, a query its own
    row alone, and values without keys that differ are averaged alike. None
    if no order does so.

    Parameters
    ----------
    ask : callable
        From Q, K, V and an order to the output [B, T, H * d].
    shape : tuple of int
        B, T, H, G and d.
    dtype
        Of what is asked.
    """
    B, T, H, G, d = shape
    chance = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(
        B, T, n * d, generator=chance, dtype=torch.float64
    ).to(dtype)
    Q, K, V = draw(H), draw(G), draw(G)
    equal = [order for order in FUSED if order != "G q k v"]
    for order in equal if G == H else ("3 H d", "G q k v"):
        try:
            if _acts(ask, order, (Q, K, V), (H, G, d)):
                return order
        except (SubjectError, RuntimeError):
            continue
    return None


def _acts(
    ask: Ask,
    order: str,
    inputs: tuple[Tensor, Tensor, Tensor],
    sizes: tuple[int, int, int],
) -> bool:
    """Whether each of the three does, in an order, what it is there for."""
    (Q, K, V), (H, G, d) = inputs, sizes
    still = ask(Q, K, V, order)
    slack = 1e-3 * float(still.abs().max())
    by_head = lambda x: x.unflatten(-1, (H, d)).abs().amax((0, 1, 3))
    for i in (1, 2):
        other = inputs[i].clone()
        other[..., -d:] *= -0.7
        k, v = (other, V) if i == 1 else (K, other)
        moved = by_head(ask(Q, k, v, order) - still)
        others, own = moved[: -(H // G)], moved[-(H // G) :]
        if bool((others > slack).any()) or not bool((own > slack).any()):
            return False
    other = Q.clone()
    other[:, 1] *= -0.7
    moved = (ask(other, K, V, order) - still).abs().amax((0, 2))
    rest = torch.arange(len(moved)) != 1
    if bool((moved[rest] > slack).any()) or not float(moved[1]) > slack:
        return False
    twice = ask(Q, K, 2 * V, order)
    return float((twice - 2 * still).abs().max()) <= slack
