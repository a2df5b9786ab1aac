"""Every head of a model in the reader's hands.

Figures that stand still, and the numbers that set them moving.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from surgeon.anatomy.masks import create_causal_mask
from surgeon.arguments import place
from surgeon.book.page import drawn, show
from surgeon.imaging.reading import read_heads
from surgeon.imaging.words import read_labels
from surgeon.instruments.live import can_show_widgets
from surgeon.instruments.packing import (
    below_diagonal,
    encode_weights,
    tight_json,
)
from surgeon.instruments.texts import Heads

LARGEST = 300_000  # bytes that a reader's browser is asked to load


def head_explorer(
    texts: Sequence[tuple[Tensor, Sequence[str]]],
    figures: Sequence[tuple[Figure, str, str]],
    *,
    layer: int = 0,
    head: int = 0,
    causal: bool = False,
    names: Sequence[str] | None = None,
) -> None:
    """Show the heads of a model.

    A reader chooses one, points at a token and sees where it looks.

    Parameters
    ----------
    texts : sequence of (Tensor, sequence of str)
        For each text the weights [layers, heads, T, T] and the names of its
        `T` tokens. Layers and heads are the same in all, `T` need not be.
    figures : sequence of (matplotlib.figure.Figure, str, str)
        Figures of the first text with caption and alternative text, as
        `surgeon.book.page.figure` takes them. They stand where no script
        runs.
    layer, head : int
        The head that is shown first, counted from 0.
    causal : bool
        Whether no token sees a later one. Then only the weights on and below
        the diagonal are kept, and the cells above are drawn as blocked.
    names : sequence of str, optional
        What the texts are called where a reader chooses one; if not given,
        their tokens, joined as BERT's are.

    Raises
    ------
    ValueError
        If there is no text or no figure, if the weights of a text are no
        floating tensor [layers, heads, T, T], lie outside 0 to 1 or are NaN,
        if texts differ in layers or heads, if there are not `T` tokens, if
        layer or head is none of those there are, if there are not as many
        names as texts, if weight lies above the diagonal where `causal`, or
        as `surgeon.book.page.figure`.

    Notes
    -----
    The site's build moves the numbers to a file named by their hash, and the
    page loads it when the reader comes near. It holds at most 300,000 bytes:
    texts that do not fit are left out, from the last; if not even the first
    fits, the figures are shown alone.

    Examples
    --------
    >>> import torch
    >>> from surgeon.imaging.head_grids import plot_all_heads
    >>> weights = torch.eye(3).expand(2, 5, 3, 3)
    >>> texts = [(weights, ["cut", "the", "wire"])]
    >>> fig = plot_all_heads(weights)
    >>> head_explorer(texts, [(fig, "Ten heads.", "Ten diagonals.")])
    [10 heads on 1 text: Ten heads.]
    """
    if not len(texts) or not len(figures):
        raise ValueError(
            f"texts and figures must hold at least one each, got {len(texts)}"
            f" and {len(figures)}."
        )
    read = [_read(*one, causal) for one in texts]
    if names is not None:
        names = read_labels("names", names, len(read), "texts")
    L, H, T, _ = read[0][0].shape
    for weights, _ in read:
        if weights.shape[:2] != (L, H):
            raise ValueError(
                f"texts must all have {L} layers of {H} heads, got"
                f" {weights.shape[0]} of {weights.shape[1]}."
            )
    layer, head = place("layer", layer, L), place("head", head, H)
    still = "".join(drawn(*one) for one in figures)
    captions = " ".join(caption for _, caption, _ in figures)
    sent = below_diagonal if causal else np.asarray
    packed: list[dict[str, Any]] = [
        {"tokens": tokens, "weights": encode_weights(sent(weights))}
        for weights, tokens in read
    ]
    for one, name in zip(packed, names or [], strict=False):
        one["name"] = name
    while packed and len(tight_json(packed)) > LARGEST:
        packed.pop()
    count = "1 text" if len(packed) == 1 else f"{len(packed) or 'no'} texts"
    plain = f"[{L * H} heads on {count}: {captions}]"
    if not packed:
        show(plain, html=still)
        return
    if can_show_widgets():
        from surgeon.instruments.head_widget import HeadExplorer

        named = names or [""] * len(read)
        explorer = HeadExplorer()
        explorer.hold(
            [
                Heads(weights, tokens, None, name)
                for (weights, tokens), name in zip(read, named, strict=True)
            ],
            layer,
            head,
            bool(causal),
        )
        show(plain, widget=explorer, html=still)
        return
    data = b64encode(tight_json(packed)).decode()
    element = (
        f'<head-explorer layers="{L}" heads="{H}" tokens="{T}"'
        f' layer="{layer}" head="{head}"{" causal" * bool(causal)}'
        f' src="data:application/json;base64,{data}">'
    )
    show(plain, html=f"{element}{still}</head-explorer>")


def _read(
    weights: Tensor, tokens: Sequence[str], causal: bool
) -> tuple[np.ndarray, list[str]]:
    """One text's weights and the names of its tokens, if they fit."""
    T = max(getattr(weights, "shape", [1])[-1:], default=1)
    mask = create_causal_mask(T) if causal else None
    numbers, _ = read_heads(weights, mask)
    holes = np.isnan(numbers).sum()
    if holes:
        raise ValueError(
            f"attention_weights must hold numbers, got NaN in {holes} cells."
        )
    names = read_labels("tokens", tokens, numbers.shape[2], "tokens")
    return numbers.clip(0.0, 1.0), names
