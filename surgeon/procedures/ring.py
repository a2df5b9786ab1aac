"""Attention over a sequence that no one process holds: keys and values travel round a ring."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import Function

from surgeon.anatomy.dot_product import check_inputs
from surgeon.arguments import positive_integer
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.online import Partial, empty_partial, merge
from surgeon.procedures.tiles import (
    Tiling,
    backward_tiles,
    fold_leading,
    refuse_second_derivative,
    usual_block,
)

Group = dist.ProcessGroup


def shard(x: Tensor, rank: int, world: int, *, zigzag: bool = True) -> Tensor:
    r"""The part of a sequence that one rank of a ring holds.

    With `zigzag` the sequence is cut into `2 * world` blocks, and rank `r`
    gets blocks `r` and `2 * world - 1 - r`: an early and a late one, so that
    under a causal mask every rank has the same number of keys to look at.

    Parameters
    ----------
    x : Tensor
        The whole sequence [..., T, d].
    rank : int
        Which part, from 0 to `world` - 1.
    world : int
        Number of parts; T must be a multiple of it, with `zigzag` of twice as
        much.
    zigzag : bool
        Whether to cut in zigzag order; if not, rank `r` gets the `r`-th of
        `world` pieces.

    Returns
    -------
    Tensor
        [..., T / world, d].

    Raises
    ------
    ValueError
        If `rank` is no part of `world`, or the sequence cannot be cut into
        equal parts.

    Examples
    --------
    >>> x = torch.arange(8)[:, None]
    >>> [shard(x, rank, 2).flatten().tolist() for rank in range(2)]
    [[0, 1, 6, 7], [2, 3, 4, 5]]
    """
    if not isinstance(rank, int) or not 0 <= rank < positive_integer(
        "world", world
    ):
        raise ValueError(
            f"rank must be an integer from 0 to world - 1 ({world - 1}), got"
            f" {rank!r}."
        )
    pieces = (2 if zigzag else 1) * world
    if x.shape[-2] % pieces:
        raise ValueError(
            f"x must have a multiple of {pieces} tokens to be shared by"
            f" {world}, got {x.shape[-2]}."
        )
    blocks = x.chunk(pieces, -2)
    return (
        torch.cat([blocks[rank], blocks[-1 - rank]], -2)
        if zigzag
        else blocks[rank].clone()
    )


def unshard(shares: Sequence[Tensor], *, zigzag: bool = True) -> Tensor:
    """Undo `shard`: the shares of all ranks, in the order of the ranks, as one sequence.

    Parameters
    ----------
    shares : sequence of Tensor
        One [..., T / world, d] for each rank.
    zigzag : bool
        As it was given to `shard`.

    Returns
    -------
    Tensor
        [..., T, d].

    Examples
    --------
    >>> x = torch.arange(12)[:, None]
    >>> torch.equal(unshard([shard(x, rank, 3) for rank in range(3)]), x)
    True
    """
    if not zigzag:
        return torch.cat(list(shares), -2)
    halves = [share.chunk(2, -2) for share in shares]
    return torch.cat(
        [early for early, _ in halves]
        + [late for _, late in reversed(halves)],
        -2,
    )


def ring_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    *,
    causal: bool = False,
    group: Group | None = None,
    scale: bool = True,
    zigzag: bool = True,
    tally: Counter[str] | None = None,
) -> Tensor:
    r"""Scaled dot-product attention over a sequence whose parts are held by the ranks of a process group.

    Every rank calls it with its own share. Keys and values go once round the
    ring; at each hop a rank attends to the share that has come, in tiles, and
    merges the result with what it has. Backward, they go round again, and
    their gradients with them. No rank ever holds more than three shares of K
    and V: its own, and two that travel.

    Parameters
    ----------
    Q, K, V : Tensor
        This rank's share, [..., T / P, d_k], [..., T / P, d_k] and [..., T /
        P, d_v], of one shape on all P ranks; cut by `shard` if `causal`.
    causal : bool
        Whether query `i` of the whole sequence sees only the keys `j`
        :math:`\le` `i`.
    group : ProcessGroup, optional
        The ranks that take part; all of them if it is not given.
    scale : bool
        Whether scores are divided by :math:`\sqrt{d_k}`.
    zigzag : bool
        Whether `shard` cut in zigzag order. It makes a difference under a
        causal mask only.
    tally : Counter, optional
        What was done is added to it: "bytes" sent, and "pairs" of a query and
        a key that a head looked at, forward.

    Returns
    -------
    Tensor
        This rank's share of the output, [..., T / P, d_v]. Differentiable
        once; every rank must take part in the backward.

    Raises
    ------
    ValueError
        As `surgeon.attention`; if there is no process group; or, on every
        rank, if the ranks' shares or options differ.
    RuntimeError
        If a neighbour died or does not answer within the timeout of the
        group.

    Notes
    -----
    Source: liu2024 (ring attention), milakov2018, dao2022
    (book/references.bib).
    """
    check_inputs(Q, K, V)
    ring = Ring(group, tally)
    ring.agree(Q, K, V, causal, scale, zigzag)
    given, lead = Q.dtype, Q.shape[:-2]
    Q, K, V = (fold_leading(x, lead).contiguous() for x in (Q, K, V))
    factor = 1 / math.sqrt(Q.shape[-1]) if scale else 1.0
    return (
        _Ring.apply(Q, K, V, ring, factor, causal, zigzag)
        .to(given)
        .reshape(*lead, -1, V.shape[-1])
    )


def visible_part(
    rank: int, source: int, tokens: int, causal: bool, zigzag: bool
) -> tuple[slice, slice, bool] | None:
    """Which queries of a rank see which keys of a source's share of `tokens`, and whether only up to the diagonal."""
    everything, half = slice(0, tokens), tokens // 2
    if not causal:
        return everything, everything, False
    if source == rank:
        return everything, everything, True
    if (
        source < rank
        # an earlier share; in zigzag only its early half is earlier, but for all
        # queries
    ):
        return everything, slice(0, half) if zigzag else everything, False
    return (slice(half, tokens), everything, False) if zigzag else None


