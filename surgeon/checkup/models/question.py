"""What a model is asked, and what it is told about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Question:
    """A batch of rows.

    Parameters
    ----------
    ids : Tensor
        int64 [B, T]; of an encoder-decoder, the decoder's; of a model of
        pictures, the pictures.
    seen : Tensor, optional
        Booleans [B, S], True for a token and False for padding; S counts what
        a cache holds.
    positions, documents : Tensor, optional
        int64 [B, T].
    source, source_seen : Tensor, optional
        What an encoder reads, [B, S], and which of it is no padding.
    embeds : Tensor, optional
        [B, T, d], in the place of `ids`.
    cache : object
        What an earlier answer handed back.
    caching : bool
        Whether a cache is wanted.
    more : mapping
        Further arguments of the call.
    """

    ids: Tensor
    seen: Tensor | None = None
    positions: Tensor | None = None
    documents: Tensor | None = None
    source: Tensor | None = None
    source_seen: Tensor | None = None
    embeds: Tensor | None = None
    cache: Any = None
    caching: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    ROWS = (
        "ids",
        "seen",
        "positions",
        "documents",
        "source",
        "source_seen",
        "embeds",
    )

    def rows(self, *order: int) -> "Question":
        """Some of its rows, in an order."""
        index = torch.tensor(order)
        kept = {name: getattr(self, name) for name in self.ROWS}
        return replace(
            self,
            **{n: x[index] for n, x in kept.items() if x is not None},
        )

    def cloned(self) -> "Question":
        """The same, its tensors another's."""
        kept = {name: getattr(self, name) for name in self.ROWS}
        return replace(
            self,
            **{
                name: x.clone()
                for name, x in kept.items()
                if x is not None and not x.requires_grad
            },
        )

    def but(self, **changed: Any) -> "Question":
        """The same, but for this."""
        return replace(self, **changed)

    def start(self, length: int) -> "Question":
        """Its first tokens."""
        return self.piece(0, length)

    def piece(self, start: int, stop: int) -> "Question":
        """Some of its tokens; padding is told from the beginning."""
        cut = slice(start, stop)
        kept = {n: getattr(self, n) for n in ("positions", "documents")}
        return replace(
            self,
            ids=self.ids[:, cut],
            seen=None if self.seen is None else self.seen[:, :stop],
            **{n: x[:, cut] for n, x in kept.items() if x is not None},
        )


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Parameters
    ----------
    output : Tensor
        [B, T, d], or [B, 1, d] where there is one for a row.
    cache : object
        What it handed back for the next call, if it did.
    """

    output: Tensor
    cache: Any = None
