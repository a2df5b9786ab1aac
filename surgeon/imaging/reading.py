"""Weights as a figure, or a sentence about it, reads them."""

import numpy as np
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.imaging.patterns import check_blocked

FEW = 10  # tokens up to which each is told: a value printed, a key named


def read_weights(
    weights: Tensor,
    axes: int,
    shape: str,
    mask: Tensor | None,
    vmin: float,
    vmax: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The weights as numbers, NaN included, and which cells are blocked."""
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = getattr(weights, "dtype", type(weights).__name__)
        raise ValueError(
            f"attention_weights must be a floating-point tensor, got {got}."
        )
    if weights.ndim != axes or 0 in weights.shape:
        raise ValueError(
            f"attention_weights must have shape {shape}, none of them 0, got"
            f" {list(weights.shape)}."
        )
    if not vmin < vmax:
        raise ValueError(f"vmin must be below vmax, got {vmin} and {vmax}.")
    outside = weights[(weights < vmin - 1e-3) | (weights > vmax + 1e-3)]
    if len(outside):
        raise ValueError(
            f"attention_weights must lie between vmin and vmax ({vmin:g} and"
            f" {vmax:g}), got {float(outside[0]):.4g}."
        )
    may_look = visible(mask, weights.shape, weights.device)
    check_blocked(weights.detach().nan_to_num(nan=0.0), may_look)
    blocked = ~may_look & ~weights.isnan()
    return weights.detach().cpu().double().numpy(), blocked.cpu().numpy()


def read_heads(
    weights: Tensor, mask: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of every head of every layer, as `read_weights` reads."""
    shape = "[layers, heads, T, T]"
    numbers, blocked = read_weights(weights, 4, shape, mask, 0.0, 1.0)
    if numbers.shape[2] != numbers.shape[3]:
        raise ValueError(
            "attention_weights must have as many queries as keys, got"
            f" {numbers.shape[2]} and {numbers.shape[3]}."
        )
    return numbers, blocked
