"""Weights as text, row by row, which a browser reads back."""

import json
from typing import Any

import numpy as np

DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# A weight is two digits, so it is off by 1 / 8190 at most.
STEPS = len(DIGITS) ** 2 - 1


def encode_weights(weights: np.ndarray) -> str:
    """Weights as text, row by row, two digits of 64 each: round(4095 w).

    Parameters
    ----------
    weights : numpy.ndarray
        Numbers from 0 to 1, of any shape.

    Returns
    -------
    str
        Two characters a weight. Read back, each weight is at most 1/8190 off,
        so a row of `T` adds up to one within T/8190, and two decimals are
        right but for those that lie that near to a half.

    Raises
    ------
    ValueError
        If a weight lies outside 0 to 1 or is NaN.

    Examples
    --------
    >>> encode_weights(np.array([[1.0, 0.0], [0.5, 0.5]]))
    '//AAgAgA'
    """
    outside = weights[~((weights >= 0) & (weights <= 1))]
    if outside.size:
        raise ValueError(
            f"weights must lie between 0 and 1, got {outside[0]:.4g}."
        )
    steps = np.round(STEPS * weights.astype(np.float64)).astype(np.int64)
    pairs = np.stack([steps // len(DIGITS), steps % len(DIGITS)], -1)
    digits = np.frombuffer(DIGITS, dtype=np.uint8)
    return digits[pairs].tobytes().decode("ascii")


def below_diagonal(weights: np.ndarray) -> np.ndarray:
    """The rows on and below the diagonal of [..., T, T], one after another.

    Examples
    --------
    >>> below_diagonal(np.arange(9).reshape(3, 3))
    array([0, 3, 4, 6, 7, 8])
    """
    return weights[..., *np.tril_indices(weights.shape[-1])]


def tight_json(thing: Any) -> bytes:
    """JSON without a space that nobody reads."""
    tight = (",", ":")
    return json.dumps(thing, ensure_ascii=False, separators=tight).encode()
