"""What the probes share: inputs, and the form the subject was found to have.

What it was found to have broken is in its notes.
"""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.designs.design import PLAIN, Design, spread
from surgeon.checkup.forms import Form, Inputs, attend, causal
from surgeon.checkup.notes import Notes
from surgeon.checkup.subjects.declaration import Held
from surgeon.checkup.subjects.subject import Answer, Subject


class Exam(Notes):
    """One examination under way.

    Parameters
    ----------
    subject : Subject
        What is examined.
    dead_rows, alignment : str
        What the caller expects where it is a matter of choice.
    seed : int
        Of the inputs.

    Attributes
    ----------
    B, T, d_k, d_v : int
        Sequences, tokens and widths of the usual question.
    meant : float
        What scores should be multiplied by.
    half : bool
        Whether it computes in half precision, whatever comes.
    how : dict
        The factor and the order of grouped heads that it was found to have.
    base : Tensor or None
        What a subject that is always causal was found to see.
    declared : Design
        What the caller says that it is meant to be.
    tokens : int
        As many as it takes alone; 0 for any number.
    single : bool
        Whether tables of its design turned out to be of single precision.
    but : str
        What a law is told with that holds but for what was named.
    """

    def __init__(
        self, subject: Subject, dead_rows: str, alignment: str, seed: int
    ) -> None:
        super().__init__()
        self.subject = subject
        self.dead_rows, self.alignment = dead_rows, alignment
        self.seed, self.generator = seed, torch.Generator().manual_seed(seed)
        self.dtype = torch.float64
        self.half = False
        self.how: dict[str, Any] = {}
        self.base: Tensor | None = None
        self.declared, self.single = PLAIN, False
        self.tokens, self.but = 0, ""
        packed = "(H d)" in subject.held.layout
        self.B, self.T = 2, 5
        self.resize(*subject.held.widths or (7, 7 if packed else 11))

    @property
    def held(self) -> Held:
        """How the subject is held by now."""
        return self.subject.held

    def declare(self, design: Design) -> None:
        """What it is meant to be; of a picture, as many tokens as it has."""
        self.declared, self.designed = design, design.parts
        if design.picture is not None:
            self.tokens = self.T = design.picture.tokens

    def resize(self, d_k: int, d_v: int) -> None:
        """Ask with other widths from now on."""
        self.d_k, self.d_v = d_k, d_v
        self.meant = 1 / math.sqrt(d_k)

    def twin(self, width: int) -> "Exam":
        """An examination of the same, where heads are so wide."""
        twin = Exam(self.subject, self.dead_rows, self.alignment, self.seed)
        twin.demanded, twin.dtype = self.demanded, self.dtype
        twin.declare(self.declared)
        twin.resize(width, width)
        if "factor" in self.how:  # nothing is broken: it was declared
            twin.how["factor"] = twin.meant = self.how["factor"]
        return twin

    def found(self, other: "Exam") -> None:
        """Take over what another examination of the same found out."""
        self.how, self.base = dict(other.how), other.base
        self.single, self.meant = other.single, other.meant

    # What is asked

    def draw(
        self,
        T: int = 0,
        S: int = 0,
        B: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Inputs:
        """Q, K and V of standard normal numbers.

        Queries are a little larger, so that no two weights are alike, and all
        are rounded to float32, so that every precision means the same.
        """
        T, B = T or self.T, B or self.B
        S, (H, G) = S or T, (self.held.heads, self.held.kv_heads)
        shapes = (
            (B, H, T, self.d_k),
            (B, G, S, self.d_k),
            (B, G, S, self.d_v),
        )
        Q, K, V = (self.normal(*shape) for shape in shapes)
        dtype = dtype or self.dtype
        Q, K, V = (x.float().to(dtype) for x in (1.5 * Q, K, V))
        return Q, K, V

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(
            shape, generator=self.generator, dtype=torch.float64
        )

    def ask(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        allowed: Tensor | None = None,
        **how: Any,
    ) -> Tensor:
        """The output [B, H, T, d_v] in float64, without a gradient."""
        with torch.no_grad():
            answer = self.subject.ask(Q, K, V, allowed, **how)
        return answer.output.detach().double()

    def ask_causal(
        self, Q: Tensor, K: Tensor, V: Tensor, **how: Any
    ) -> Tensor:
        """As `ask`, with what makes it causal: a flag, a mask, its nature."""
        with torch.no_grad():
            answer = self.answer_causal(Q, K, V, **how)
        return answer.output.detach().double()

    def answer_causal(
        self, Q: Tensor, K: Tensor, V: Tensor, **how: Any
    ) -> Answer:
        """As `ask_causal`, gradients and all."""
        mask = causal(Q.shape[2], K.shape[2])
        if not self.held.causal:
            return self.subject.ask(Q, K, V, mask, **how)
        beside = mask if self.held.flag_beside_mask else None
        return self.subject.ask(Q, K, V, beside, causal=True, **how)

    # What is expected

    def form(self, allowed: Tensor | None = None) -> Form:
        """What the subject should give, as far as it is known."""
        seen = self.base if allowed is None else allowed
        return lambda q, k, v: attend(q, k, v, seen, **self.how)

    def spread(self, x: Tensor) -> Tensor:
        """[B, H_kv, S, d] to [B, H, S, d] in float64, in its own order."""
        turns = self.how.get("turns", False)
        return spread(x.detach().double(), self.held.heads, turns)

    @property
    def design(self) -> Design:
        """What it is meant to be, and what it was found to be instead."""
        return self.how.get("design", PLAIN)

    @property
    def factor(self) -> float:
        """What scores are multiplied by, in the mean of all heads."""
        given = self.how.get("factor")
        return given or self.factor_of(self.design)

    def factor_of(self, design: Design) -> float:
        """What a design multiplies scores of the usual question by."""
        factor = design.factor(self.d_k, self.T, self.T)
        return float(torch.as_tensor(factor, dtype=torch.float64).mean())

    # How it is compared

    @property
    def tolerance(self) -> float:
        """Of outputs whose values are about one."""
        return tolerance(torch.float32 if self.single else self.dtype)

    def off(self, got: Tensor, expected: Tensor) -> float:
        """The largest difference, in rows that see a key.

        Infinite where a number is missing.
        """
        difference = (got - expected).abs()
        if not difference.numel():
            return 0.0
        if (largest := float(difference.max())) < math.inf:  # no NaN
            return largest
        difference = difference[~expected.isnan().any(-1)]
        if not len(difference):
            return 0.0
        missing = not difference.isfinite().all()
        return math.inf if missing else float(difference.max())

    def agree(self, got: Tensor, expected: Tensor) -> bool:
        """Whether they differ by no more than rounding.

        Tables of angles and of biases are seldom finer than float32: where
        some were declared, what agrees to that is compared to that from then
        on.
        """
        if expected.isnan().any(-1).all():  # no row sees a key
            return bool(got.isnan().any(-1).all())
        size = max(1.0, float(expected.nan_to_num().abs().max()))
        off = self.off(got, expected)
        if off <= self.tolerance * size:
            return True
        if self.single or self.design.plain:
            return False
        self.single = off <= tolerance(torch.float32) * size
        return self.single


def tolerance(dtype: torch.dtype) -> float:
    """Of outputs of values up to four, computed in a precision.

    Rounding every stage once costs 4 + 2 s roundings of the largest value,
    where s is the largest score (as `numerics` has it for half precision):
    128 of one, for scores of up to fourteen.
    """
    return 128 * torch.finfo(dtype).eps
