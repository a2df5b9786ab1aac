"""Numbers of a design that only its weights can tell."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.designs.bounds import Cap
from surgeon.checkup.designs.design import Design, spread
from surgeon.checkup.designs.norms import SMALL, RowNorm
from surgeon.checkup.designs.schemes import Slopes, Turning
from surgeon.checkup.probes.gains import gains_of_products, pairs_of

FEW = 4  # heads that numbers which all share are fitted to
STEPS = 40
ENOUGH = 1e-5  # what no weight of a norm that was trained would leave


@dataclass(frozen=True)
class Reading:
    """Weights that were read off, and what they belong to.

    Parameters
    ----------
    Q, K : Tensor
        [B, H, T, d], [B, H_kv, S, d], float64.
    weights : Tensor
        [B, H, T, S].
    factor : float or None
        What scores are multiplied by, if that was declared.
    turns : bool
        In which order key heads are.
    """

    Q: Tensor
    K: Tensor
    weights: Tensor
    factor: float | None
    turns: bool = False

    @property
    def seen(self) -> Tensor:
        return self.weights > 0

    def misfit(self, design: Design) -> float:
        """How far a design's weights are from these, at most."""
        scores = design.scores(self.Q, self.K, self.factor, self.turns)
        scores = scores.masked_fill(~self.seen, -math.inf)
        off = design.share(scores) - self.weights
        return float(off.abs().nan_to_num(nan=math.inf).max())

    def few(self) -> "Reading":
        """Its first heads, one of a group, and one sequence."""
        group = self.Q.shape[1] // self.K.shape[1]
        K = spread(self.K, self.Q.shape[1], self.turns)[:1, ::group][:, :FEW]
        Q, weights = (x[:1, ::group][:, :FEW] for x in (self.Q, self.weights))
        return Reading(Q, K, weights, self.factor)

    def residual(self, design: Design) -> Tensor:
        """How logarithms of shares differ from scores, less what rows share.

        A sink does not matter here.
        """
        scores = design.scores(self.Q, self.K, self.factor, self.turns)
        seen = self.seen
        logs = self.weights.clamp(min=1e-300).log()
        gaps = (scores - logs) * seen
        mean = gaps.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
        return ((gaps - mean) * seen).flatten()


def solve(
    function: Callable[[Tensor], Tensor], start: Tensor
) -> tuple[Tensor, float]:
    """What makes a function zero, from near by, and what is left.

    Gauss and Newton's steps, halved until each is one forward; of numbers
    that do not matter, the smallest.
    """
    x, left = start, function(start)
    for _ in range(STEPS):
        slopes = torch.func.jacfwd(function)(x)
        if not slopes.isfinite().all():
            break
        step = torch.linalg.lstsq(slopes, left[:, None], driver="gelsd")
        step = step.solution[:, 0]
        for _ in range(12):
            new = function(x - step)
            if new.norm() < left.norm():
                break
            step = step / 2
        else:
            break
        slow = float(new.norm() / left.norm()) > 0.99
        x, left = x - step, new
        if slow and float(left.norm()) > 1e-6:
            break
        if float(step.abs().max()) < 1e-14:
            break
    return x, float(left.abs().max())


def complete(
    design: Design, reading: Reading, *, gains: bool = True
) -> Design:
    """The design with what is learned of its norm, if that fits better.

    `gains` whether weights are tried, where it does not fit without.
    """
    norm = design.norm
    if not isinstance(norm, RowNorm):
        return design
    small = SMALL if math.isnan(norm.eps) else (norm.eps,)
    tried = [replace(design, norm=replace(norm, eps=eps)) for eps in small]
    if norm.kind == "l2" and reading.factor is None and not design.scale:
        tried = [_with_scale(one, reading) for one in tried]
        return min(tried, key=reading.misfit)
    best = min(tried, key=reading.misfit)
    plain = norm.kind == "l2" or not gains
    if plain or reading.misfit(best) < ENOUGH:
        return best
    if 1 in norm.over:
        each = [_with_gains_of_heads(one, reading) for one in tried]
        fitted = min(each, key=reading.misfit)
        return best if reading.misfit(fitted) > 1e-4 else fitted
    few = reading.few()
    fitted = _with_gains(best, few)
    if reading.misfit(fitted) > 1e-4:
        return best
    others = [_with_gains(one, few) for one in tried]
    return min(others, key=reading.misfit)


