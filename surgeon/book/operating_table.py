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

from surgeon.book.operating import (
    Operation,
    Settings,
    draw_inputs,
    operate,
    permissions,
    vital_signs,
)
from surgeon.book.page import drawn, show
from surgeon.imaging.heatmaps import plot_attention_heatmap, plot_matrix
from surgeon.imaging.style import WIDTH, new_figure

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
STAGES = tuple(TITLES)
COORDINATES = ("queries", "keys", "values", "output")  # no words across
CONTROLS = (
    "words",
    "draw",
    "d_k",
    "scale",
    "temperature",
    "mask",
    "stable",
    "precision",
)
VITALS = ("largest", "entropy", "gradient", "future", "empty", "broken")
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

    On the site a reader can change it; elsewhere it is a figure.

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
        `surgeon.book.operating.Settings` has them: `d_k`, `seed`, `mask`,
        `padded`, `flipped`, `scale`, `stable`, `temperature`, `precision`.

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
    words, knobs = _check_words(tokens), Settings(**settings)
    _check_names("stages", stages, STAGES)
    _check_names("controls", controls, CONTROLS)
    _check_names("vitals", vitals, VITALS)
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
    start = {
        "tokens": " ".join(words),
        "stages": " ".join(stages),
        "controls": " ".join(controls) or "none",
        "vitals": " ".join(vitals) or "none",
        **_attributes(knobs),
        "style": f"--reserve: {14 + 19 * math.ceil(len(panels) / 3)}rem",
    }
    element = "".join(
        f' {name}="{html.escape(str(value))}"'
        for name, value in start.items()
    )
    figure = drawn(still, caption, alt)
    show(
        f"[operating table: {caption}]",
        html=f"<operating-table{element}>{figure}</operating-table>",
    )
    return operation, signs


def _check_names(
    name: str, chosen: Sequence[str], known: Sequence[str]
) -> None:
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise ValueError(
            f"{name} must be of {', '.join(known)}, got {unknown[0]!r}."
        )


def _check_words(tokens: Sequence[str]) -> list[str]:
    for word in tokens:
        if word.split() != [word]:
            raise ValueError(
                f"tokens must be words without spaces, got {word!r}."
            )
    return list(tokens)


def _attributes(knobs: Settings) -> dict[str, Any]:
    """How the knobs stand, as the element's attributes say it."""
    return {
        "d-k": knobs.d_k,
        "scale": "on" if knobs.scale else "off",
        "temperature": float(knobs.temperature),
        "mask": knobs.mask,
        "padded": knobs.padded,
        "flipped": " ".join(f"{i},{j}" for i, j in knobs.flipped),
        "stable": "on" if knobs.stable else "off",
        "precision": knobs.precision,
        "seed": knobs.seed,
    }


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
