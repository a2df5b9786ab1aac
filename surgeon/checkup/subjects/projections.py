"""The projections of a module on `x`: what people call them, and how wide.

And other things that a module, or its configuration, tells of itself.
"""

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from surgeon.checkup.subjects.supplies import SUPPLIED

# What people call them: queries, keys, values, and the output, where there
# is one; or all three in one, and the output.
PROJECTIONS = (
    ("W_Q", "W_K", "W_V", "W_O"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("q_proj", "k_proj", "v_proj", "out_proj"),
    ("q_proj", "k_proj", "v_proj", "dense"),
    ("q_proj", "k_proj", "v_proj", "proj"),
    ("W_query", "W_key", "W_value", "out_proj"),
    ("W_query", "W_key", "W_value"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("q_linear", "k_linear", "v_linear", "out"),
    ("wq", "wk", "wv", "wo"),
    ("Wq", "Wk", "Wv", "Wo"),
    ("W_q", "W_k", "W_v", "W_o"),
    ("w_q", "w_k", "w_v", "w_o"),
    ("w_qs", "w_ks", "w_vs", "fc"),
    ("c_q", "c_k", "c_v", "c_proj"),
    ("to_q", "to_k", "to_v", "to_out"),
    ("q", "k", "v", "o"),
    ("q", "k", "v", "proj"),
    ("query", "key", "value", "proj"),
    ("query", "key", "value", "out"),
    ("queries", "keys", "values", "fc_out"),
    ("query", "key", "value"),
    ("c_attn", "c_proj"),
    ("qkv", "proj"),
    ("qkv", "out_proj"),
    ("qkv", "out"),
    ("qkv_proj", "o_proj"),
    ("qkv_proj", "out_proj"),
    ("query_key_value", "dense"),
    ("to_qkv", "to_out"),
    ("Wqkv", "out_proj"),
    ("Wqkv", "Wo"),
    ("in_proj", "out_proj"),
    ("c_attn",),
    ("qkv",),
    ("to_qkv",),
)
HEADS = (
    "num_heads",
    "n_heads",
    "n_head",
    "num_attention_heads",
    "heads",
    "nhead",
    "nheads",
    "h",
)
KV_HEADS = ("num_kv_heads", "n_kv_heads", "n_kv_head", "num_key_value_heads")
WIDTHS = ("d_model", "embed_dim", "hidden_size", "n_embd", "dim")
MASK_ONLY = ("mask", "attention_mask", "attn_mask")
CONTEXTS = ("context", "encoder_hidden_states", "key_value_states")


def known_projections(module: nn.Module) -> tuple[str, ...]:
    """The names of its projections, if they are usual ones.

    Or their places in a list of four that are alike.
    """
    children = dict(module.named_children())
    for names in PROJECTIONS:
        if all(name in children for name in names):
            return names
    for name, child in children.items():
        if isinstance(child, nn.ModuleList) and len(child) == 4:
            places = tuple(f"{name}.{i}" for i in range(4))
            linear = all(isinstance(one, nn.Linear) for one in child)
            return places if linear else ()
    return ()


def check_projections(
    module: nn.Module, title: str, found: Sequence[str]
) -> None:
    """Refuse names of submodules that there are not."""
    for name in found:
        try:
            module.get_submodule(name)
        except AttributeError:
            raise ValueError(
                f"projections must name submodules of {title}, got {name!r}."
            ) from None


def sizes(projection: nn.Module) -> tuple[int, int]:
    """How wide what goes in and what comes out of a projection is."""
    if isinstance(projection, nn.Linear):
        return projection.in_features, projection.out_features
    weight = getattr(projection, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 2:
        # a layer that multiplies from the left: [in, out]
        return weight.shape[0], weight.shape[1]
    linear = [m for m in projection.modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ValueError(
            f"projections must be matrices, got {type(projection).__name__}."
        )
    return linear[0].in_features, linear[-1].out_features


def wants_three(module: nn.Module) -> bool:
    """Whether its signature asks for queries, keys and values."""
    needed = [p.name for p in _needed_places(module)]
    beside = (*MASK_ONLY, *SUPPLIED)
    return len([n for n in needed if n not in beside]) >= 3


def context_of(module: nn.Module) -> str | None:
    """A usual name of the argument for a second sequence."""
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in CONTEXTS if name in parameters), None)


def takes_x(module: nn.Module) -> bool:
    """Whether it is called with one sequence, and not with Q, K and V."""
    first = next(iter(inspect.signature(module.forward).parameters), "")
    needed = [p.name for p in _needed_places(module)]
    sequences = [
        name for name in needed if "mask" not in name and name not in SUPPLIED
    ]
    return len(sequences) < 3 and first.lower() != "q"


def _needed_places(module: nn.Module) -> list[inspect.Parameter]:
    """The arguments by place that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    return [p for p in parameters if p.kind is place and p.default is empty]


def model_width(module: Any) -> int | None:
    """The width of `x`, if a module tells it."""
    if not isinstance(module, nn.Module):
        return None
    for child in module.modules():
        if isinstance(child, nn.Linear):
            return number(module, WIDTHS) or child.in_features
    return number(module, WIDTHS)


def number(module: Any, names: Sequence[str]) -> int | None:
    """The first of these that a module, or its configuration, has."""
    for holder in (module, getattr(module, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and value > 0:
                return value
    return None
