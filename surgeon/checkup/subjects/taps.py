"""Taps: what stands in a module for its projections.

What the projections give is replaced. They are left out of the copy, so that
a wide module costs no more than its attention.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import Aside, answer
from surgeon.checkup.subjects.fused import side_by_side
from surgeon.checkup.subjects.places import Beside
from surgeon.checkup.subjects.projections import sizes


@dataclass(frozen=True)
class Taps:
    """How a module on `x` is asked with Q, K and V.

    Parameters
    ----------
    entries : tuple of str
        The projections whose outputs are replaced, one for each of Q, K and
        V, or one for all.
    way_out : str or None
        The projection whose input is the answer; without it, what the module
        returns.
    width : int
        Of `x`, which does not matter any more.
    counts : (int, int)
        Heads of queries and of keys.
    order : str
        Of the three in one projection.
    three, same : bool
        Whether it is called with three sequences, and whether these must be
        one and the same.
    context, crosses
        The argument for a second sequence, and whether it must be given.
    beside : callable, optional
        What it wants besides, of B, T and a precision.
    """

    entries: tuple[str, ...]
    way_out: str | None
    width: int
    counts: tuple[int, int]
    order: str
    three: bool
    context: str | None
    same: bool = False
    crosses: bool = False
    beside: Beside | None = None

    def __call__(
        self,
        target: nn.Module,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        sent = [Q, K, V]
        if len(self.entries) == 1:
            # As many queries as keys, or it is an error of the subject.
            sent = [answer(self._fuse, Q, K, V)]
        taps = [_tap(target, name) for name in self.entries]
        last = _tap(target, self.way_out) if self.way_out else None
        for tap, x in zip(taps, sent, strict=True):
            tap.put, tap.called = x, False
        try:
            returned = self.run(target, Q, K, extras)
            got = None if last is None else last.got
        finally:
            for tap in (*taps, *([last] if last is not None else [])):
                tap.put = tap.got = None
        skipped = last is not None and got is None
        if skipped or not all(tap.called for tap in taps):
            names = [*self.entries, *filter(None, [self.way_out])]
            raise Aside(f"It does not go through {', '.join(names)}.")
        if got is None:
            return returned
        if got.ndim == 2 and len(got) == Q.shape[:2].numel():
            got = got.unflatten(0, Q.shape[:2])
        several = isinstance(returned, (tuple, list))
        return [got, *(returned[1:] if several else ())]

    def _fuse(self, Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        return side_by_side(Q, K, V, self.order, *self.counts)

    def run(
        self, target: nn.Module, Q: Tensor, K: Tensor, extras: dict[str, Any]
    ) -> Any:
        """Call it with sequences of ones, as many as it takes."""
        x, c = (
            torch.ones(*z.shape[:2], self.width, dtype=Q.dtype)
            for z in (Q, K)
        )
        if self.same:
            return answer(target, x, x, x, **extras)
        if self.three:
            by_letter = {"q": x, "k": c, "v": c.clone()}
            given = [by_letter[letter] for letter in in_its_order(target)]
            return answer(target, *given, **extras)
        if self.context and (self.crosses or K.shape[1] != Q.shape[1]):
            extras = {self.context: c, **extras}
        if self.beside:
            wanted = self.beside(len(x), x.shape[1], x.dtype)
            said = {n: z for n, z in extras.items() if z is not None}
            extras = extras | wanted | said
        return answer(target, x, **extras)


def _tap(target: nn.Module, name: str) -> "Tap":
    tap = target.get_submodule(name)
    assert isinstance(tap, Tap)
    return tap


def in_its_order(module: nn.Module) -> str:
    """The order in which it takes queries, keys and values."""
    names = [*inspect.signature(module.forward).parameters][:3]
    letters = "".join(name[:1].lower() for name in names)
    return letters if sorted(letters) == ["k", "q", "v"] else "qkv"


class Tap(nn.Linear):
    """What stands for a projection: it gives what was put there.

    Without numbers of its own; whoever asks for its weights gets zeros.
    """

    def __init__(self, inside: int, outside: int, bias: bool) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = inside, outside
        self.nothing: Tensor
        self.register_buffer("nothing", torch.zeros(()))
        self.biased, self.called = bias, False
        self.put: Tensor | None = None
        self.got: Tensor | None = None

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.nothing.expand(self.out_features, self.in_features)

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        return self.nothing.expand(self.out_features) if self.biased else None

    def forward(self, x: Tensor) -> Tensor:
        self.called = True
        if self.put is None:
            self.got = x
            return x.new_zeros(*x.shape[:-1], self.out_features)
        put = self.put
        if x.shape[:-1] == put.shape[:-1]:
            return put
        if x.ndim == 2 and len(x) == put.shape[:-1].numel():
            return put.flatten(0, 1)
        raise Aside(
            f"It projects {list(x.shape[:-1])} tokens where"
            f" {list(put.shape[:-1])} were given."
        )


def without(module: nn.Module, names: Sequence[str]) -> nn.Module:
    """A copy of a module, with taps for some of its submodules."""
    stand_ins: dict[int, Any] = {}
    for name in names:
        there = module.get_submodule(name)
        inside, outside = sizes(there)
        bias = getattr(there, "bias", None) is not None
        stand_ins[id(there)] = Tap(inside, outside, bias)
    return copy.deepcopy(module, stand_ins).eval()
