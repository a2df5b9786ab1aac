"""Weights that somebody hands out, and is believed if they can be some."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from surgeon.recording.cutting import slack_of

# From what a module or a function returned to its weights
Read = Callable[[Any], Any]


def second(output: Any) -> Any:
    """The weights of what returns (output, weights)."""
    several = isinstance(output, (tuple, list)) and len(output) > 1
    return output[1] if several else None


def check_handed(name: str, weights: Any, dropping: bool) -> None:
    """Raise a ValueError if what was handed out is no weights.

    Parameters
    ----------
    name : str
        Who handed it out.
    weights : Any
        [..., T, S], or anything.
    dropping : bool
        Whether dropout may have made a row more than one.
    """
    if not isinstance(weights, Tensor) or weights.ndim < 2:
        tensor = isinstance(weights, Tensor)
        got = list(weights.shape) if tensor else type(weights).__name__
        raise ValueError(
            f"of must name what returns (output, weights), got {got} for the"
            f" weights of {name}."
        )
    if dropping or not weights.numel() or not weights.is_floating_point():
        return
    most = float(weights.detach().nan_to_num().double().sum(-1).max())
    if most > 1 + slack_of(weights.dtype):
        raise ValueError(
            "of must name what returns (output, weights), whose rows sum to"
            f" at most one, got a row that sums to {most:.4g} for the weights"
            f" of {name}."
        )