class _Ring(Function):
    """Forward and backward over [N, tokens, width], where N counts all leading axes together."""

    @staticmethod
    def forward(
        ctx: Any,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        ring: "Ring",
        factor: float,
        causal: bool,
        zigzag: bool,
    ) -> Tensor:
        N, tokens = Q.shape[:2]
        out, lse = empty_partial(
            (N, tokens, V.shape[-1]), dtype=Q.dtype, device=Q.device
        )
        here = (K, V)
        for hop in range(ring.size):
            coming = (
                ring.pass_on(*here) if hop < ring.size - 1 else None
            )  # under way while this rank works
            part = visible_part(
                ring.rank, ring.source(hop), tokens, causal, zigzag
            )
            if part:
                rows, cols, diagonal = part
                k, v = (x[:, cols] for x in here)
                new = flash_attention(
                    Q[:, rows] * factor,
                    k,
                    v,
                    scale=False,
                    causal=diagonal,
                    return_lse=True,
                )
                old = Partial(out[:, rows], lse[:, rows])
                out[:, rows], lse[:, rows] = merge(old, new)  # type: ignore[arg-type]
                ring.tally["pairs"] += N * pairs(rows, cols, diagonal)
            here = coming() if coming else here
        ctx.save_for_backward(Q, K, V, out, lse)
        ctx.options = ring, factor, causal, zigzag
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("ring_attention")
        Q, K, V, out, lse = ctx.saved_tensors
        ring, factor, causal, zigzag = ctx.options
        dQ, gathered = (
            torch.zeros_like(Q),
            (torch.zeros_like(K), torch.zeros_like(V)),
        )
        here = (K, V)
        for hop in range(ring.size):
            coming = ring.pass_on(*here) if hop < ring.size - 1 else None
            part = visible_part(
                ring.rank, ring.source(hop), Q.shape[1], causal, zigzag
            )
            if part:
                rows, cols, diagonal = part
                q, do, o, log_total = (
                    x[:, rows] for x in (Q, dout, out, lse)
                )
                k, v = (x[:, cols] for x in here)
                tiles = Tiling(
                    q,
                    k,
                    None,
                    diagonal,
                    Q.shape[:1],
                    (usual_block(q, k),) * 2,
                )
                dlse = torch.zeros_like(log_total)
                dq, dk, dv = backward_tiles(
                    q, k, v, o, log_total, do, dlse, factor, tiles, None
                )
                dQ[:, rows] += dq
                for total, new in zip(gathered, (dk, dv), strict=True):
                    total[:, cols] += new
            here = coming() if coming else here
            gathered = ring.pass_on(
                *gathered
                # the gradients follow their keys, and the last hop brings them
                # home
            )()
        return dQ, *gathered, None, None, None, None


