"""What a number given from outside must be, each said in one sentence."""

import torch


def positive_integer(name: str, value: int) -> int:
    """The value, if it is an integer of at least 1; otherwise a ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{name} must be an integer of at least 1, got {value!r}."
        )
    return value


def natural_number(name: str, value: int) -> int:
    """The value, if it is an integer of at least 0; otherwise a ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(
            f"{name} must be an integer of at least 0, got {value!r}."
        )
    return value


def probability(name: str, value: float) -> float:
    """The value, if it lies in [0, 1), so that something is left of 1 without it; otherwise a ValueError."""
    if not 0 <= value < 1:
        raise ValueError(
            f"{name} must be a probability in [0, 1), got {value}."
        )
    return value


def check_seed(seed: int) -> int:
    """The seed, if it is an integer from 0 to 2**32 - 1: of a larger one PyTorch's generator reads the low 32 bits."""
    if (
        not isinstance(seed, int)
        or isinstance(seed, bool)
        or not 0 <= seed < 2**32
    ):
        raise ValueError(
            f"seed must be an integer from 0 to 2**32 - 1, got {seed!r}."
        )
    return seed


def generator_from(seed: int | torch.Generator) -> torch.Generator:
    """A generator of its own for a seed; a generator as it is."""
    return (
        seed
        if isinstance(seed, torch.Generator)
        else torch.Generator().manual_seed(check_seed(seed))
    )
