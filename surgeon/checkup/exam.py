"""What the probes share: inputs, the form that the subject was found to have, and the findings so far."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.adapter import Answer, Subject
from surgeon.checkup.finding import LAWS, Finding
from surgeon.checkup.forms import Form, Inputs, attend, spread, weigh


class Exam:
    """One examination under way.

    Parameters
    ----------
    subject : Subject
        What is examined.
    dead_rows, alignment : str
        What the caller expects where it is a matter of choice.
    seed : int
        Of the inputs.
    """

    def __init__(
        self, subject: Subject, dead_rows: str, alignment: str, seed: int
    ) -> None:
        self.subject, self.dead_rows, self.alignment = (
            subject,
            dead_rows,
            alignment,
        )
        self.seed, self.generator = seed, torch.Generator().manual_seed(seed)
        self.dtype = torch.float64
        self.findings: dict[str, Finding] = {}
        self.trying = "answers"  # the law that is being tried
        # why nothing can be compared with the formula, once that is so
        self.blocked = ""
        self.how: dict[
            str,
            Any,
            # the factor and the order of grouped heads that the subject was found
            # to have
        ] = {}
        self.base: Tensor | None = (
            None  # what a subject that is always causal was found to see
        )
        d_k, d_v = subject.widths or (
            7,
            7 if "(H d)" in subject.layout else 11,
        )
        self.meant = 1 / math.sqrt(d_k)  # what scores should be multiplied by
        self.B, self.T, self.d_k, self.d_v = 2, 5, d_k, d_v

    # What was found

    def note(
        self,
        name: str,
        passed: bool | None,
        measured: str | float = "",
        bound: str | float = "",
        meaning: str = "",
        found: Tensor | None = None,
    ) -> None:
        """Write a finding down; the first word on a law is the last."""
        if name in self.findings:
            return
        law, page = LAWS[name]
        self.findings[name] = Finding(
            name, passed, measured, bound, meaning or law, page, found
        )

    def overrule(self, name: str, meaning: str) -> None:
        """A fault was named: what was said of this law before holds no more."""
        self.findings.pop(name, None)
        seen = (
            "differs"
            if name == "known form"
            else "agrees to rounding with this fault"
        )
        self.note(name, False, seen, "agrees with the formula", meaning)

    def break_off(self, measured: str, meaning: str, why: str) -> None:
        """The subject answers no more: that fails, and what has not been told yet cannot be."""
        self.findings.pop("answers", None)
        self.note("answers", False, measured, "an output each time", meaning)
        self.skip_rest(why)

    def skip(self, *names: str, why: str) -> None:
        """These do not apply, and why."""
        for name in names:
            self.note(name, None, meaning=why)

    def skip_rest(self, why: str) -> None:
        self.skip(*LAWS, why=why)

    def broken(self, *names: str) -> str:
        """The first of these laws that is broken, or nothing."""
        return next(
            (
                n
                for n in names
                if n in self.findings and self.findings[n].passed is False
            ),
            "",
        )

    # What is asked

    def draw(
        self,
        T: int = 0,
        S: int = 0,
        B: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Inputs:
        """Q, K and V of standard normal numbers; queries a little larger, so that no two weights are alike."""
        T, S, B = T or self.T, S or T or self.T, B or self.B
        H, G = self.subject.heads, self.subject.kv_heads
        shapes = (
            (B, H, T, self.d_k),
            (B, G, S, self.d_k),
            (B, G, S, self.d_v),
        )
        Q, K, V = (
            torch.randn(shape, generator=self.generator, dtype=torch.float64)
            for shape in shapes
        )
        # Rounded to float32, so that every precision means the same numbers.
        Q, K, V = (x.float().to(dtype or self.dtype) for x in (1.5 * Q, K, V))
        return Q, K, V

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
            return self.subject.ask(Q, K, V, allowed, **how).output.double()

    def causal(self, T: int, S: int = 0) -> Tensor:
        return torch.ones(T, S or T, dtype=torch.bool).tril((S or T) - T)

    def ask_causal(
        self, Q: Tensor, K: Tensor, V: Tensor, **how: Any
    ) -> Tensor:
        """As `ask`, with whatever makes this subject causal: a flag, a mask, or its nature."""
        with torch.no_grad():
            return self.answer_causal(Q, K, V, **how).output.double()

    def answer_causal(
        self, Q: Tensor, K: Tensor, V: Tensor, **how: Any
    ) -> Answer:
        """As `ask_causal`, gradients and all."""
        if self.subject.causal:
            beside = (
                self.causal(Q.shape[2], K.shape[2])
                if self.subject.flag_beside_mask
                else None
            )
            return self.subject.ask(Q, K, V, beside, causal=True, **how)
        return self.subject.ask(
            Q, K, V, self.causal(Q.shape[2], K.shape[2]), **how
        )

    @property
    def can_be_causal(self) -> bool:
        return bool(self.subject.causal) or self.subject.mask != "none"

    def form(self, allowed: Tensor | None = None) -> Form:
        """What the subject should give, as far as it is known."""
        seen = self.base if allowed is None else allowed
        return lambda q, k, v: attend(q, k, v, seen, **self.how)

    def weights(
        self, Q: Tensor, K: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        return weigh(
            Q, K, self.base if allowed is None else allowed, **self.how
        )

    def spread(self, x: Tensor) -> Tensor:
        """[B, H_kv, S, d] to [B, H, S, d] in float64, in the subject's own order."""
        return spread(
            x.detach().double(),
            self.subject.heads,
            self.how.get("turns", False),
        )

    @property
    def factor(self) -> float:
        """What scores are multiplied by."""
        return self.how.get("factor") or 1 / math.sqrt(self.d_k)

    # How it is compared

    @property
    def tolerance(self) -> float:
        """Of outputs whose values are about one."""
        return 1e-9 if self.dtype == torch.float64 else 2e-4

    def off(self, got: Tensor, expected: Tensor) -> float:
        """The largest difference, in rows that see a key; infinite where a number is missing."""
        alive = ~expected.isnan().any(-1)
        difference = (got - expected)[alive].abs()
        if not len(difference):
            return 0.0
        return (
            float(difference.max())
            if difference.isfinite().all()
            else math.inf
        )

    def agree(
        self, got: Tensor, expected: Tensor, slack: float = 1.0
    ) -> bool:
        return self.off(got, expected) <= slack * self.tolerance * max(
            1.0, float(expected.nan_to_num().abs().max())
        )


def reason(error: Exception) -> str:
    """The error in one line."""
    said = " ".join(str(error).split())
    return (
        f"{type(error).__name__}: {said[:200]}"
        if said
        else type(error).__name__
    )
