"""What an attention is meant to be: its parts, and what they come to."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.checkup.designs.bounds import Cap, Sink
from surgeon.checkup.designs.linear import Linear
from surgeon.checkup.designs.norms import Norm
from surgeon.checkup.designs.pictures import Picture
from surgeon.checkup.designs.schemes import Scheme, Turning

Scale = Callable[[int, int, int], float | Tensor]
# the law that each part has, in the order in which they act
PARTS = {
    "norm": "norm of queries and keys",
    "positions": "positions",
    "cap": "soft cap",
    "window": "window",
    "picture": "window",
    "sink": "sink",
    "linear": "linear attention",
}


@dataclass(frozen=True, kw_only=True)
class Design:
    """One declaration of what an attention is meant to be.

    Queries and keys are normalised, turned by their places, and compared;
    scores are multiplied by the scale and capped; what belongs to distances
    is added, keys outside the window are hidden, and the sink takes its
    share. What is None is not there.

    Parameters
    ----------
    norm : callable, optional
        Q and K to the same, normalised.
    positions : callable, optional
        Q, K and the places of both to Q, K and what is added to scores.
    cap : Cap, optional
        What scores are bent by.
    window : (float, float), optional
        How many keys behind and ahead a query sees, its own not counted.
    sink : Sink, optional
        What takes a share beside the keys.
    scale : callable, optional
        d_k, queries and keys to what products are multiplied by; one over the
        root of d_k, if not given.
    norm_last : bool
        Whether the norm comes after the rotation.
    biased_first : bool
        Whether biases are added before scores are scaled.
    picture : Picture, optional
        Whose windows a query sees.
    linear : Linear, optional
        Products of features, in place of softmax.
    documents : bool
        Whether it is told which document each token belongs to.
    top_left : bool
        Whether the first query stands beside the first key, with other
        numbers of both; otherwise the last beside the last.
    """

    norm: Norm | None = None
    positions: Scheme | None = None
    cap: Cap | None = None
    window: tuple[float, float] | None = None
    sink: Sink | None = None
    scale: Scale | None = None
    picture: Picture | None = None
    linear: Linear | None = None
    documents: bool = False
    norm_last: bool = False
    biased_first: bool = False
    top_left: bool = False

    @property
    def parts(self) -> list[str]:
        """The laws of what was declared."""
        found = [
            law
            for part, law in PARTS.items()
            if getattr(self, part) is not None
        ]
        return found + ["documents"] * self.documents

    @property
    def plain(self) -> bool:
        """Whether no more was declared than a scale, or documents."""
        return all(getattr(self, part) is None for part in PARTS)

    @property
    def heads(self) -> int:
        """How many heads its numbers are for; 1 for any."""
        sink = self.sink.scores if self.sink else None
        slopes = getattr(self.positions, "slopes", None)
        return max(1 if x is None else len(x) for x in (sink, slopes))

    def check_heads(self, heads: int) -> None:
        """Refuse numbers that are not one for each head."""
        if self.heads not in (1, heads):
            raise ValueError(
                f"sink and slopes must be one number for each of {heads}"
                f" heads, got {self.heads}."
            )

    @property
    def width(self) -> int:
        """An even width whose pairs are more than one, if some are turned."""
        turned = self.positions
        if not isinstance(turned, Turning):
            return 0
        if turned.frequencies is not None:
            return 2 * len(turned.frequencies)
        fit = (d for d in range(8, 257, 2) if _even(turned.share * d))
        return next(fit, 8)

    def factor(self, d: int, T: int, S: int) -> float | Tensor:
        """What products are multiplied by: one number, or [H, 1, 1]."""
        if self.scale:
            return self.scale(d, T, S)
        return 1.0 if self.linear else 1 / math.sqrt(d)

    def still(self, width: int) -> list[int]:
        """Columns that places leave alone, or turn the least."""
        turned = self.positions
        columns = list(range(width))
        if not isinstance(turned, Turning):
            return columns
        some = turned.columns(width)
        if some < width:
            return columns[some:]
        slowest = [some // 2 - 1, some - 1]
        return slowest if turned.pairs == "halves" else columns[-2:]

    def compared(self, Q: Tensor, K: Tensor) -> tuple[Tensor, ...]:
        """Q and K as they are multiplied, and what is added to scores."""
        T, S = Q.shape[2], K.shape[2]
        first = 0 if self.top_left else S - T
        places = torch.arange(first, first + T), torch.arange(S)
        bias = Q.new_zeros(1, 1)
        if self.norm and not self.norm_last:
            Q, K = self.norm(Q, K)
        if self.positions:
            Q, K, added = self.positions(Q, K, *places)
            bias = bias if added is None else added.to(Q.dtype)
        if self.norm and self.norm_last:
            Q, K = self.norm(Q, K)
        return Q, K, bias

    def scores(
        self,
        Q: Tensor,
        K: Tensor,
        factor: float | None = None,
        turns: bool = False,
    ) -> Tensor:
        """[B, H, T, S], before anything is hidden.

        `turns` whether key heads are in the order of `repeat`.
        """
        given = factor or self.factor(Q.shape[-1], Q.shape[2], K.shape[2])
        Q, K, bias = self.compared(Q, K)
        products = Q @ spread(K, Q.shape[1], turns).mT
        added = bias * given if self.biased_first else bias
        if self.cap:
            return self.cap.bent(products, given) + added
        return products * given + added

    def share(self, scores: Tensor, axis: int = -1) -> Tensor:
        """Weights [B, H, T, S], of scores where hidden keys are -inf."""
        if self.cap and self.cap.late:
            scores = self.cap.bend(scores)
        if self.picture and self.picture.filled:
            return Sink(self.picture.lacking().log()[:, None]).share(scores)
        if self.sink and axis == -1:
            return self.sink.share(scores)
        return stable_softmax(scores, axis)

    def weights(
        self,
        Q: Tensor,
        K: Tensor,
        factor: float | None,
        seen: Tensor,
    ) -> Tensor:
        """[B, H, T, S] of linear attention; the factor multiplies queries."""
        assert self.linear is not None
        given = factor or self.factor(Q.shape[-1], Q.shape[2], K.shape[2])
        q, k, _ = self.compared(Q, K)
        return self.linear.weights(q * given, spread(k, Q.shape[1]), seen)

    def sees(self, T: int, S: int) -> Tensor | None:
        """[T, S]: which keys are inside the window, if there is one."""
        if self.picture is not None and T == S == self.picture.tokens:
            return self.picture.sees()
        if self.window is None:
            return None
        first = 0 if self.top_left else S - T
        back = torch.arange(first, first + T)[:, None] - torch.arange(S)
        return (back <= self.window[0]) & (-back <= self.window[1])


PLAIN = Design()


def _even(columns: float) -> bool:
    """Whether it is an even number of columns, and more than one pair."""
    return columns >= 4 and abs(columns / 2 - round(columns / 2)) < 1e-9


def spread(x: Tensor, heads: int, turns: bool = False) -> Tensor:
    """[B, H_kv, S, d] to [B, H, S, d]: keys for neighbours, or not."""
    group = heads // x.shape[1]
    if turns:
        return x.repeat(1, group, 1, 1)
    return x.repeat_interleave(group, 1)
