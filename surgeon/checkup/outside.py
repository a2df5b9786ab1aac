"""What the probes of a layer on `x` share, where it is asked from outside."""

from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.exam import tolerance
from surgeon.checkup.notes import Notes
from surgeon.checkup.subjects.declaration import Held
from surgeon.checkup.subjects.layer import Layer

B, T = 2, 5  # sequences and tokens


class Outside(Notes):
    """An examination from outside under way.

    Parameters
    ----------
    layer : Layer
        What is examined.
    dead_rows : str
        What the caller expects of a query that may look at nothing.
    seed : int
        Of the inputs.
    aside : str
        Why its projections are of no use, if it has such.

    Attributes
    ----------
    x, whole : Tensor
        The usual question, and what it was answered.
    slack : float
        What rounding may make of an answer.
    orderless : bool
        Whether it was said that no place counts.
    """

    def __init__(
        self, layer: Layer, dead_rows: str, seed: int, aside: str = ""
    ) -> None:
        super().__init__()
        self.aside = aside
        self.layer, self.dead_rows = layer, dead_rows
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = layer.dtype
        self.tolerance = tolerance(self.dtype)
        x = torch.randn(
            B, T, layer.width, generator=self.generator, dtype=torch.float64
        )
        self.x = x.to(self.dtype)
        self.whole, self.slack = self.x, self.tolerance
        self.orderless = False

    @property
    def held(self) -> Held:
        return self.layer.held

    def ask(self, *given: Any, **how: Any) -> Tensor:
        """The output, without a gradient."""
        with torch.no_grad():
            return self.layer.ask(*given, **how)

    def answered(self, whole: Tensor) -> None:
        """Keep the first answer, for others to be compared with."""
        self.whole = whole
        self.slack = self.tolerance * max(1.0, float(whole.abs().max()))

    def off(self, got: Tensor, wanted: Tensor) -> float:
        return float((got - wanted).abs().max())

    def within(self, name: str, off: float, meaning: str) -> None:
        """A difference that must be rounding."""
        if off > self.slack:
            self.fail(name, meaning, off, self.slack)
        self.note(name, True, off, self.slack)
