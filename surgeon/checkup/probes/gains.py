"""Weights of a norm of queries and keys, from products of two of them."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surgeon.checkup.designs.design import Design
from surgeon.checkup.designs.schemes import Turning

if TYPE_CHECKING:
    from surgeon.checkup.probes.fitting import Reading


def gains_of_products(
    design: Design, reading: "Reading", *, paired: bool
) -> tuple[Tensor, Tensor]:
    """What multiplies each column of queries, and of keys.

    A score is a sum of products of columns, each times the weights of both;
    `paired` whether pairs of columns are turned after the norm, so that each
    column of a query also meets the other one of its pair. Only products of
    two weights can be told: of each column or pair, the first is one.
    """
    d, scheme = reading.Q.shape[-1], design.positions
    bare = replace(design, positions=None) if paired else design
    q, k, _ = bare.compared(reading.Q, reading.K)
    bias = design.compared(reading.Q, reading.K)[2]
    logs = reading.weights.clamp(min=1e-300).log() - bias
    a, b, turns = pairs_of(scheme if paired else None, d)
    rest = [c for c in range(d) if c not in a + b]
    T, S = q.shape[2], k.shape[2]
    first = 0 if design.top_left else S - T
    back = torch.arange(first, first + T)[:, None] - torch.arange(S)
    angle = back.double()[..., None] * turns  # [T, S, n]
    cos, sin = angle.cos(), angle.sin()

    def product(some: list[int], others: list[int]) -> Tensor:
        """[B, H, T, S, n]"""
        return q[..., some].unsqueeze(-2) * k[..., others].unsqueeze(-3)

    columns = torch.cat(
        [
            product(rest, rest),
            product(a, a) * cos,
            product(b, b) * cos,
            product(a, b) * sin,
            -product(b, a) * sin,
        ],
        -1,
    )
    given = reading.factor or design.factor(d, T, S)
    found = _explain(columns * given, logs, reading.seen)
    alone, aa, bb, ab, ba = found.split([len(rest), *4 * [len(a)]])
    gains = torch.ones(2, d, dtype=torch.float64)
    ratio = _ratio(ba / aa, bb / ab)
    gains[1, rest], gains[1, a] = alone, aa
    gains[0, b], gains[1, b] = ratio, bb / ratio
    return gains[0], gains[1]


def pairs_of(
    scheme: object, width: int
) -> tuple[list[int], list[int], Tensor]:
    """The first and the second columns of pairs, and how far they turn."""
    if not isinstance(scheme, Turning):
        return [], [], torch.zeros(0, dtype=torch.float64)
    some = scheme.columns(width)
    columns, turns = list(range(some)), scheme.turns(width)
    if scheme.pairs == "halves":
        return columns[: some // 2], columns[some // 2 :], turns
    return columns[::2], columns[1::2], turns


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Of the second column's weight to the first's, as two products tell.

    Pairs that hardly turn do not tell it, and it does not matter there.
    """
    known = (one > 0) & (other > 0) & ((one / other).log().abs() < 1)
    return torch.where(known, (one * other).abs().sqrt(), 1.0)


def _explain(columns: Tensor, logs: Tensor, seen: Tensor) -> Tensor:
    """What columns must be multiplied by to explain rows of logarithms.

    [B, H, T, S, n] and [B, H, T, S] to [n], but for what rows share.
    """
    blank = ~seen
    logs = logs.masked_fill(blank, math.nan)
    columns = columns.masked_fill(blank.unsqueeze(-1), math.nan)
    logs = logs - logs.nanmean(-1, keepdim=True)
    columns = columns - columns.nanmean(-2, keepdim=True)
    rows = torch.linalg.lstsq(
        columns[seen], logs[seen][:, None], driver="gelsd"
    )
    return rows.solution[:, 0]
