"""For pytest: before the tests are imported, a fault of the zoo takes the place of what `surgeon` does right.

SURGEON_FAULT=unscaled python -m pytest -p zoo_plugin tests/anatomy/test_dot_product.py
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import torch

import surgeon
from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.zoo.catalogue import ZOO, in_the_brief_s_shape
from surgeon.zoo.fault import Layer, right

CONTROLS = {"right": right, "Layer": Layer}  # sound, in the same place: what fails with these is no catch


def put(original: Any, other: Any) -> None:
    """Wherever a module of `surgeon` holds the one, it holds the other."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "surgeon":
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, other)


def causal_up_to(diagonal: int) -> Callable[..., torch.Tensor]:
    """`create_causal_mask` with its diagonal elsewhere."""

    def create_causal_mask(seq_len: int, device: str = "cpu") -> torch.Tensor:
        right_one = sound["create_causal_mask"](seq_len, device)
        seen = torch.ones(seq_len, seq_len, dtype=torch.bool, device=device).tril(diagonal)
        return torch.zeros_like(right_one).masked_fill(~seen, -torch.inf)

    return create_causal_mask


def top_left(past: int, bias: torch.Tensor | None, Q: torch.Tensor) -> torch.Tensor | None:
    """What new tokens may see of a cache, from the wrong corner."""
    T = Q.shape[-2]
    seen = torch.ones(T, past + T, dtype=torch.bool, device=Q.device).tril()
    seen = surgeon.combine_masks(seen)  # numbers to add
    return seen if bias is None else seen + bias


def without_queries(lengths: Any, seq_len: int, *, device: str = "cpu") -> torch.Tensor:
    """`create_padding_mask` as (batch, keys): nothing says that it is not (queries, keys)."""
    return sound["create_padding_mask"](lengths, seq_len, device=device)[:, 0]


def with_stages(faulty: Callable[..., Any]) -> Callable[..., Any]:
    """`dissect` with the weights and the output of a faulty attention."""

    def dissect(*inputs: Any, generator: torch.Generator | None = None, **options: Any) -> Any:
        output, weights = faulty(*inputs, generator=generator, **options)
        return sound["dissect"](*inputs, **{**options, "dropout": 0.0})._replace(weights=weights, output=output)

    return dissect


sound = {name: getattr(surgeon, name) for name in ("create_causal_mask", "create_padding_mask", "attention", "dissect")}
# Faults that do not lie in attention itself, and where they lie in `surgeon`
ELSEWHERE: dict[str, tuple[Any, Any]] = {
    "blind_to_itself": (sound["create_causal_mask"], causal_up_to(-1)),
    "sees_the_next": (sound["create_causal_mask"], causal_up_to(1)),
    "top_left_causal": (sys.modules["surgeon.anatomy.heads"].causal_after, top_left),
    "batch_taken_for_queries": (sound["create_padding_mask"], without_queries),
}


def pytest_configure() -> None:
    """Called by pytest, before it imports a test."""
    name = os.environ.get("SURGEON_FAULT")
    if not name:
        return
    made = CONTROLS.get(name) or ZOO[name].made
    if name in ELSEWHERE:
        put(*ELSEWHERE[name])
    elif isinstance(made, type):
        put(MultiHeadAttention, made)
    else:
        faulty = in_the_brief_s_shape(made)
        put(sound["attention"], faulty)
        put(sound["dissect"], with_stages(faulty))
