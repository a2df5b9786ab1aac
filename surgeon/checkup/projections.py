"""Modules on `x`: by their projections, wherever those are, or, of PyTorch's own, by identities in their place."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.adapter import Subject

# what people call them: queries, keys, values, and the output, where there is
# one
PROJECTIONS = (
    ("W_Q", "W_K", "W_V", "W_O"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("q_proj", "k_proj", "v_proj", "out_proj"),
    ("W_query", "W_key", "W_value", "out_proj"),
    ("q_lin", "k_lin", "v_lin", "out_lin"),
    ("wq", "wk", "wv", "wo"),
    ("q", "k", "v", "o"),
    ("query", "key", "value"),
    ("c_attn", "c_proj"),
    ("qkv", "proj"),
    ("qkv_proj", "o_proj"),
)
HEADS = ("num_heads", "n_heads", "n_head", "num_attention_heads", "heads")
KV_HEADS = ("num_kv_heads", "n_kv_heads", "num_key_value_heads")
WIDTHS = ("d_model", "embed_dim", "hidden_size", "n_embd", "dim")


def tapped(
    module: nn.Module,
    title: str,
    found: Sequence[str],
    names: Mapping[str, str],
    given: dict[str, Any],
    heads: int | None,
    kv_heads: int | None,
) -> Subject:
    """A module whose projections give what the examination wants, and whose output is read before the last one."""
    fused, out = len(found) < 3, found[-1] if len(found) in (2, 4) else None
    taps = [found[0]] if fused else list(found[:3])
    for name in [*taps, *([out] if out else [])]:
        try:
            module.get_submodule(name)
        except AttributeError:
            raise ValueError(
                f"projections must name submodules of {title}, got {name!r}."
            ) from None
    heads = heads or _number(module, HEADS)
    if not heads:
        raise ValueError(
            f"heads must be given: {title} does not tell how many it has."
        )
    kv_heads = kv_heads or _number(module, KV_HEADS) or heads
    first = module.get_submodule(taps[0])
    width_in, width_out = _sizes(first)
    d = width_out // (heads + 2 * kv_heads if fused else heads)
    parameters = inspect.signature(module.forward).parameters
    three = (
        sum(
            p.default is p.empty
            and p.kind is p.POSITIONAL_OR_KEYWORD
            and p.name not in ("mask", "attention_mask")
            for p in parameters.values()
        )
        >= 3
        and not given["options"]
    )
    context = names.get("context") or next(
        (n for n in ("context", "encoder_hidden_states") if n in parameters),
        None,
    )

    def call(
        target: nn.Module,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        sent = [torch.cat([Q, K, V], -1)] if fused else [Q, K, V]
        seen: list[Tensor] = []
        hooks = [
            target.get_submodule(name).register_forward_hook(
                lambda *_, x=x: x
            )
            for name, x in zip(taps, sent, strict=True)
        ]
        if out:
            hooks.append(
                target.get_submodule(out).register_forward_pre_hook(
                    lambda _, inputs: seen.append(inputs[0])
                )
            )
        x = torch.ones(*Q.shape[:2], width_in, dtype=Q.dtype)
        c = torch.ones(*K.shape[:2], width_in, dtype=Q.dtype)
        try:
            if three:
                returned = target(x, c, c.clone(), **extras)
            elif K.shape[1] != Q.shape[1] and context:
                returned = target(x, **{context: c}, **extras)
            else:
                returned = target(x, **extras)
        finally:
            for hook in hooks:
                hook.remove()
        rest = (
            list(returned[1:]) if isinstance(returned, (tuple, list)) else []
        )
        first = (
            returned[0] if isinstance(returned, (tuple, list)) else returned
        )
        return [seen[-1] if seen else first, *rest]

    return Subject(
        copy.deepcopy(module).eval(),
        call,
        f"{title} (probed at {', '.join(found)})",
        layout="B T (H d)",
        heads=heads,
        kv_heads=kv_heads,
        widths=(d, d),
        rectangular=bool(three or context),
        **given,
    )


def pytorch_module(
    module: Any, title: str, mask: str | None, given: dict[str, Any]
) -> Subject | None:
    """nn.MultiheadAttention, with identities for its projections: what goes in is what the heads get."""
    if (
        module.in_proj_weight is None
        or module.bias_k is not None
        or module.add_zero_attn
    ):
        return None
    twin, width = copy.deepcopy(module).eval(), module.embed_dim
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
        twin.out_proj.weight.copy_(torch.eye(width))
        for bias in (twin.in_proj_bias, twin.out_proj.bias):
            if bias is not None:
                bias.zero_()
    given["mask"], given["mask_name"] = mask or "True blocks", "attn_mask"
    given["padding"], given["mask_shape"] = (
        "key_padding_mask",
        given.get("mask_shape", "(B H) T S"),
    )
    given["options"] = {
        "average_attn_weights": False,
        **(given["options"] or {}),
    }
    call = lambda target, Q, K, V, extras: target(Q, K, V, **extras)
    d = width // module.num_heads
    layout = "B T (H d)" if module.batch_first else "T B (H d)"
    said = f"{title} (identities for its projections)"
    return Subject(
        twin,
        call,
        said,
        layout=layout,
        heads=module.num_heads,
        widths=(d, d),
        **given,
    )


def known_projections(module: nn.Module) -> tuple[str, ...]:
    """The names of its projections, if they are usual ones."""
    children = dict(module.named_children())
    for names in PROJECTIONS:
        if all(name in children for name in names):
            return names
    return ()


def takes_x(module: nn.Module) -> bool:
    """Whether it is called with one sequence, and not with Q, K and V."""
    parameters = inspect.signature(module.forward).parameters.values()
    asked = [
        p
        for p in parameters
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    names = [p.name.lower() for p in parameters]
    return len([p for p in asked if "mask" not in p.name]) < 3 and names[
        :1
    ] != ["q"]


def model_width(module: Any) -> int | None:
    """The width of `x`, if a module tells it."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            return _number(module, WIDTHS) or child.in_features
    return _number(module, WIDTHS)


def _sizes(projection: nn.Module) -> tuple[int, int]:
    if isinstance(projection, nn.Linear):
        return projection.in_features, projection.out_features
    weight = (
        projection.weight
    )  # a layer that multiplies from the left: [in, out]
    assert isinstance(weight, Tensor)
    return weight.shape[0], weight.shape[1]


def _number(module: Any, names: Sequence[str]) -> int | None:
    for holder in (module, getattr(module, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and value > 0:
                return value
    return None