def pairs(rows: slice, cols: slice, diagonal: bool) -> int:
    """How many pairs of a query and a key a part has: a rectangle, or a square up to its diagonal."""
    queries, keys = rows.stop - rows.start, cols.stop - cols.start
    return queries * (queries + 1) // 2 if diagonal else queries * keys


class Ring:
    """The ranks of a group, each sending to the next and hearing from the one before."""

    def __init__(
        self, group: Group | None, tally: Counter[str] | None
    ) -> None:
        if not dist.is_available() or not dist.is_initialized():
            raise ValueError(
                "ring_attention needs a process group: start the program with"
                " torchrun and call torch.distributed.init_process_group"
                " first."
            )
        self.group: Group = dist.group.WORLD if group is None else group  # type: ignore[assignment]
        self.rank, self.size = (
            dist.get_rank(self.group),
            dist.get_world_size(self.group),
        )
        if self.rank < 0:
            raise ValueError(
                "ring_attention must be called by the ranks of its group"
                " alone, got a rank outside it."
            )
        self.tally = Counter() if tally is None else tally
        self.next = dist.get_global_rank(
            self.group, (self.rank + 1) % self.size
        )
        self.previous = dist.get_global_rank(
            self.group, (self.rank - 1) % self.size
        )

    def source(self, hop: int) -> int:
        """Whose share is here after so many hops."""
        return (self.rank - hop) % self.size

    def pass_on(self, *tensors: Tensor) -> Any:
        """Send tensors to the next rank; what is returned waits for those of the one before, of the same shapes."""
        if self.size == 1:
            return lambda: tensors
        room = tuple(torch.empty_like(x) for x in tensors)
        ops = [
            dist.P2POp(dist.isend, x.contiguous(), self.next, self.group)
            for x in tensors
        ]
        ops += [
            dist.P2POp(dist.irecv, x, self.previous, self.group) for x in room
        ]
        requests = self.guarded(lambda: dist.batch_isend_irecv(ops))
        self.tally["bytes"] += sum(
            x.numel() * x.element_size() for x in tensors
        )

        def wait() -> tuple[Tensor, ...]:
            self.guarded(lambda: [request.wait() for request in requests])
            return room

        return wait

    def guarded(self, talk: Any) -> Any:
        """Do what needs the others; if one is gone or silent, say which rank noticed, and whom it was talking to."""
        try:
            return talk()
        except RuntimeError as error:
            raise RuntimeError(
                f"ring_attention: rank {self.rank} of {self.size} lost a"
                f" neighbour (hears from {(self.rank - 1) % self.size}, sends"
                f" to {(self.rank + 1) % self.size}); it died or did not"
                f" answer in time: {error}"
            ) from error

    def agree(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        causal: bool,
        scale: bool,
        zigzag: bool,
    ) -> None:
        """Raise the same ValueError on every rank unless all came with shares of one shape and the same options."""
        lead = list(Q.shape[:-2])
        mine = {
            "shapes": [list(x.shape) for x in (Q, K, V)],
            "dtype": str(Q.dtype),
            "gradients": [x.requires_grad for x in (Q, K, V)],
            "options": {"causal": causal, "scale": scale, "zigzag": zigzag},
        }
        everyone: list[Any] = [None] * self.size
        self.guarded(
            lambda: dist.all_gather_object(everyone, mine, group=self.group)
        )
        for what in mine:
            answers = [other[what] for other in everyone]
            if any(answer != answers[0] for answer in answers):
                raise ValueError(
                    f"Q, K and V must have the same {what} on every rank, got"
                    f" {answers}."
                )
        if (
            any(list(x.shape[:-2]) != lead for x in (K, V))
            or Q.shape[-2] != K.shape[-2]
        ):
            shapes = ", ".join(str(list(x.shape)) for x in (Q, K, V))
            raise ValueError(
                "Q, K and V must be shares of one sequence, with the same"
                f" leading axes, got {shapes}."
            )
        if causal and zigzag and Q.shape[-2] % 2:
            raise ValueError(
                "a share cut in zigzag order must have two equal blocks, got"
                f" {Q.shape[-2]} tokens."
            )
