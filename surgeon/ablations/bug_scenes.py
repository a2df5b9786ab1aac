"""A bug seen from outside: five tokens' weights, and who reaches whom."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

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
from surgeon.zoo.fault import CAUSAL, Fault, Layer, Mask, Result
from surgeon.zoo.housing import house, kind_of, quiet

ORDINARY: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
TOKENS, HEADS = 5, 4
HEAD = 1  # of two grouped heads that share keys, the second tells how
LOW, LARGE, HALF = "very low scores", "large scores", "large entries, float16"
NEW, TWICE = "two new tokens, five keys", "asked twice"
BATCH = "five texts in a batch"
HIDDEN, NOTHING = "two keys hidden", "two queries see nothing"
#: every circumstance that brings a fault out
SCENES = (
    CAUSAL,
    "evaluating",
    "training",
    LOW,
    LARGE,
    HALF,
    NEW,
    TWICE,
    BATCH,
    HIDDEN,
    NOTHING,
)


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
        """Tokens that reach an output whose query should not see them.

        Boolean [T, S]; NaN tells of none. A token reaches its own output
        past attention too.
        """
        T, S = self.allowed.shape
        own = torch.eye(S, dtype=torch.bool, device=self.reach.device)
        return (self.reach > 0) & ~self.allowed & ~own[S - T :]


def scene(fault: Fault, *, seed: int = 0) -> Scene:
    """Five random tokens through a sound layer, and through a faulty one.

    The two have the same weights, and are met in the circumstance that brings
    the fault out.

    Parameters
    ----------
    fault : Fault
        An entry of `surgeon.zoo.catalogue.ZOO` that has a `scene`.
    seed : int
        Of the tokens, the weights and dropout.

    Returns
    -------
    Scene

    Raises
    ------
    ValueError
        If five tokens cannot show the fault, or if `seed` is not an integer
        from 0 to 2**32 - 1.

    Examples
    --------
    >>> from surgeon.zoo.catalogue import ZOO
    >>> seen = scene(ZOO["lost_mask"])
    >>> int(seen.leaks.sum())  # ten pairs of a token and a later one
    10
    >>> float(seen.sound.triu(1).sum())
    0.0
    """
    where = fault.scene
    if where not in SCENES:
        raise ValueError(
            f"fault must be one that five tokens show, got {fault.name}."
        )
    draw = torch.Generator().manual_seed(check_seed(seed))
    # 1. Tokens, and who should see whom.
    width = 32 if where == HALF else 8
    x = torch.randn(TOKENS, width, generator=draw, **ORDINARY)
    allowed = allowed_in(where)
    # 2. Two layers with the same weights.
    sound, faulty = two_layers(fault, x, seed)
    if where == HALF:
        x, sound, faulty = x.half(), sound.half(), faulty.half()
    for layer in (sound, faulty):
        layer.train(where == "training")

    # 3. What each of them does.
    def run(layer: Layer, x: Tensor) -> Result:
        known = None if layer is sound else fault
        with quiet(seed):
            return look(layer, known, x, allowed, where)

    with torch.no_grad():
        right, wrong = (run(layer, x)[1][HEAD] for layer in (sound, faulty))
    reach = influence_map(lambda x: run(faulty, x)[0], x)
    return Scene(
        fault.name,
        where,
        right.float(),
        wrong.float(),
        allowed,
        reach.float(),
    )


def allowed_in(where: str) -> Tensor:
    """Which keys a query should see, boolean [T, S]."""
    causal = torch.ones(TOKENS, TOKENS, dtype=torch.bool, device="cpu").tril()
    key = torch.arange(TOKENS, device="cpu")
    if where == HIDDEN:
        return (key < TOKENS - 2).expand(TOKENS, TOKENS)
    if where == NOTHING:
        return causal & (key >= 2)  # padding on the left
    return causal[-2:] if where == NEW else causal


def two_layers(fault: Fault, x: Tensor, seed: int) -> tuple[Layer, Layer]:
    """A sound layer and a faulty one, with weights that the scene needs."""
    where, width = fault.scene, x.shape[-1]
    kind = kind_of(fault.needs, HEADS, 0.25)
    with quiet(seed), torch.no_grad(), torch.device("cpu"):
        sound = house(None, width, HEADS, **kind)
        faulty = house(fault, width, HEADS, **kind)
        sound, faulty = sound.float(), faulty.float()
        sound.W_Q.weight.mul_(6.0)  # weights that are not nearly alike
        if where in (LOW, LARGE, HALF):
            sound.W_K.load_state_dict(sound.W_Q.state_dict())
            size = {LOW: 1e7, LARGE: 1e3}.get(where) or fitting(sound, x)
            scale_scores(sound, size, -1 if where == LOW else 1)
    faulty.load_state_dict(sound.state_dict())
    return sound, faulty


def scale_scores(layer: Layer, size: float, sign: int) -> None:
    """Larger queries and keys; with the other sign they are at odds."""
    for linear, factor in ((layer.W_Q, size), (layer.W_K, sign * size)):
        linear.weight.mul_(factor)
        linear.bias.mul_(factor)


def fitting(layer: Layer, x: Tensor) -> float:
    """How far to scale queries, which are the keys, for float16.

    Scaled, the largest score is then below float16's largest number; not
    scaled, it is above.
    """
    Q = split_heads(layer.W_Q(x), HEADS)
    largest = float((Q @ Q.mT)[HEAD].max())
    return math.sqrt(3e4 * math.sqrt(Q.shape[-1]) / largest)


def look(
    layer: Layer, fault: Fault | None, x: Tensor, allowed: Tensor, where: str
) -> Result:
    """Output [T, width] and weights [H, T, S] of one text."""
    if fault and "padding" in fault.held:
        return look_third_of_five(layer, x)
    mask = None if fault and fault.is_causal else allowed
    ways: dict[str, Callable[[Layer, Tensor, Mask], Result]] = {
        NEW: look_at_new_tokens,
        TWICE: look_twice,
        BATCH: look_in_company,
    }
    if where in ways:
        output, weights = ways[where](layer, x, mask)
    else:
        output, weights = layer(x[None], mask=mask)
    return output[0], weights[0]


def look_third_of_five(layer: Layer, x: Tensor) -> Result:
    """Five copies of a text, the third of which has three tokens."""
    lengths = allowed_in(CAUSAL)
    output, weights = layer(x.expand(TOKENS, -1, -1), mask=lengths)
    return output[2], weights[2]


def look_at_new_tokens(layer: Layer, x: Tensor, mask: Mask) -> Result:
    """The last two tokens, with the keys of all."""
    return layer(x[None, -2:], x[None], mask)


def look_twice(layer: Layer, x: Tensor, mask: Mask) -> Result:
    """The second answer to the same queries, keys and values."""
    Q, K, V = (
        split_heads(project(x[None]), HEADS)
        for project in (layer.W_Q, layer.W_K, layer.W_V)
    )
    for _ in range(2):
        output, weights = layer.attend(Q, K, V, mask)
    return merge_heads(output), weights


def look_in_company(layer: Layer, x: Tensor, mask: Mask) -> Result:
    """A text with four others, whose tokens are larger and larger."""
    sizes = torch.arange(1, TOKENS, device=x.device)[:, None, None]
    others = sizes * x.detach().roll(1, -1).expand(TOKENS - 1, -1, -1)
    return layer(torch.cat([x[None], others]), mask=mask)


def plot_scenes(scenes: Sequence[Scene]) -> Figure:
    """Draw scenes, one below the other, each in three squares.

    They are the weights as they should be, the weights as they are, and which
    token reaches which.

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
    >>> bugs = ["lost_mask", "sees_the_next"]
    >>> fig = plot_scenes([scene(ZOO[name]) for name in bugs])
    >>> len(fig.axes[0].images)
    6
    """
    if not scenes:
        raise ValueError("scenes must hold at least one scene, got none.")
    lefts, pitch = (0.0, 1.2, 2.4), 1.15
    fig, ax = new_figure(size=(5.2, 0.55 + 1.08 * len(scenes)))
    for row, seen in enumerate(scenes):
        top, blocked = pitch * row, ~seen.allowed
        strongest = float(seen.reach.nan_to_num(0.0, 0.0).max()) or 1.0
        squares = (
            (seen.sound, torch.zeros_like(blocked)),
            (seen.faulty, blocked & (seen.faulty > 0)),
            (seen.reach / strongest, seen.leaks),
        )
        for left, (numbers, wrong) in zip(lefts, squares, strict=True):
            empty = blocked & (numbers == 0)
            _draw_square(ax, left, top, numbers, empty, wrong)
        label = {"ha": "right", "va": "center"}
        ax.text(-0.1, top + 0.4, seen.fault, color=INK, fontsize=9.5, **label)
        ax.text(
            -0.1, top + 0.62, seen.where, color=GREY, fontsize=8.5, **label
        )
    titles = (
        "weights,\nsound",
        "weights,\nfaulty",
        "who reaches\nwhom, faulty",
    )
    title = {"ha": "center", "va": "bottom", "fontsize": 9.5, "color": INK}
    for left, text in zip(lefts, titles, strict=True):
        ax.text(left + 0.5, -0.08, text, **title)
    ax.set(xlim=(-1.95, 3.45), ylim=(pitch * len(scenes), -0.5))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return fig


def _draw_square(
    ax: Axes,
    left: float,
    top: float,
    numbers: Tensor,
    empty: Tensor,
    wrong: Tensor,
) -> None:
    """One matrix as cells of a square of side 1."""
    T, S = numbers.shape
    colours = WEIGHTS.with_extremes(bad="black")
    shares = Normalize(0, 1)(np.ma.masked_invalid(numbers.numpy()))
    place = (left, left + 1, top + 1, top)
    ax.imshow(colours(shares), extent=place, interpolation="none")
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
    for cells, look in ((empty, hatched), (wrong, edged)):
        for i, j in cells.nonzero().tolist():
            corner = (left + j / S, top + i / T)
            ax.add_patch(Rectangle(corner, 1 / S, 1 / T, **look))
    frame: dict[str, Any] = {
        "facecolor": "none",
        "edgecolor": GREY,
        "linewidth": 0.8,
    }
    ax.add_patch(Rectangle((left, top), 1, 1, **frame))


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
    >>> describe_scenes([scene(ZOO["no_root"])])
    'no_root, a causal text: weights up to 0.10 off; no pairs of tokens leak.'
    """
    return " ".join(map(_describe, scenes))


def _describe(seen: Scene) -> str:
    holes = int(seen.faulty.isnan().any(-1).sum())
    apart = float((seen.faulty - seen.sound).nan_to_num().abs().max())
    weights = f"weights up to {apart:.2f} off"
    if holes:
        weights = f"{holes} of {len(seen.faulty)} rows NaN"
    elif apart < 1e-3:
        weights = "weights as they should be"
    broken = int(seen.reach.isnan().any(-1).sum())
    reach = f"{int(seen.leaks.sum()) or 'no'} pairs of tokens leak"
    if broken:
        reach = f"{broken} outputs depend on NaN"
    return f"{seen.fault}, {seen.where}: {weights}; {reach}."
