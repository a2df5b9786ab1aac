"""Attention over a sequence that no one process holds.

Keys and values travel round a ring.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import Function

from surgeon.arguments import positive_integer, truth, whole_number
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.inputs import fold, refuse_second_derivative
from surgeon.procedures.online import Partial, empty_partial, merge
from surgeon.procedures.tile_loops import backward_tiles
from surgeon.procedures.tiles import Tiling, usual_block

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
    rank, world = _check_share(x, rank, world, zigzag)
    if not zigzag:
        return x.chunk(world, -2)[rank].clone()
    blocks = x.chunk(2 * world, -2)
    early, late = blocks[rank], blocks[-1 - rank]
    return torch.cat([early, late], -2)


def unshard(shares: Sequence[Tensor], *, zigzag: bool = True) -> Tensor:
    """Undo `shard`: the shares of all ranks, in their order, as one sequence.

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

    Raises
    ------
    ValueError
        If there is no share, or one has too few axes or, in zigzag, an odd
        number of tokens.

    Examples
    --------
    >>> x = torch.arange(12)[:, None]
    >>> torch.equal(unshard([shard(x, rank, 3) for rank in range(3)]), x)
    True
    """
    _check_shares(shares, zigzag)
    if not zigzag:
        return torch.cat(list(shares), -2)
    early, late = zip(*(share.chunk(2, -2) for share in shares), strict=True)
    return torch.cat([*early, *reversed(late)], -2)


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
    r"""Attention over a sequence that the ranks of a process group share.

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
    inputs = fold(Q, K, V, scale)
    options = {"causal": causal, "scale": scale, "zigzag": zigzag}
    for name, option in options.items():
        truth(name, option)
    ring = Ring(group, tally)
    ring.agree(Q, K, V, **options)
    folded = (x.contiguous() for x in (inputs.Q, inputs.K, inputs.V))
    out = RingAttention.apply(*folded, ring, inputs.factor, causal, zigzag)
    return inputs.unfold(out.to(inputs.dtype))


def visible_part(
    rank: int, source: int, tokens: int, causal: bool, zigzag: bool
) -> tuple[slice, slice, bool] | None:
    """Which queries of a rank see which keys of a source's share.

    Both have so many tokens; True where they see only up to the diagonal.
    """
    everything, half = slice(0, tokens), tokens // 2
    early, late = slice(0, half), slice(half, tokens)
    if not causal:
        return everything, everything, False
    if source == rank:
        return everything, everything, True
    if not zigzag:
        return (everything, everything, False) if source < rank else None
    # In zigzag, only the early half of an earlier share is earlier, but for
    # all queries; a later share is earlier for the late queries alone.
    if source < rank:
        return everything, early, False
    return late, everything, False


class RingAttention(Function):
    """Attention over [N, tokens, width], N for all leading axes together."""

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
        here: tuple[Tensor, ...] = (K, V)
        for hop in range(ring.size):
            # under way while this rank works
            coming = ring.pass_on(*here) if hop < ring.size - 1 else None
            source = ring.source(hop)
            part = visible_part(ring.rank, source, tokens, causal, zigzag)
            if part:
                rows, cols, diagonal = part
                k, v = (x[:, cols] for x in here)
                q = Q[:, rows] * factor
                new = flash_attention(
                    q, k, v, scale=False, causal=diagonal, return_lse=True
                )
                old = Partial(out[:, rows], lse[:, rows])
                out[:, rows], lse[:, rows] = merge(old, Partial(*new))
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
        dQ = torch.zeros_like(Q)
        here: tuple[Tensor, ...] = (K, V)
        gathered = tuple(map(torch.zeros_like, here))
        for hop in range(ring.size):
            coming = ring.pass_on(*here) if hop < ring.size - 1 else None
            source, tokens = ring.source(hop), Q.shape[1]
            part = visible_part(ring.rank, source, tokens, causal, zigzag)
            if part:
                rows, cols, diagonal = part
                dq, *dkv = gradients_of_part(
                    *(x[:, rows] for x in (Q, out, lse, dout)),
                    *(x[:, cols] for x in here),
                    factor=factor,
                    diagonal=diagonal,
                )
                dQ[:, rows] += dq
                for total, new in zip(gathered, dkv, strict=True):
                    total[:, cols] += new
            here = coming() if coming else here
            # the gradients follow their keys, and the last hop brings them
            # home
            gathered = ring.pass_on(*gathered)()
        return dQ, *gathered, None, None, None, None


