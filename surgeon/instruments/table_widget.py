"""The operating table as a notebook's widget: both sides can change it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.arguments import (
    check_seed,
    natural_number,
    place,
    positive_number,
)
from surgeon.instruments.knobs import (
    CONTROLS,
    STAGES,
    VITALS,
    check_words,
    start_of,
)
from surgeon.instruments.operating import (
    WIDEST,
    Operation,
    Settings,
    draw_inputs,
    operate,
    permissions,
    vital_signs,
)
from surgeon.instruments.scripts import element_script, read, style

Vectors = tuple[Tensor, Tensor, Tensor]


class OperatingTable(anywidget.AnyWidget):
    """Attention under the reader's hands, in a notebook.

    What the reader changes can be read here, and what is assigned is drawn.

    Parameters
    ----------
    tokens : sequence of str
        The words, at most 32, none of which holds a space.
    vectors : (Tensor, Tensor, Tensor), optional
        Q [T, d_k], K [T, d_k] and V [T, d_v], up to 1024 numbers wide, of
        which the table shows the first 16. If not given, they are drawn, as
        `surgeon.instruments.operating.draw_inputs` does, with d_v = 4.
    stages, controls, vitals : sequence of str
        As `surgeon.book.operating_table.operating_table` takes them.
    **settings
        As `surgeon.instruments.operating.Settings` has them: `d_k`, `seed`,
        `mask`, `padded`, `flipped`, `scale`, `stable`, `temperature`,
        `precision`.

    Attributes
    ----------
    tokens, d_k, seed, mask, padded, flipped, scale, stable, temperature, \
