"""How places come in: pairs of columns that turn, and numbers added."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Q [B, H, T, d], K [B, H_kv, S, d] and their places [T], [S] to Q, K, and
# what is added to the scores, broadcastable to [B, H, T, S], or None
Placed = tuple[Tensor, Tensor, Tensor | None]
Scheme = Callable[[Tensor, Tensor, Tensor, Tensor], Placed]
AXES = {"tokens": 2, "heads": 1, "the batch": 0}


@dataclass(frozen=True)
class Turning:
    """Rotary: pairs of columns turned by angles that grow with the place.

    Parameters
    ----------
    base : float
        The larger, the slower the last pairs turn.
    share : float
        How much of the width is turned, the first columns.
    pairs : str
        Which columns are a pair: "halves" or "neighbours".
    stretch : float
        By what places are divided.
    frequencies : Tensor, optional
        Radians a place, one for each pair, in place of the above.
    offset : int
        The place of the first token; no score knows of it.
    angles : str
        How the angles are laid out, if not as the pairs are.
    axis : str
        Along what they grow: a key of `AXES`.
    only : str
        "Q" or "K", if the other is not turned.
    late : int
        How many places queries are ahead of where they stand.
    sign : int
        Which way round.
    falling : str
        How frequencies fall: "2i/d"; "i/d"; "2i/width", of the whole width
        and not of the columns that are turned.
    """

    base: float = 10_000.0
    share: float = 1.0
    pairs: str = "halves"
    stretch: float = 1.0
    frequencies: Tensor | None = None
    offset: int = 0
    angles: str = ""
    axis: str = "tokens"
    only: str = ""
    late: int = 0
    sign: int = 1
    falling: str = "2i/d"

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        first = self.offset
        q = (
            Q
            if self.only == "K"
            else self.turn(Q, queries + first + self.late)
        )
        k = K if self.only == "Q" else self.turn(K, keys + first)
        return q, k, None

    def columns(self, width: int) -> int:
        """How many columns are turned."""
        if self.frequencies is not None:
            return 2 * len(self.frequencies)
        return round(self.share * width)

    def turns(self, width: int) -> Tensor:
        """Radians a place, one for each pair, float64."""
        if self.frequencies is not None:
            return self.sign * self.frequencies.detach().double().cpu()
        columns = self.columns(width)
        even = torch.arange(0, columns, 2, dtype=torch.float64)
        over = {"2i/d": columns, "i/d": 2 * columns, "2i/width": width}
        powers = self.base ** (-even / over[self.falling])
        return self.sign * powers / self.stretch

    def turn(self, x: Tensor, places: Tensor) -> Tensor:
        axis = AXES[self.axis]
        if axis != 2:
            places = torch.arange(x.shape[axis])
        x = x.transpose(2, axis)
        turns = self.turns(x.shape[-1]).to(x.dtype)
        angle = places.to(x.dtype)[:, None] * turns
        if (self.angles or self.pairs) == "halves":
            angle = torch.cat([angle, angle], -1)
        else:
            angle = angle.repeat_interleave(2, -1)
        some, rest = x.split(
            [angle.shape[-1], x.shape[-1] - angle.shape[-1]], -1
        )
        if self.pairs == "halves":
            left, right = some.chunk(2, -1)
            across = torch.cat([-right, left], -1)
        else:
            across = torch.stack(
                [-some[..., 1::2], some[..., ::2]], -1
            ).flatten(-2)
        turned = some * angle.cos() + across * angle.sin()
        return torch.cat([turned, rest], -1).transpose(2, axis)


@dataclass(frozen=True)
class Paired:
    """Any pairs of columns, each turned by its own angle a place.

    Parameters
    ----------
    pairs : tuple of (int, int)
        The columns.
    turns : Tensor
        Radians a place, one for each pair.
    """

    pairs: tuple[tuple[int, int], ...]
    turns: Tensor

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        return self.turn(Q, queries), self.turn(K, keys), None

    def turn(self, x: Tensor, places: Tensor) -> Tensor:
        first, second = (list(some) for some in zip(*self.pairs, strict=True))
        angle = places.to(x.dtype)[:, None] * self.turns.to(x.dtype)
        cos, sin = angle.cos(), angle.sin()
        a, b, turned = x[..., first], x[..., second], x.clone()
        turned[..., first] = a * cos - b * sin
        turned[..., second] = b * cos + a * sin
        return turned


@dataclass(frozen=True)
class Slopes:
    """ALiBi: scores lowered by distance, in each head at its own slope.

    Parameters
    ----------
    slopes : Tensor or None
        [H]; None for those of the paper.
    sign : int
        -1 where distance lowers a score.
    ahead : int
        1 where keys ahead are lowered like those behind; -1 where they are
        raised.
    """

    slopes: Tensor | None = None
    sign: int = -1
    ahead: int = 1

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        back = (queries[:, None] - keys).double()
        far = back.clamp(min=0) + self.ahead * (-back).clamp(min=0)
        slopes = slopes_of(Q.shape[1]) if self.slopes is None else self.slopes
        return Q, K, self.sign * slopes.double()[:, None, None] * far


def slopes_of(heads: int, *, plain: bool = False) -> Tensor:
    """[H]: 2^(-8h/H) for a power of two; others take from the next ones.

    `plain` whether that formula is taken for any number of heads.
    """
    power = heads if plain else 2 ** (heads.bit_length() - 1)
    steps = [8 * h / power for h in range(1, power + 1)]
    steps += [4 * h / power for h in range(1, 2 * power, 2)][: heads - power]
    return 2.0 ** -torch.tensor(steps, dtype=torch.float64)


@dataclass(frozen=True)
class Table:
    """A number for each head and distance, learned, and read off.

    Parameters
    ----------
    numbers : Tensor or None
        [H, 2 n + 1], from n places behind to n ahead; None if not read yet.
    """

    numbers: Tensor | None = None

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        assert self.numbers is not None
        reach = self.numbers.shape[-1] // 2
        ahead = (keys - queries[:, None]).clamp(-reach, reach)
        return Q, K, self.numbers[:, ahead + reach]


@dataclass(frozen=True)
class Nowhere:
    """No place counts."""

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        return Q, K, None


@dataclass(frozen=True)
class Called:
    """A scheme as the caller has it, or one of it gone wrong.

    Parameters
    ----------
    function : callable
        What `Scheme` says.
    only : str
        "Q" or "K", if the other is not turned.
    sign : int
        -1 where what is added has the other sign; 0 where it is lost.
    mirrored : bool
        Whether places of queries and of keys are taken for each other.
    heads : str
        "right" or "reversed".
    late : int
        How many places queries are ahead of where they stand.
    """

    function: Callable[..., Any]
    only: str = ""
    sign: int = 1
    mirrored: bool = False
    heads: str = "right"
    late: int = 0

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        queries = queries + self.late
        q, k, bias = self.function(Q, K, queries, keys)
        if self.mirrored:
            bias = self.function(K, Q, keys, queries)[2]
            bias = None if bias is None else bias.mT
        if bias is not None and self.heads == "reversed" and bias.ndim > 2:
            bias = bias.flip(-3)
        q = Q if self.only == "K" else q.to(Q.dtype)
        k = K if self.only == "Q" else k.to(K.dtype)
        return q, k, None if bias is None else self.sign * bias


@dataclass(frozen=True)
class LostForOne:
    """A scheme whose numbers are lost where there is one query."""

    scheme: Scheme

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        q, k, bias = self.scheme(Q, K, queries, keys)
        lost = bias is not None and len(queries) == 1
        return q, k, None if lost else bias


@dataclass(frozen=True)
class NewLate:
    """Rotary beside a cache, where new tokens stand some places ahead.

    Queries, and as many keys, the last ones.
    """

    scheme: Turning
    late: int

    def __call__(
        self, Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> Placed:
        new = len(queries) if len(queries) < len(keys) else 0
        late = self.late * (torch.arange(len(keys)) >= len(keys) - new)
        late = late if new else torch.zeros_like(keys)
        moved = queries + (self.late if new else 0)
        return self.scheme(Q, K, moved, keys + late)
