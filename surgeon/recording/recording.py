"""What was recorded: the weights of each layer, and what a cut changed."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from surgeon.arguments import place
from surgeon.extras import needed_by
from surgeon.imaging.patterns import analyze_attention_patterns

if TYPE_CHECKING:
    import pandas as pd


class Change(NamedTuple):
    """What cuts changed in the output of a model."""

    before: Tensor  #: the output without cuts
    after: Tensor  #: and with them
    largest: float  #: the largest absolute difference
    share: float  #: the norm of the difference over the norm before

    def __repr__(self) -> str:
        shape, kind = list(self.before.shape), self.before.dtype
        return (
            f"Change(largest={self.largest:.4g}, share={self.share:.4g}, of"
            f" outputs {shape} in {kind})"
        )


class Recording:
    """The attention weights of a model that was called in `capture`.

    Attributes
    ----------
    weights : dict
        From the name of each layer, in the order in which they attended, to
        its weights [B, H, T, S], without gradients: what multiplied the
        values. A layer that attends again in a later call is written over.
        One that attends more than once in a call has ``#2`` and so on behind
        its name.
    unseen : dict
        From the name of each module in which something seems to attend that
        was not seen to what speaks for that.
    left_out : list of str
        The layers for which there was no memory left.
    change : Change or None
        What the cuts changed in the last call.
    compared : int
        How many calls were held against the same call without capture.
    """

    def __init__(self, at_most: int) -> None:
        self.weights: dict[str, Tensor] = {}
        self.unseen: dict[str, str] = {}
        self.left_out: list[str] = []
        self.change: Change | None = None
        self.compared = 0
        self._at_most = at_most
        self._again: list[str] = []  # who attends repeatedly in one call

    def __repr__(self) -> str:
        shapes = {tuple(w.shape) for w in self.weights.values()}
        alike = f", each {list(*shapes)}" if len(shapes) == 1 else ""
        unseen = f", {len(self.unseen)} unseen" if self.unseen else ""
        return f"Recording({len(self.weights)} layers{alike}{unseen})"

    def keep(self, name: str, weights: Tensor) -> None:
        """Record the weights of a layer, if there is memory left for them."""
        self.weights.pop(name, None)
        held = sum(w.nbytes for w in self.weights.values())
        if held + weights.nbytes > self._at_most:
            self.left_out = [x for x in self.left_out if x != name] + [name]
            return
        self.left_out = [x for x in self.left_out if x != name]
        self.weights[name] = weights.detach()

    def again(self, name: str) -> None:
        """Remember that a module attends more than once in one call of it."""
        if name not in self._again:
            self._again.append(name)

    def tell_unseen(self, found: dict[str, str], seen: bool) -> None:
        """Remember what was not seen, and say it once, beside what was."""
        new = {x: why for x, why in found.items() if x not in self.unseen}
        self.unseen |= new
        if new and seen:
            warnings.warn(
                "capture saw nothing attend in these, where something seems"
                f" to: {listed(new)}. Layers are numbered without them; name"
                " with of what returns (output, weights).",
                stacklevel=2,
            )

    def warn(self) -> None:
        """Say so if layers were left out."""
        if self.left_out:
            warnings.warn(
                f"capture kept {len(self.weights)} layers and left out"
                f" {len(self.left_out)}, from {self.left_out[0]} on: at_most"
                f" is {self._at_most} bytes.",
                stacklevel=2,
            )

    def stack(
        self, names: Sequence[str] | None = None, *, row: int = 0
    ) -> Tensor:
        """The weights of one text, layer upon layer.

        Parameters
        ----------
        names : sequence of str, optional
            Which layers; all if not given.
        row : int
            Which row of the batch, counted from 0.

        Returns
        -------
        Tensor
            [layers, H, T, S], as `surgeon.explore` takes them.

        Raises
        ------
        ValueError
            If nothing was recorded, if there is no such layer, if one was
            left out, if the layers differ in heads, queries or keys, or if
            there is no such row.

        Warns
        -----
        UserWarning
            If `names` is not given and a module attended more than once in a
            call of it, as in pieces.
        """
        wanted = self._names(names)
        first = self.weights[wanted[0]]
        for name in wanted:
            weights = self.weights[name]
            if weights.shape != first.shape:
                raise ValueError(
                    "names must be of layers that are alike, got"
                    f" {wanted[0]} with {list(first.shape)} and {name} with"
                    f" {list(weights.shape)}."
                )
        row = place("row", row, len(first))
        return torch.stack([self.weights[name][row] for name in wanted])

    def patterns(self, *, row: int = 0, window: int = 1) -> "pd.DataFrame":
        """Four numbers for each head of one text.

        Parameters
        ----------
        row : int
            Which row of the batch, counted from 0.
        window : int
            As `surgeon.analyze_attention_patterns` takes it.

        Returns
        -------
        DataFrame
            A row for each head: `layer` (its number), `name`, `head`, and
            what `surgeon.analyze_attention_patterns` says of it.

        Raises
        ------
        ValueError
            If nothing was recorded, if a layer was left out, if there is no
            such row, or if rows of weights sum to neither one nor zero, as
            those do that a sink or dropout took something from.
        ModuleNotFoundError
            If pandas is not installed.

        Warns
        -----
        UserWarning
            As `stack`.
        """
        with needed_by("patterns"):
            import pandas as pd

        rows = []
        for layer, name in enumerate(self._names(None)):
            weights = self.weights[name]
            for head, one in enumerate(
                weights[place("row", row, len(weights))]
            ):
                told = {"layer": layer, "name": name, "head": head}
                said = self._said(name, one, window)
                rows.append({**told, **said})
        return pd.DataFrame(rows)

    def _said(self, name: str, weights: Tensor, window: int) -> Any:
        """The numbers of a head, or of which layer there are none."""
        try:
            return analyze_attention_patterns(weights, window=window)
        except ValueError as error:
            if not str(error).startswith("attention_weights must have rows"):
                raise
            raise ValueError(
                f"weights of {name} must have rows that sum to one or to"
                " zero; in training, dropout changes them: call .eval()"
                f" first ({str(error).split(', ', 1)[-1].rstrip('.')})."
            ) from None

    def _names(self, names: Sequence[str] | None) -> list[str]:
        """The layers that are asked for, all of which were kept."""
        if names is None and self._again:
            warnings.warn(
                f"{self._again[0]} attends more than once in a call (in"
                " pieces?): each time counts as a layer here, and its rows"
                " sum to one by themselves; say names to choose.",
                stacklevel=3,
            )
        wanted = [*self.weights, *self.left_out] if names is None else names
        if not wanted:
            raise ValueError("weights must have been recorded, got none.")
        for name in wanted:
            if name in self.left_out:
                raise ValueError(
                    f"at_most must leave room for {name}, got"
                    f" {self._at_most} bytes."
                )
            if name not in self.weights:
                raise ValueError(
                    f"names must be of {', '.join(self.weights)}, got"
                    f" {name!r}."
                )
        return list(wanted)


def listed(found: dict[str, str]) -> str:
    """Names and reasons, the first three of them, in words."""
    told = [f"{name} ({why})" for name, why in found.items()]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return ", ".join(told[:3]) + more