precision
        How the knobs stand.
    query, key : int
        The cell that is pointed at, counted from 0.

    Raises
    ------
    ImportError
        If anywidget is not installed.
    ValueError
        If a name is unknown, a word is empty or holds a space, vectors are no
        matrices of these shapes, or a setting is none of its kind; when it is
        made, and whenever something is assigned.

    Examples
    --------
    >>> table = OperatingTable(["cut", "once"], d_k=16, mask="causal")
    >>> table.weights[0]
    tensor([1., 0.], dtype=torch.float64)
    >>> table.mask = "reverse"
    >>> table.weights[1]
    tensor([0., 1.], dtype=torch.float64)
    """

    _esm = (
        element_script("operating-table")
        + read("notebook/around.mjs")
        + read("notebook/table-widget.mjs")
    )
    _css = style("operating-table")
    _start = traitlets.Unicode("{}").tag(sync=True)
    _vectors = traitlets.Bytes(b"").tag(sync=True)

    tokens = traitlets.List(traitlets.Unicode(), ["?"]).tag(sync=True)
    given = traitlets.Bool(False).tag(sync=True)
    d_k = traitlets.Int(64).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    mask = traitlets.Unicode("none").tag(sync=True)
    padded = traitlets.Int(2).tag(sync=True)
    flipped: Any = traitlets.List().tag(sync=True)
    scale = traitlets.Bool(True).tag(sync=True)
    stable = traitlets.Bool(True).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    precision = traitlets.Unicode("float32").tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    key = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        vectors: Vectors | None = None,
        stages: Sequence[str] = STAGES,
        controls: Sequence[str] = CONTROLS,
        vitals: Sequence[str] = VITALS,
        **settings: Any,
    ) -> None:
        knobs = Settings(**settings)
        words = check_words(tokens)
        start = start_of(words, stages, controls, vitals, knobs)
        super().__init__()
        self._given: Vectors | None = None
        with self.hold_sync():
            self._start = json.dumps(start)
            self.tokens = words
            self.query = len(words) - 1
            for name, value in asdict(knobs).items():
                setattr(self, name, value)
            if vectors is not None:
                self.vectors = vectors

    @property
    def vectors(self) -> Vectors:
        """Q [T, d_k], K [T, d_k] and V [T, d_v], float64."""
        if self.given and self._given is not None:
            return self._given
        return draw_inputs(self.tokens, self.d_k, self.seed)

    @vectors.setter
    def vectors(self, vectors: Vectors) -> None:
        given = _check_vectors(vectors, len(self.tokens))
        numbers = [matrix.numpy().astype("<f8").ravel() for matrix in given]
        with self.hold_sync():
            self.d_k = given[0].shape[1]
            self._given = given
            self._vectors = np.concatenate(numbers).tobytes()
            self.given = True

    @property
    def may_look(self) -> Tensor:
        """Which key each query may look at, booleans [T, T]."""
        T = len(self.tokens)
        return permissions(self.mask, T, min(self.padded, T), self.flipped)

    @may_look.setter
    def may_look(self, mask: Tensor) -> None:
        T = len(self.tokens)
        blocked = (~visible(mask, (T, T))).nonzero().tolist()
        with self.hold_sync():
            self.mask = "none"
            self.flipped = blocked

    @property
    def operation(self) -> Operation:
        """Every stage, as the table shows it."""
        how = ("scale", "stable", "temperature", "precision")
        knobs = {name: getattr(self, name) for name in how}
        return operate(*self.vectors, self.may_look, **knobs)

    @property
    def scores(self) -> Tensor:
        """What queries and keys give, [T, T], float64."""
        return self.operation.scores

    @property
    def weights(self) -> Tensor:
        """What each query gives each key, [T, T], float64."""
        return self.operation.weights

    @property
    def output(self) -> Tensor:
        """What each query takes from the values, [T, d_v], float64."""
        return self.operation.output

    @property
    def signs(self) -> dict[str, float]:
        """The vital signs."""
        return vital_signs(self.weights, self.may_look)

    @traitlets.observe("tokens", "d_k", "seed")
    def _other_vectors(self, change: Any) -> None:
        """What was given stays with its words, its width and its seed."""
        self.given = False

    @traitlets.observe("tokens")
    def _other_words(self, change: Any) -> None:
        last = len(self.tokens) - 1
        self.query, self.key = min(self.query, last), min(self.key, last)
        self.flipped = [cell for cell in self.flipped if max(cell) <= last]

    @traitlets.validate("mask", "flipped", "precision", "tokens", "d_k")
    def _read(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        match name:
            case "mask":
                permissions(value, 1)
            case "flipped":
                value = [(int(i), int(j)) for i, j in value]
                permissions("none", len(self.tokens), 0, value)
            case "precision":
                inputs = draw_inputs(["?"], 1)
                operate(*inputs, permissions("none", 1), precision=value)
            case "tokens":
                draw_inputs(check_words(value), 1)
            case "d_k":
                draw_inputs(["?"], value)
        return value

    @traitlets.validate("seed", "padded", "temperature", "query", "key")
    def _count(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        match name:
            case "seed":
                return check_seed(value)
            case "padded":
                return natural_number(name, value)
            case "temperature":
                return positive_number(name, value)
        return place(name, value, len(self.tokens))


def _check_vectors(vectors: Vectors, T: int) -> Vectors:
    """Copies in float64, if there is a row for each word."""
    try:
        Q, K, V = (torch.as_tensor(one).detach() for one in vectors)
    except (TypeError, ValueError):
        raise ValueError(
            f"vectors must be three matrices, Q, K and V, got {vectors!r}."
        ) from None
    shapes = [list(one.shape) for one in (Q, K, V)]
    d_k, d_v = (shape[-1] if shape else 0 for shape in shapes[1:])
    if shapes != [[T, d_k], [T, d_k], [T, d_v]]:
        raise ValueError(
            f"vectors must be Q and K [{T}, d_k] and V [{T}, d_v], a row for"
            f" each word, got {shapes}."
        )
    if not 1 <= min(d_k, d_v) <= max(d_k, d_v) <= WIDEST:
        raise ValueError(
            f"vectors must be 1 to {WIDEST} numbers wide, got d_k {d_k} and"
            f" d_v {d_v}."
        )
    read = tuple(one.cpu().double().clone() for one in (Q, K, V))
    for one in read:
        if not one.isfinite().all():
            raise ValueError("vectors must hold finite numbers.")
    return read[0], read[1], read[2]