def gradients_of_part(
    q: Tensor,
    out: Tensor,
    lse: Tensor,
    dout: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    factor: float,
    diagonal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of some queries, keys and values by what these share.

    Output and log-sum-exp are those over the keys of all ranks.
    """
    block = usual_block(q, k)
    tiles = Tiling(
        q, k, causal=diagonal, lead=q.shape[:1], block=(block,) * 2
    )
    dlse = torch.zeros_like(lse)
    return backward_tiles(q, k, v, out, lse, dout, dlse, factor, tiles)


def pairs(rows: slice, cols: slice, diagonal: bool) -> int:
    """How many pairs of a query and a key a part has.

    It is a rectangle, or a square up to its diagonal.
    """
    queries, keys = rows.stop - rows.start, cols.stop - cols.start
    return queries * (queries + 1) // 2 if diagonal else queries * keys


class Ring:
    """The ranks of a group, each of which sends to the next."""

    def __init__(
        self, group: Group | None, tally: Counter[str] | None
    ) -> None:
        if not dist.is_available() or not dist.is_initialized():
            raise ValueError(
                "ring_attention needs a process group: start the program with"
                " torchrun and call torch.distributed.init_process_group"
                " first."
            )
        everyone = dist.group.WORLD
        self.group = cast(Group, everyone if group is None else group)
        self.rank = dist.get_rank(self.group)
        self.size = dist.get_world_size(self.group)
        if self.rank < 0:
            raise ValueError(
                "ring_attention must be called by the ranks of its group"
                " alone, got a rank outside it."
            )
        self.tally = Counter() if tally is None else tally
        self.next = self.globally((self.rank + 1) % self.size)
        self.previous = self.globally((self.rank - 1) % self.size)

    def globally(self, rank: int) -> int:
        """The number by which all processes know a rank of this group."""
        return dist.get_global_rank(self.group, rank)

    def source(self, hop: int) -> int:
        """Whose share is here after so many hops."""
        return (self.rank - hop) % self.size

    def pass_on(self, *tensors: Tensor) -> Callable[[], tuple[Tensor, ...]]:
        """Send tensors to the next rank.

        What is returned waits for those of the rank before, of the same
        shapes.
        """
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

    def guarded(self, talk: Callable[[], Any]) -> Any:
        """Do what needs the others.

        If one is gone or silent, say who noticed, and whom it was talking to.
        """
        try:
            return talk()
        except RuntimeError as error:
            before, after = (
                (self.rank + step) % self.size for step in (-1, 1)
            )
            raise RuntimeError(
                f"ring_attention: rank {self.rank} of {self.size} lost a"
                f" neighbour (hears from {before}, sends to {after}); it died"
                f" or did not answer in time: {error}"
            ) from error

    def agree(self, Q: Tensor, K: Tensor, V: Tensor, **options: bool) -> None:
        """Raise the same ValueError on every rank unless all agree.

        They must come with shares of one shape and with the same options.
        """
        mine = {
            "shapes": [list(x.shape) for x in (Q, K, V)],
            "dtype": str(Q.dtype),
            "gradients": [x.requires_grad for x in (Q, K, V)],
            "options": options,
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
        if len({x.shape[:-1] for x in (Q, K, V)}) > 1:
            shapes = ", ".join(str(shape) for shape in mine["shapes"])
            raise ValueError(
                "Q, K and V must be shares of one sequence, with the same"
                f" leading axes, got {shapes}."
            )
        odd = Q.shape[-2] % 2
        if options["causal"] and options["zigzag"] and odd:
            raise ValueError(
                "a share cut in zigzag order must have two equal blocks, got"
                f" {Q.shape[-2]} tokens."
            )


def _check_share(
    x: Tensor, rank: int, world: int, zigzag: bool
) -> tuple[int, int]:
    world, number = positive_integer("world", world), whole_number(rank)
    if number is None or number not in range(world):
        raise ValueError(
            f"rank must be an integer from 0 to world - 1 ({world - 1}), got"
            f" {rank!r}."
        )
    _check_axes("x", x)
    pieces = 2 * world if truth("zigzag", zigzag) else world
    if x.shape[-2] % pieces:
        raise ValueError(
            f"x must have a multiple of {pieces} tokens to be shared by"
            f" {world}, got {x.shape[-2]}."
        )
    return number, world


def _check_shares(shares: Sequence[Tensor], zigzag: bool) -> None:
    truth("zigzag", zigzag)
    if not len(shares):
        raise ValueError("shares must hold at least one share, got none.")
    for rank, share in enumerate(shares):
        _check_axes(f"shares[{rank}]", share)
        if zigzag and share.shape[-2] % 2:
            raise ValueError(
                f"shares[{rank}] must have two equal blocks in zigzag order,"
                f" got {share.shape[-2]} tokens."
            )


def _check_axes(name: str, x: Tensor) -> None:
    if x.ndim < 2:
        raise ValueError(
            f"{name} must have at least two axes (sequence, width), got shape"
            f" {list(x.shape)}."
        )
