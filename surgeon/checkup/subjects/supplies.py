"""What a layer wants besides `x`: places, a cache, tables of angles.

Where nobody says which, it gets what stands still: no cache, and angles of
zero, so that nothing turns.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

Supply = Callable[[int], Mapping[str, Any]]

CACHES = (
    "past_key_values",
    "past_key_value",
    "layer_past",
    "kv_cache",
    "cache",
    "past",
)
NUMBERS = {"start_pos": 0, "use_cache": False, "offset": 0}
ANGLES = ("position_embeddings", "freqs_cis", "cos", "sin")
PLACES = ("position_ids", "input_pos", "positions")
SUPPLIED = (*CACHES, *NUMBERS, *ANGLES, *PLACES)


def supplies(module: nn.Module, d: int) -> Iterator[tuple[Supply, str]]:
    """What may be handed in with `x`, and what to say of it.

    What must be given, and then what may; tables of the width of a head, and
    of half of it.

    Parameters
    ----------
    module : torch.nn.Module
        Its signature says what it takes.
    d : int
        The width of a head.
    """
    parameters = inspect.signature(module.forward).parameters
    known = [name for name in parameters if name in SUPPLIED]
    needed = [
        name
        for name in known
        if parameters[name].default is inspect.Parameter.empty
    ]
    for names in (needed, [n for n in known if n not in CACHES]):
        wanted = [name for name in names if name in ANGLES]
        said = (
            f"It wants {' and '.join(wanted)}: it got angles of zero, by"
            " which nothing turns. What it makes of places is not examined."
        )
        for wide in (d, d // 2) if wanted else (d,):
            if names:
                yield _supply(names, wide), said if wanted else ""


def _supply(names: list[str], wide: int) -> Supply:
    def supply(tokens: int) -> dict[str, Any]:
        still = {
            "position_embeddings": (
                torch.ones(1, tokens, wide),
                torch.zeros(1, tokens, wide),
            ),
            "freqs_cis": torch.ones(tokens, wide, dtype=torch.complex64),
            "cos": torch.ones(tokens, wide),
            "sin": torch.zeros(tokens, wide),
            "position_ids": torch.arange(tokens)[None],
            "input_pos": torch.arange(tokens),
            "positions": torch.arange(tokens),
            **NUMBERS,
        }
        return {name: still.get(name) for name in names}

    return supply
