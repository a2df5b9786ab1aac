"""Modules on `x`, asked by their projections, wherever those are.

What the projections give is replaced; of PyTorch's own module, they become
identities.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import answer
from surgeon.checkup.subjects.declaration import (
    Declaration,
    Held,
    Options,
)
from surgeon.checkup.subjects.subject import Subject

# What people call them: queries, keys, values, and the output, where there
# is one; or all three in one, and the output.
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
MASK_ONLY = ("mask", "attention_mask")
CONTEXTS = ("context", "encoder_hidden_states")


def tapped(
    module: nn.Module,
    title: str,
    found: Sequence[str],
    declared: Declaration,
    held: Held,
) -> Subject:
    """A module that is entered and left at its projections."""
    _check_projections(module, title, found)
    heads = declared.heads or _number(module, HEADS)
    if not heads:
        raise ValueError(
            f"heads must be given: {title} does not tell how many it has."
        )
    kv_heads = declared.kv_heads or _number(module, KV_HEADS) or heads
    fused = len(found) < 3
    width, inner = _sizes(module.get_submodule(found[0]))
    d = inner // (heads + 2 * kv_heads if fused else heads)
    taps = Taps(
        entries=(found[0],) if fused else tuple(found[:3]),
        way_out=found[-1] if len(found) in (2, 4) else None,
        width=width,
        three=_wants_three(module) and not held.options,
        context=declared.names.get("context") or _context_of(module),
    )
    held = replace(
        held,
        layout="B T (H d)",
        heads=heads,
        kv_heads=kv_heads,
        widths=(d, d),
        rectangular=bool(taps.three or taps.context),
    )
    title = f"{title} (probed at {', '.join(found)})"
    return Subject(copy.deepcopy(module).eval(), taps, title, held)


@dataclass(frozen=True)
class Taps:
    """How a module on `x` is asked with Q, K and V.

    Parameters
    ----------
    entries : tuple of str
        The projections whose outputs are replaced, one for each of Q, K and
        V, or one for all.
    way_out : str or None
        The projection whose input is the answer; without it, what the module
        returns.
    width : int
        Of `x`, which does not matter any more.
    three : bool
        Whether it is called with three sequences.
    context : str or None
        The argument for a second sequence.
    """

    entries: tuple[str, ...]
    way_out: str | None
    width: int
    three: bool
    context: str | None

    def __call__(
        self,
        target: nn.Module,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        fused = len(self.entries) == 1
        # As many queries as keys, or it is an error of the subject.
        sent = [answer(torch.cat, [Q, K, V], -1)] if fused else [Q, K, V]
        with self.entered(target, sent) as seen:
            returned = self.run(target, Q, K, extras)
        if not seen:
            return returned
        several = isinstance(returned, (tuple, list))
        return [seen[-1], *(returned[1:] if several else ())]

    @contextmanager
    def entered(
        self, target: nn.Module, sent: list[Tensor]
    ) -> Iterator[list[Tensor]]:
        """Hooks that put tensors in, and a list of what comes by the exit."""
        seen: list[Tensor] = []
        hooks = [
            target.get_submodule(name).register_forward_hook(
                lambda *_, x=x: x
            )
            for name, x in zip(self.entries, sent, strict=True)
        ]
        if self.way_out:
            last = target.get_submodule(self.way_out)
            watch = lambda _, inputs: seen.append(inputs[0])
            hooks.append(last.register_forward_pre_hook(watch))
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    def run(
        self, target: nn.Module, Q: Tensor, K: Tensor, extras: dict[str, Any]
    ) -> Any:
        """Call it with sequences of ones, as many as it takes."""
        x, c = (
            torch.ones(*z.shape[:2], self.width, dtype=Q.dtype)
            for z in (Q, K)
        )
        if self.three:
            return answer(target, x, c, c.clone(), **extras)
        if self.context and K.shape[1] != Q.shape[1]:
            extras = {self.context: c, **extras}
        return answer(target, x, **extras)


def _check_projections(
    module: nn.Module, title: str, found: Sequence[str]
) -> None:
    for name in found:
        try:
            module.get_submodule(name)
        except AttributeError:
            raise ValueError(
                f"projections must name submodules of {title}, got {name!r}."
            ) from None


def _wants_three(module: nn.Module) -> bool:
    """Whether its signature asks for queries, keys and values."""
    needed = [p.name for p in _needed_places(module)]
    return len([n for n in needed if n not in MASK_ONLY]) >= 3


def _context_of(module: nn.Module) -> str | None:
    """A usual name of the argument for a second sequence."""
    parameters = inspect.signature(module.forward).parameters
    return next((name for name in CONTEXTS if name in parameters), None)


def pytorch_module(
    module: Any, title: str, declared: Declaration
) -> Subject | None:
    """nn.MultiheadAttention, with identities for its projections.

    What goes in is what the heads get. None, if it has no such form.
    """
    odd = module.bias_k is not None or module.add_zero_attn
    if module.in_proj_weight is None or odd:
        return None
    twin, width = copy.deepcopy(module).eval(), module.embed_dim
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
        twin.out_proj.weight.copy_(torch.eye(width))
        for bias in (twin.in_proj_bias, twin.out_proj.bias):
            if bias is not None:
                bias.zero_()
    d = width // module.num_heads
    held = Held(
        layout="B T (H d)" if module.batch_first else "T B (H d)",
        heads=module.num_heads,
        kv_heads=module.num_heads,
        widths=(d, d),
        mask=declared.convention or "True blocks",
        mask_name="attn_mask",
        mask_shape=declared.mask_shape or "(B H) T S",
        padding="key_padding_mask",
        causal=declared.causal,
        dropout=declared.dropout,
        options=_with_every_head(declared.options),
    )
    said = f"{title} (identities for its projections)"
    return Subject(twin, _ask_pytorchs, said, held)


def _with_every_head(options: Options) -> Options:
    """The options, and that weights are wanted for each head."""
    every: dict[str, Any] = {"average_attn_weights": False}
    if callable(options):
        return lambda tokens: every | dict(options(tokens))
    return every | dict(options or {})


def _ask_pytorchs(
    target: nn.Module,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    extras: dict[str, Any],
) -> Any:
    return answer(target, Q, K, V, **extras)


def known_projections(module: nn.Module) -> tuple[str, ...]:
    """The names of its projections, if they are usual ones."""
    children = dict(module.named_children())
    for names in PROJECTIONS:
        if all(name in children for name in names):
            return names
    return ()


def takes_x(module: nn.Module) -> bool:
    """Whether it is called with one sequence, and not with Q, K and V."""
    first = next(iter(inspect.signature(module.forward).parameters), "")
    needed = [p.name for p in _needed_places(module)]
    sequences = [name for name in needed if "mask" not in name]
    return len(sequences) < 3 and first.lower() != "q"


def _needed_places(module: nn.Module) -> list[inspect.Parameter]:
    """The arguments by place that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    return [p for p in parameters if p.kind is place and p.default is empty]


def model_width(module: Any) -> int | None:
    """The width of `x`, if a module tells it."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            return _number(module, WIDTHS) or child.in_features
    return _number(module, WIDTHS)


def _sizes(projection: nn.Module) -> tuple[int, int]:
    """How wide what goes in and what comes out of a projection is."""
    if isinstance(projection, nn.Linear):
        return projection.in_features, projection.out_features
    weight = projection.weight
    assert isinstance(weight, Tensor)
    # a layer that multiplies from the left: [in, out]
    return weight.shape[0], weight.shape[1]


def _number(module: Any, names: Sequence[str]) -> int | None:
    """The first of these that a module, or its configuration, has."""
    for holder in (module, getattr(module, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and value > 0:
                return value
    return None
