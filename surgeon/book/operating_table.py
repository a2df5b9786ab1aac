"""The operating table: attention that a reader's browser computes anew.

Where it cannot, a figure stands in its place.
"""

import html
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from surgeon.book.page import drawn, show
from surgeon.imaging.heatmaps import plot_attention_heatmap, plot_matrix
from surgeon.imaging.style import WIDTH, new_figure
from surgeon.instruments.knobs import (
    CONTROLS,
    STAGES,
    VITALS,
    check_words,
    start_of,
)
from surgeon.instruments.live import can_show_widgets
from surgeon.instruments.operating import (
    Operation,
    Settings,
    draw_inputs,
    operate,
    permissions,
    vital_signs,
)

# What is shown, and what a figure calls it: the first is no matrix.
TITLES = {
    "tokens": "",
    "queries": "queries",
    "keys": "keys",
    "scores": "scores",
    "scale": "scaled",
    "mask": "masked",
    "softmax": "powers",
    "weights": "weights",
    "values": "values",
    "output": "output",
}
COORDINATES = ("queries", "keys", "values", "output")  # no words across
SHOWN = 16  # columns of Q and K


def operating_table(
    tokens: Sequence[str],
    caption: str,
    *,
    stages: Sequence[str] = STAGES,
    controls: Sequence[str] = CONTROLS,
    vitals: Sequence[str] = VITALS,
    **settings: Any,
) -> tuple[Operation, dict[str, float]]:
    """Show attention on drawn inputs, stage by stage.

    On the site a reader can change it, and in a notebook that has anywidget
    (`surgeon.OperatingTable`); elsewhere it is a figure.

    Parameters
    ----------
    tokens : sequence of str
        The words, at most 32, none of which holds a space. Their queries,
        keys and values are drawn.
    caption : str
        The point that the figure makes, a sentence.
    stages : sequence of str
        What is shown, of "tokens", "queries", "keys", "scores", "scale",
        "mask", "softmax", "weights", "values" and "output".
    controls : sequence of str
        What the reader may change, of "words", "draw", "d_k", "scale",
        "temperature", "mask", "stable" and "precision".
    vitals : sequence of str
        Which vital signs stand above, of "largest", "entropy", "gradient",
        "future", "empty" and "broken".
    **settings
        How the knobs stand at the start, as
        `surgeon.instruments.operating.Settings` has them: `d_k`, `seed`,
        `mask`, `padded`, `flipped`, `scale`, `stable`, `temperature`,
        `precision`.

    Returns
    -------
    operation : Operation
        Every stage, as the figure and the table show it at the start.
    signs : dict
        The vital signs.

    Raises
    ------
    ValueError
        If a name is none of those above, if no stage is a matrix, if a word
        is empty or holds a space, or as the functions that `Settings` names.

    Examples
    --------
    >>> operation, signs = operating_table(
    ...     ["cut", "once"], "Two words share.", stages=["weights"]
    ... )
    [operating table: Two words share.]
    >>> operation.weights.shape, signs["empty"]
    (torch.Size([2, 2]), 0)
    """
    words, knobs = check_words(tokens), Settings(**settings)
    start = start_of(words, stages, controls, vitals, knobs)
    panels = [stage for stage in stages if TITLES[stage]]
    if not panels:
        raise ValueError(f"stages must hold a matrix, got {list(stages)}.")
    Q, K, V = draw_inputs(words, knobs.d_k, knobs.seed)
    T, flipped = len(words), knobs.flipped
    may_look = permissions(knobs.mask, T, knobs.padded, flipped)
    operation = operate(
        Q,
        K,
        V,
        may_look,
        scale=knobs.scale,
        stable=knobs.stable,
        temperature=knobs.temperature,
        precision=knobs.precision,
    )
    signs = vital_signs(operation.weights, may_look)
    still = _still(words, panels, (Q, K, V), operation, may_look)
    alt = _describe(words, knobs, operation, signs, may_look)
    start["style"] = f"--reserve: {14 + 19 * math.ceil(len(panels) / 3)}rem"
    element = "".join(
        f' {name}="{html.escape(str(value))}"'
        for name, value in start.items()
    )
    figure = drawn(still, caption, alt)
    plain = f"[operating table: {caption}]"
    if can_show_widgets():
        from surgeon.instruments.table_widget import OperatingTable

        table = OperatingTable(
            words,
            stages=stages,
            controls=controls,
            vitals=vitals,
            **settings,
        )
        show(plain, widget=table, html=figure)
    else:
        whole = f"<operating-table{element}>{figure}</operating-table>"
        show(plain, html=whole)
    return operation, signs


def _still(
    words: list[str],
    panels: list[str],
    inputs: tuple[Tensor, Tensor, Tensor],
    operation: Operation,
    may_look: Tensor,
) -> Figure:
    """The stages side by side, as they are at the start."""
    Q, K, V = inputs
    scores, scaled, masked, powers, weights, output = operation
    matrices = {
        "queries": Q[:, :SHOWN],
        "keys": K[:, :SHOWN],
        "scores": scores,
        "scale": scaled,
        "mask": masked,
        "softmax": powers.masked_fill(~may_look, -math.inf),
        "weights": weights,
        "values": V,
        "output": output,
    }
    columns = min(len(panels), 2 if len(panels) < 5 else 3)
    rows = math.ceil(len(panels) / columns)
    size = (WIDTH, 0.3 + (WIDTH / max(columns, 2)) * rows)
    fig, axes = new_figure(rows, columns, size=size)
    grid = [axes] if len(panels) == 1 else list(axes.flat)
    for n, (ax, stage) in enumerate(zip(grid, panels, strict=False), 1):
        title = f"{n} {TITLES[stage]}"
        _panel(ax, stage, title, matrices[stage], words, may_look)
    for ax in grid[len(panels) :]:
        ax.remove()
    return fig


def _panel(
    ax: Axes,
    stage: str,
    title: str,
    matrix: Tensor,
    words: list[str],
    may_look: Tensor,
) -> None:
    look: Any = {"ax": ax, "colorbar": False}
    if stage == "weights":
        plot_attention_heatmap(matrix, words, title, mask=may_look, **look)
        return
    across = None if stage in COORDINATES else words
    plot_matrix(matrix, words, across, title, digits=1, **look)
    if across is None:
        ax.set_aspect("auto")
        ax.set_xticks([])


def _describe(
    words: list[str],
    knobs: Settings,
    operation: Operation,
    signs: dict[str, float],
    may_look: Tensor,
) -> str:
    """What the table shows at the start, in words."""
    tau = knobs.temperature
    heat = f", temperature {tau:g}" if tau != 1 else ""
    scale = "with" if knobs.scale else "without"
    kinds = {
        "none": "no mask",
        "front": "a causal mask and padding in front",
    }
    kind = kinds.get(knobs.mask, f"a {knobs.mask} mask")
    reach = operation.scores.abs().max()
    return (
        f"Attention on the {len(words)} words {' '.join(words)}, d_k"
        f" {knobs.d_k}, {scale} the scale{heat}, {kind};"
        f" {int((~may_look).sum())} of {may_look.numel()} cells are blocked."
        f" Scores reach {reach:.1f} in size. The largest weight of the"
        f" typical row is {signs['largest']:.3f}, the entropy"
        f" {signs['entropy']:.2f} nats, the gradient {signs['gradient']:.2g};"
        f" {signs['future']:.0%} of the weight lies on the future,"
        f" {signs['empty']} rows see nothing and {signs['broken']} are"
        " broken."
    )
