"""Which tiles a rule leaves empty, which it fills, and which it cuts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import Device, block
from surgeon.anatomy.mask_rules import Rule, ask, scores_shape
from surgeon.arguments import positive_integer
from surgeon.procedures.tiles import Tiling, pieces

EMPTY, PARTIAL, FULL = range(3)


class RuleTiles(NamedTuple):
    """A rule, and what it does to each tile of the scores."""

    rule: Rule  #: as `surgeon.mask_of` takes it
    shape: tuple[int, ...]  #: of the scores, [..., T, S]
    block: tuple[int, int]  #: queries and keys in a tile
    #: [..., tiles down, tiles across], int8: 0 where no query of the tile may
    #: look at a key of it, 2 where each may look at all, 1 in between
    kinds: Tensor

    def tally(self) -> dict[str, int]:
        """How many tiles of each kind there are, over all heads."""
        empty, partial, full = torch.bincount(
            self.kinds.flatten().long(), minlength=3
        ).tolist()
        return {"empty": empty, "partial": partial, "full": full}

    def for_all(self) -> list[list[int]]:
        """The kinds that serve all heads together, as nested lists.

        What is not the same for all of them is partial.
        """
        rows, cols = self.kinds.shape[-2:]
        heads = self.kinds.reshape(-1, rows, cols)
        if not len(heads):
            return [[EMPTY] * cols] * rows  # a batch of none
        least, most = heads.amin(0), heads.amax(0)
        return torch.where(least == most, least, PARTIAL).tolist()


def tiles_of(
    rule: Rule,
    shape: Sequence[int],
    *,
    block_q: int = 128,
    block_k: int = 128,
    device: Device = "cpu",
) -> RuleTiles:
    """What a rule does to each tile: leave it empty, fill it, or cut it.

    The rule is asked a tile at a time, so the mask is never made: the memory
    is that of one tile, and a byte for each tile of each head. Every pair is
    asked for once. `surgeon.flash_attention` takes the result in place of the
    rule, for as many layers and steps as it fits.

    Parameters
    ----------
    rule : callable
        As `surgeon.mask_of` takes it.
    shape : sequence of int
        Shape of the scores: [T, S], [B, T, S] or [B, H, T, S].
    block_q, block_k : int
        Queries and keys in a tile. The last tiles may be smaller.
    device : str or torch.device
        Where the rule is asked, and its own tensors are.

    Returns
    -------
    RuleTiles
        With `kinds`: 0 for an empty tile, 1 for a partial and 2 for a full
        one.

    Raises
    ------
    ValueError
        If the shape is none of these, if a block is not a positive integer,
        or if the rule returns anything else than booleans that broadcast.

    Notes
    -----
    Source: dong2024 (book/references.bib).

    Examples
    --------
    >>> from surgeon.anatomy.mask_rules import causal
    >>> tiles_of(causal, (6, 6), block_q=2, block_k=2).kinds
    tensor([[1, 0, 0],
            [2, 1, 0],
            [2, 2, 1]], dtype=torch.int8)
    """
    lead, T, S = scores_shape(shape)
    t = positive_integer("block_q", block_q)
    s = positive_integer("block_k", block_k)
    tiles = []
    for queries in pieces(T, t):
        for keys in pieces(S, s):
            may_look = ask(rule, lead, queries, keys, device).flatten(-2)
            # 1. One pair that is allowed: not empty. All pairs: full.
            kind = may_look.amax(-1).to(torch.int8) + may_look.amin(-1)
            tiles.append(kind.expand(lead))
    kinds = torch.stack(tiles, -1).unflatten(-1, (-1, len(pieces(S, s))))
    return RuleTiles(rule, (*lead, T, S), (t, s), kinds)


def fitting(
    rule: Rule | RuleTiles,
    shape: tuple[int, ...],
    block: tuple[int, int],
    device: torch.device,
) -> RuleTiles:
    """A rule's tiles for these scores: made, or a ValueError if misfits."""
    if not isinstance(rule, RuleTiles):
        t, s = block
        return tiles_of(rule, shape, block_q=t, block_k=s, device=device)
    for what, made, got in (
        ("scores", rule.shape, shape),
        ("blocks", rule.block, block),
    ):
        if made != got:
            raise ValueError(
                f"rule has tiles for {what} of {list(made)}, got {what} of"
                f" {list(got)}."
            )
    return rule


class Ruled(Tiling):
    """The tiles that a rule does not leave empty.

    In full tiles nothing is added; in partial ones the rule is asked again.
    What a mask and `causal` hide is hidden as well.
    """

    def __init__(
        self,
        Q: Tensor,
        K: Tensor,
        *,
        rule: Rule,
        kinds: list[list[int]],
        **how: Any,
    ) -> None:
        super().__init__(Q, K, **how)
        self.rule, self.kinds = rule, kinds

    def bias(self, i: int, j: int) -> tuple[bool, Tensor | None]:
        """Whether a tile is blocked whole; if not, what to add to it."""
        if self.kinds[i][j] == EMPTY:
            return True, None
        blocked, bias = super().bias(i, j)
        if blocked or self.kinds[i][j] == FULL:
            return blocked, bias
        rows, cols = self.rows[i], self.cols[j]
        answers = ask(self.rule, self.lead, rows, cols, self.memory.device)
        hidden = block(~answers, self.memory.dtype)
        return False, hidden if bias is None else bias + hidden
