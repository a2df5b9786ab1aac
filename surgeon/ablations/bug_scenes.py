"""A bug seen from outside: the weights of five tokens, sound and faulty, and which token reaches which."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from surgeon.ablations.bug_zoo import house, kind_of, quiet
from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.arguments import check_seed
from surgeon.imaging.influence import influence_map
from surgeon.imaging.style import (
    GREY,
    INK,
    PALE,
    VERMILION,
    WEIGHTS,
    new_figure,
)
from surgeon.zoo.fault import Fault, Layer

TOKENS, HEADS, HEAD = (
    5,
    4,
    1,
)  # of two grouped heads that share keys, the second tells how

# Circumstances that bring out what a short causal text does not.
WHERE = {
    "evaluating": ("CausalInTrainingOnly", "DropoutInEvaluation"),
    "training": ("CausalInEvaluationOnly", "DropoutBeforeSoftmax"),
    "very low scores": ("minus_ten_thousand", "minus_ten_billion"),
    "large scores": ("no_maximum", "one_maximum_for_all", "clipped_scores"),
    "large entries, float16": ("scaled_too_late",),
    "two keys hidden": ("padding_on_queries", "batch_taken_for_queries"),
    "two queries see nothing": (
        "dead_rows_nan",
        "dead_rows_uniform",
        "dead_rows_nan_backward",
    ),
    "two new tokens, five keys": ("top_left_causal",),
    "asked twice": ("scales_in_place",),
    "five texts in a batch": ("softmax_over_batch", "batch_for_sequence"),
}

# Faults that five tokens cannot show: one needs hundreds of keys, the other
# touches no weight.
NO_SCENE = frozenset({"half_precision_sums", "SeedsEverything"})


class Scene(NamedTuple):
    """One fault under one circumstance.

    Attributes
    ----------
    fault, where : str
        The fault's name, and the circumstance.
    sound, faulty : Tensor
        Weights of one head, [T, S].
    allowed : Tensor
        Which keys a query should see, boolean [T, S].
    reach : Tensor
        How strongly the output of the faulty layer at `i` depends on token
        `j`, [T, S]; NaN where that is NaN.
    """

    fault: str
    where: str
    sound: Tensor
    faulty: Tensor
    allowed: Tensor
    reach: Tensor

    @property
    def leaks(self) -> Tensor:
        """Tokens that reach an output whose query should not see them, boolean [T, S]; NaN tells of none."""
        T, S = self.allowed.shape
        return (
            (self.reach > 0)
            & ~self.allowed
            & ~torch.eye(S, dtype=torch.bool)[S - T :]
        )


def scene(fault: Fault, *, seed: int = 0) -> Scene:
    """Look at five random tokens through a sound layer and through a faulty one with the same weights.

    Parameters
    ----------
    fault : Fault
        An entry of `surgeon.zoo.catalogue.ZOO`.
    seed : int
        Of the tokens, the weights and dropout.

    Returns
    -------
    Scene
        Under the circumstance that brings the fault out: a causal text,
        unless `WHERE` names another.

    Raises
    ------
    ValueError
        If `seed` is not an integer from 0 to 2**32 - 1.

    Examples
    --------
    >>> from surgeon.zoo.catalogue import ZOO
    >>> seen = scene(ZOO["lost_mask"])
    >>> int(seen.leaks.sum()), float(seen.sound.triu(1).sum())  # ten pairs of a token and a later one
    (10, 0.0)
    """
    where = next(
        (place for place, names in WHERE.items() if fault.name in names),
        "a causal text",
    )
    draw = torch.Generator().manual_seed(check_seed(seed))
    width = 32 if "float16" in where else 8
    x = torch.randn(TOKENS, width, generator=draw)
    causal = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    j = torch.arange(TOKENS)
    allowed = {
        "two keys hidden": (j < TOKENS - 2).expand(TOKENS, TOKENS),
        "two queries see nothing": causal & (j >= 2),  # padding on the left
        "two new tokens, five keys": causal[-2:],
    }.get(where, causal)
    with quiet(seed):
        kind = kind_of(fault, HEADS, 0.25)
        sound, faulty = (
            house(None, width, HEADS, **kind),
            house(fault, width, HEADS, **kind),
        )
    _set_scores(sound, x, where, fault.name)
    faulty.load_state_dict(sound.state_dict())
    if "float16" in where:
        x, sound, faulty = x.half(), sound.half(), faulty.half()
    sound.train(where == "training")
    faulty.train(where == "training")

    def run(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        with quiet(seed):
            return _run(
                layer, None if layer is sound else fault, x, allowed, where
            )

    with torch.no_grad():
        ours, theirs = (
            run(layer, x)[1][HEAD].float() for layer in (sound, faulty)
        )
    return Scene(
        fault.name,
        where,
        ours,
        theirs,
        allowed,
        influence_map(lambda x: run(faulty, x)[0], x).float(),
    )


def _set_scores(layer: Layer, x: Tensor, where: str, name: str) -> None:
    """Queries large enough for weights that are not nearly alike; or extreme scores, where the scene wants them."""
    with torch.no_grad():
        layer.W_Q.weight.mul_(6.0)
        if where not in (
            "very low scores",
            "large scores",
            "large entries, float16",
        ):
            return
        layer.W_K.load_state_dict(
            layer.W_Q.state_dict()
        )  # a token fits itself,
        size = 1e7 if name == "minus_ten_billion" else 1e3
        if where == "very low scores":
            layer.W_K.weight.neg_()  # or is at odds with itself
            layer.W_K.bias.neg_()
        elif (
            "float16" in where
            # scaled, the largest score is below float16's largest number; not
            # scaled, above
        ):
            Q = split_heads(layer.W_Q(x), HEADS)
            size = math.sqrt(
                3e4 * math.sqrt(Q.shape[-1]) / float((Q @ Q.mT)[HEAD].max())
            )
        for linear in (layer.W_Q, layer.W_K):
            linear.weight.mul_(size)
            linear.bias.mul_(size)


def _run(
    layer: Layer, fault: Fault | None, x: Tensor, allowed: Tensor, where: str
) -> tuple[Tensor, Tensor]:
    """Output [T, width] and weights [H, T, S] of one text."""
    mask = None if fault and fault.held.get("causal") else allowed
    if where == "two new tokens, five keys":
        output, weights = layer(x[None, -2:], x[None], mask)
    elif where == "asked twice":
        Q, K, V = (
            split_heads(project(x[None]), HEADS)
            for project in (layer.W_Q, layer.W_K, layer.W_V)
        )
        for _ in range(2):
            output, weights = layer.attend(Q, K, V, mask)
        output = merge_heads(output)
    elif where == "five texts in a batch":
        others = (
            x.detach().roll(1, -1).expand(TOKENS - 1, -1, -1)
            * torch.arange(1, TOKENS)[:, None, None]
        )
        output, weights = layer(torch.cat([x[None], others]), mask=mask)
    elif (
        fault and "padding" in fault.held
    ):  # five texts, the third of which has three tokens
        output, weights = layer(
            x.expand(TOKENS, -1, -1),
            mask=torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril(),
        )
        return output[2], weights[2]
    else:
        output, weights = layer(x[None], mask=mask)
    return output[0], weights[0]


def plot_scenes(scenes: Sequence[Scene]) -> Figure:
    """Draw scenes one below the other: weights as they should be, as they are, and which token reaches which.

    Parameters
    ----------
    scenes : sequence of Scene
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
        One axes. Queries run from top to bottom, keys from left to right;
        dark is a large weight, or a strong influence; hatched cells are
        blocked and hold nothing, NaN is black. What should be blocked and is
        not has a coloured edge.

    Raises
    ------
    ValueError
        If there is no scene.

    Examples
    --------
    >>> from surgeon.zoo.catalogue import ZOO
    >>> fig = plot_scenes([scene(ZOO["lost_mask"]), scene(ZOO["sees_the_next"])])
    >>> len(fig.axes[0].images)
    6
    """
    if not scenes:
        raise ValueError("scenes must hold at least one scene, got none.")
    rows = len(scenes)
    fig, ax = new_figure(size=(5.2, 0.55 + 1.08 * rows))
    for row, seen in enumerate(scenes):
        top = 1.15 * row
        blocked = ~seen.allowed
        _thumbnail(
            ax,
            0.0,
            top,
            seen.sound,
            blocked & (seen.sound == 0),
            torch.zeros_like(blocked),
        )
        _thumbnail(
            ax,
            1.2,
            top,
            seen.faulty,
            blocked & (seen.faulty == 0),
            blocked & (seen.faulty > 0),
        )
        strongest = float(seen.reach.nan_to_num(0.0, 0.0).max()) or 1.0
        _thumbnail(
            ax,
            2.4,
            top,
            seen.reach / strongest,
            blocked & (seen.reach == 0),
            seen.leaks,
        )
        ax.text(
            -0.1,
            top + 0.4,
            seen.fault,
            ha="right",
            va="center",
            fontsize=9.5,
            color=INK,
        )
        ax.text(
            -0.1,
            top + 0.62,
            seen.where,
            ha="right",
            va="center",
            fontsize=8.5,
            color=GREY,
        )
    for left, title in (
        (0.0, "weights,\nsound"),
        (1.2, "weights,\nfaulty"),
        (2.4, "who reaches\nwhom, faulty"),
    ):
        ax.text(
            left + 0.5,
            -0.08,
            title,
            ha="center",
            va="bottom",
            fontsize=9.5,
            color=INK,
        )
    ax.set(xlim=(-1.95, 3.45), ylim=(1.15 * rows, -0.5), aspect="equal")
    ax.set_axis_off()
    return fig


def _thumbnail(
    ax: Axes,
    left: float,
    top: float,
    numbers: Tensor,
    blocked: Tensor,
    wrong: Tensor,
) -> None:
    """One matrix as cells of a square of side 1."""
    T, S = numbers.shape
    colours = WEIGHTS.with_extremes(bad="black")(
        Normalize(0, 1)(np.ma.masked_invalid(numbers.numpy()))
    )
    ax.imshow(
        colours, extent=(left, left + 1, top + 1, top), interpolation="none"
    )
    hatched: dict[str, Any] = {
        "facecolor": PALE,
        "edgecolor": "#a3a9b2",
        "hatch": "/////",
        "linewidth": 0,
    }
    edged: dict[str, Any] = {
        "facecolor": "none",
        "edgecolor": VERMILION,
        "linewidth": 1.3,
    }
    for cells, look in ((blocked, hatched), (wrong, edged)):
        for i, j in cells.nonzero().tolist():
            ax.add_patch(
                Rectangle((left + j / S, top + i / T), 1 / S, 1 / T, **look)
            )
    ax.add_patch(
        Rectangle(
            (left, top), 1, 1, facecolor="none", edgecolor=GREY, linewidth=0.8
        )
    )


def describe_scenes(scenes: Sequence[Scene]) -> str:
    """Say in words what `plot_scenes` shows: its alternative text.

    Parameters
    ----------
    scenes : sequence of Scene
        As `plot_scenes` takes them.

    Returns
    -------
    str
        A sentence for each: how far the weights are from sound, what is NaN,
        and how many tokens leak.

    Examples
    --------
    >>> from surgeon.zoo.catalogue import ZOO
    >>> describe_scenes([scene(ZOO["keys_from_the_other_end"])])
    'keys_from_the_other_end, a causal text: weights as they should be; 6 pairs of tokens leak.'
    """
    said = []
    for seen in scenes:
        holes, apart = (
            seen.faulty.isnan().any(-1).sum(),
            (seen.faulty - seen.sound).nan_to_num().abs().max(),
        )
        weights = (
            "weights as they should be"
            if apart < 1e-3 and not holes
            else f"weights up to {apart:.2f} off"
        )
        weights = (
            f"{holes} of {len(seen.faulty)} rows NaN" if holes else weights
        )
        broken = seen.reach.isnan().any(-1).sum()
        leaks = f"{seen.leaks.sum() or 'no'} pairs of tokens leak"
        said.append(
            f"{seen.fault}, {seen.where}: {weights};"
            f" {f'{broken} outputs depend on NaN' if broken else leaks}."
        )
    return " ".join(said)
