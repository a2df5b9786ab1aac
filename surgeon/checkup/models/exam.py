"""What the probes of a model share: questions, answers, comparisons."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.models.adapter import Adapter
from surgeon.checkup.models.laws import MODEL_LAWS
from surgeon.checkup.models.question import Question
from surgeon.checkup.models.repairs import MODEL_REPAIRS
from surgeon.checkup.models.subject import ModelSubject
from surgeon.checkup.notes import Notes

COARSE = 0.02  # a share of an answer's size; rounding beyond it hides faults
LARGEST = 16  # a window that texts here outgrow


class ModelExam(Notes):
    """One examination of a model under way.

    Parameters
    ----------
    subject : ModelSubject
        What is examined.
    seed : int
        Of the questions.

    Attributes
    ----------
    B, T : int
        Rows and tokens of the usual question.
    near : int
        Tokens of a text that fits into a window, if there is one that holds
        a text to speak of.
    share : float
        What rounding may make of an answer, as a share of its size.
    by_token : bool
        Whether there is an output for each token.
    sight : Tensor or None
        [T, T]: how strongly output `i` depends on token `j`, evaluating.
    kind : str or None
        What it is, as said or seen.
    base : int or None
        Its first position; None if positions cannot be handed in.
    """

    known, usual, repairs = MODEL_LAWS, MODEL_LAWS, MODEL_REPAIRS

    def __init__(self, subject: ModelSubject, seed: int) -> None:
        super().__init__()
        self.subject, self.seed = subject, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.B, self.T = 2, 7
        self.share = 0.0
        self.by_token = True
        self.sight: Tensor | None = None
        self.kind: str | None = subject.adapter.kind
        self.base: int | None = None
        adapter = subject.adapter
        longest = adapter.max_len or self.T
        self.T = min(self.T, longest)
        if adapter.window and adapter.window <= LARGEST:
            reach = (adapter.layers or 1) * (adapter.window - 1)
            self.T = min(max(self.T, reach + 3), longest)
        # a text that a window need not leave
        near = adapter.window or 0
        self.near = near if 6 <= near < self.T else self.T
        special = set(adapter.special)
        self.words = [w for w in range(adapter.vocab) if w not in special]
        self._source: Tensor | None = None

    @property
    def adapter(self) -> Adapter:
        return self.subject.adapter

    # Questions

    def tokens(self, B: int, T: int) -> Tensor:
        """int64 [B, T], drawn at random; words for padding are left out."""
        if self.adapter.pictures:
            return torch.randn(
                B, *self.adapter.pictures, generator=self.generator
            ).double()
        place = torch.randint(
            len(self.words), (B, T), generator=self.generator
        )
        return torch.tensor(self.words)[place]

    def others(self, ids: Tensor, step: int = 1) -> Tensor:
        """Another word in every place."""
        if self.adapter.pictures:
            return ids + step
        where = {word: n for n, word in enumerate(self.words)}
        n = len(self.words)
        moved = [
            self.words[(where.get(int(w), 0) + step) % n]
            for w in ids.flatten()
        ]
        return torch.tensor(moved).view_as(ids)

    def question(self, B: int = 0, T: int = 0) -> Question:
        """Rows of random tokens, with sources where it reads some."""
        B, T = B or self.B, T or self.T
        asked = Question(self.tokens(B, T))
        if self.adapter.kind != "encoder-decoder":
            return asked
        return asked.but(source=self.tokens(B, self.T))

    def hidden(self, *shape: int) -> Tensor:
        """float64 [...], of standard normal numbers."""
        return torch.randn(
            shape, generator=self.generator, dtype=torch.float64
        )

    # Answers

    def ask(self, asked: Question, **how: Any) -> Tensor:
        """The output [B, T, d], without a gradient."""
        with torch.no_grad():
            return self.subject.ask(asked, **how).output

    def alone(self, asked: Question, row: int) -> Tensor:
        """What one of its rows is answered by itself, [T, d]."""
        return self.ask(asked.rows(row))[0]

    # How they compare

    def off(self, got: Tensor, wanted: Tensor) -> float:
        """The largest difference, as a share of the largest number wanted.

        Infinite where a number is missing in one of them, or the shapes
        differ.
        """
        if got.shape != wanted.shape:
            return math.inf
        if not wanted.numel():
            return 0.0
        size = float(wanted.nan_to_num(0.0, 0.0, 0.0).abs().max()) or 1.0
        same = (got == wanted) | (got.isnan() & wanted.isnan())
        gap = torch.where(same, 0.0, (got - wanted).abs())
        if not gap.isfinite().all():
            return math.inf
        return float(gap.max()) / size

    def alike(self, got: Tensor, wanted: Tensor) -> bool:
        return self.off(got, wanted) <= self.share

    def within(
        self,
        name: str,
        off: float,
        meaning: str,
        weight: str = "fault",
        bound: float | None = None,
        held: str = "",
    ) -> bool:
        """A difference that must be rounding; whether it is."""
        bound = self.share if bound is None else bound
        if off <= bound:
            self.note(name, True, off, bound, held)
            return True
        self.fail(name, meaning, off, bound, weight)
        return False

    def gap(
        self,
        got: dict[str, Tensor | None],
        wanted: dict[str, Tensor | None],
    ) -> tuple[float, str]:
        """The largest difference of gradients, and of which parameter.

        As a share of the largest gradient of all.
        """
        sizes = [
            float(x.abs().max())
            for x in wanted.values()
            if x is not None and x.numel()
        ]
        size = max(sizes, default=1.0) or 1.0
        worst, where = 0.0, ""
        for name, x in wanted.items():
            y = got.get(name)
            x = torch.zeros(1) if x is None else x
            y = torch.zeros(1) if y is None else y
            gap = (x - y).abs().max() / size
            value = float(gap) if gap.isfinite() else math.inf
            if value > worst:
                worst, where = value, name
        return worst, where
