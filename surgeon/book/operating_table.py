"""The operating table: attention that a reader's browser computes anew, and a figure that stands where it cannot."""

import html
import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from surgeon.book.operating import (
    Operation,
    draw_inputs,
    operate,
    permissions,
    vital_signs,
)
from surgeon.book.page import drawn, show
from surgeon.imaging.heatmaps import plot_attention_heatmap, plot_matrix
from surgeon.imaging.style import WIDTH, new_figure

STAGES = (
    "tokens",
    "queries",
    "keys",
    "scores",
    "scale",
    "mask",
    "softmax",
    "weights",
    "values",
    "output",
)
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
    d_k: int = 64,
    scale: bool = True,
    temperature: float = 1.0,
    mask: str = "none",
    padded: int = 2,
    flipped: Sequence[tuple[int, int]] = (),
    stable: bool = True,
    precision: str = "float32",
    seed: int = 0,
    cell: tuple[int, int] | None = None,
) -> tuple[Operation, dict[str, float]]:
    """Show attention on drawn inputs, stage by stage: on the site for the reader to change, elsewhere as a figure.

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
    d_k, seed
        As `surgeon.book.operating.draw_inputs` takes them.
    mask, padded, flipped
        As `surgeon.book.operating.permissions` takes them.
    scale, temperature, stable, precision
        As `surgeon.book.operating.operate` takes them.
    cell : (int, int), optional
        Query and key that are marked at the start; the last query and the
        first key if not given.

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
        is empty or holds a space, or as the functions named above.

    Examples
    --------
    >>> operation, signs = operating_table(["cut", "once"], "Two words share their weight.", stages=["weights"])
    [operating table: Two words share their weight.]
    >>> operation.weights.shape, signs["empty"]
    (torch.Size([2, 2]), 0)
    """
    words = list(tokens)
    for name, chosen, known in (
        ("stages", stages, STAGES),
        ("controls", controls, CONTROLS),
        ("vitals", vitals, VITALS),
    ):
        unknown = [one for one in chosen if one not in known]
        if unknown:
            raise ValueError(
                f"{name} must be of {', '.join(known)}, got {unknown[0]!r}."
            )
    for word in words:
        if word.split() != [word]:
            raise ValueError(
                f"tokens must be words without spaces, got {word!r}."
            )
    Q, K, V = draw_inputs(words, d_k, seed)
    open_cells = permissions(mask, len(words), padded, flipped)
    operation = operate(
        Q,
        K,
        V,
        open_cells,
        scale=scale,
        stable=stable,
        temperature=temperature,
        precision=precision,
    )
    signs = vital_signs(operation.weights, open_cells)
    matrices = {"queries": Q, "keys": K, "values": V} | dict(
        zip(
            ("scores", "scale", "mask", "softmax", "weights", "output"),
            operation,
            strict=True,
        )
    )
    panels = [name for name in stages if name in matrices]
    if not panels:
        raise ValueError(f"stages must hold a matrix, got {list(stages)}.")
    switch = lambda on: "on" if on else "off"
    attributes = {
        "tokens": " ".join(words),
        "stages": " ".join(stages),
        "controls": " ".join(controls) or "none",
        "vitals": " ".join(vitals) or "none",
        "d-k": d_k,
        "scale": switch(scale),
        "temperature": float(temperature),
        "mask": mask,
        "padded": padded,
        "flipped": " ".join(f"{i},{j}" for i, j in flipped),
        "stable": switch(stable),
        "precision": precision,
        "seed": seed,
        "query": cell[0] if cell else len(words) - 1,
        "key": cell[1] if cell else 0,
        "style": f"--reserve: {14 + 19 * math.ceil(len(panels) / 3)}rem",
    }
    alt = _describe(
        words, d_k, scale, temperature, mask, open_cells, operation, signs
    )
    figure = drawn(_still(words, panels, matrices, open_cells), caption, alt)
    start = " ".join(
        f'{name}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    show(
        f"[operating table: {caption}]",
        html=f"<operating-table {start}>{figure}</operating-table>",
    )
    return operation, signs


TITLES = {
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


def _still(
    words: list[str],
    panels: list[str],
    matrices: dict[str, Tensor],
    open_cells: Tensor,
) -> Figure:
    """The stages side by side, as they are at the start."""
    columns = min(len(panels), 2 if len(panels) < 5 else 3)
    rows = math.ceil(len(panels) / columns)
    fig, axes = new_figure(
        rows, columns, size=(WIDTH, 0.3 + (WIDTH / max(columns, 2)) * rows)
    )
    grid = [axes] if len(panels) == 1 else list(axes.flat)
    for number, (ax, name) in enumerate(zip(grid, panels, strict=False), 1):
        title, matrix = f"{number} {TITLES[name]}", matrices[name]
        if name == "weights":
            plot_attention_heatmap(
                matrix, words, title, ax=ax, mask=open_cells, colorbar=False
            )
        else:
            words_across = (
                None
                if name in ("queries", "keys", "values", "output")
                else words
            )
            shown = matrix if words_across else matrix[:, :SHOWN]
            if name == "softmax":
                shown = shown.masked_fill(~open_cells, -math.inf)
            plot_matrix(
                shown,
                words,
                words_across,
                title,
                ax=ax,
                digits=1,
                colorbar=False,
            )
            if not words_across:
                ax.set_aspect("auto")
                ax.set_xticks([])
    for ax in grid[len(panels) :]:
        ax.remove()
    return fig


def _describe(
    words: list[str],
    d_k: int,
    scale: bool,
    temperature: float,
    mask: str,
    open_cells: Tensor,
    operation: Operation,
    signs: dict[str, float],
) -> str:
    kind = {
        "none": "no mask",
        "front": "a causal mask and padding in front",
    }.get(mask, f"a {mask} mask")
    heat = f", temperature {temperature:g}" if temperature != 1 else ""
    reach = operation.scores.abs().max()
    return (
        f"Attention on the {len(words)} words {' '.join(words)}, d_k {d_k},"
        f" {'with' if scale else 'without'} the scale{heat}, {kind};"
        f" {int((~open_cells).sum())} of {open_cells.numel()} cells are"
        f" blocked. Scores reach {reach:.1f} in size. The largest weight of"
        f" the typical row is {signs['largest']:.3f}, the entropy"
        f" {signs['entropy']:.2f} nats, the gradient {signs['gradient']:.2g};"
        f" {signs['future']:.0%} of the weight lies on the future,"
        f" {signs['empty']} rows see nothing and {signs['broken']} are"
        " broken."
    )