def _with_gains(design: Design, reading: Reading) -> Design:
    """Weights of the norm, which all heads share.

    Where scores are not bent they are linear in products of two weights;
    otherwise, they are sought step by step.
    """
    assert isinstance(design.norm, RowNorm)
    norm, d = design.norm, reading.Q.shape[-1]
    turned = design.positions
    plain = not isinstance(turned, Turning) or design.norm_last
    simple = (
        isinstance(turned, Turning)
        and not turned.angles
        and (turned.axis == "tokens" and not turned.only)
    )
    if not design.cap and (plain or simple):
        gains = gains_of_products(design, reading, paired=not plain)
        return replace(design, norm=replace(norm, gains=gains))

    def made(numbers: Tensor) -> Design:
        gains = numbers[:d], numbers[d:]
        return replace(design, norm=replace(norm, gains=gains))

    ones = torch.ones(2 * d, dtype=torch.float64)
    found, _ = solve(lambda x: reading.residual(made(x)), ones)
    return made(found)


def _with_gains_of_heads(design: Design, reading: Reading) -> Design:
    """Weights of a norm over all heads: other numbers in each.

    Those of a key head are one, but for the second column of a pair beside
    the first; what else they come to is in those of its queries.
    """
    assert isinstance(design.norm, RowNorm)
    turned, H = design.positions, reading.Q.shape[1]
    simple = turned is None or (
        isinstance(turned, Turning)
        and not turned.angles
        and turned.axis == "tokens"
        and not turned.only
    )
    if design.cap or not simple:
        return design
    late = design.norm_last or turned is None
    q, k = design.norm(reading.Q, reading.K)
    if late:
        q, k, _ = design.compared(reading.Q, reading.K)
    alone = replace(design, norm=None, positions=None if late else turned)
    K = spread(k, H, reading.turns)
    group, d = H // k.shape[1], q.shape[-1]
    first, second, _ = pairs_of(None if late else turned, d)
    of_queries, of_keys = [], []
    for h in range(H):
        here = slice(h, h + 1)
        weights = reading.weights[:, here]
        head = Reading(q[:, here], K[:, here], weights, reading.factor)
        a, b = gains_of_products(alone, head, paired=not late)
        beside = torch.ones_like(b)
        beside[second] = b[second] / b[first]
        of_queries.append(a * b / beside)
        of_keys.append(beside)
    shared = of_keys[: k.shape[1]] if reading.turns else of_keys[::group]
    gains = torch.stack(of_queries), torch.stack(shared)
    return replace(design, norm=replace(design.norm, gains=gains))


def _with_scale(design: Design, reading: Reading) -> Design:
    """A factor for each head."""
    design = replace(design, scale=lambda *_: 1.0)
    q, k, bias = design.compared(reading.Q, reading.K)
    products = q @ spread(k, q.shape[1], reading.turns).mT
    seen = reading.seen
    count = seen.sum(-1, keepdim=True)
    centre = lambda x: (x - (x * seen).sum(-1, keepdim=True) / count) * seen
    logs = centre(reading.weights.clamp(min=1e-300).log() - bias)
    products = centre(products)
    axes = (0, 2, 3)
    factors = (logs * products).sum(axes) / products.square().sum(axes)
    return replace(design, scale=lambda *_: factors[:, None, None])


def other_numbers(design: Design, reading: Reading) -> list[Design]:
    """The design with another cap, base, or slopes, if that explains all."""
    found = []
    for made, start in _free(design, reading.Q.shape[1]):
        number, left = solve(partial(_left, reading, made), start)
        if left < 1e-3 and number.isfinite().all():
            found.append(made(number))
    return found


def _left(
    reading: Reading, made: Callable[[Tensor], Design], x: Tensor
) -> Tensor:
    return reading.residual(made(x))


def _free(
    design: Design, heads: int
) -> list[tuple[Callable[[Tensor], Design], Tensor]]:
    """What may be another number: a design of it, and where it begins."""
    free: list[tuple[Callable[[Tensor], Design], Tensor]] = []
    log = lambda x: torch.tensor([math.log(x)], dtype=torch.float64)
    cap, positions = design.cap, design.positions
    if cap is not None:
        make = lambda x: replace(design, cap=Cap(x[0].exp()))
        free += [(make, log(cap.size * by)) for by in (1, 0.4, 2.5)]
    if isinstance(positions, Turning) and positions.frequencies is None:
        turn = lambda x: replace(
            design, positions=replace(positions, base=x[0].exp())
        )
        free += [(turn, log(base)) for base in (1e2, 1e3, 1e4, 1e5, 1e6)]
    if isinstance(positions, Slopes):
        lower = lambda x: replace(
            design, positions=replace(positions, slopes=x)
        )
        free.append((lower, torch.zeros(heads, dtype=torch.float64)))
    return free
