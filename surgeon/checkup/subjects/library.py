"""Attentions of the library transformers, by their class and configuration.

The library is not imported here: whoever hands in one of its layers has done
so.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

from torch import Tensor, nn

from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.declaration import Declaration
from surgeon.checkup.subjects.places import (
    HALVES,
    Beside,
    Places,
    library_kind,
    places_of,
)
from surgeon.checkup.subjects.projections import (
    HEADS,
    KV_HEADS,
    known_projections,
    number,
)

FUSED = {
    "gpt2": "3 H d",
    "phi3": "3 H d",
    "gpt_neox": "H 3 d",
    "bloom": "H 3 d",
}
# The models of which it is known what a configuration comes to
KNOWN = (
    *HALVES,
    *("bert", "roberta", "distilbert", "gpt2", "opt", "bloom", "t5"),
    *("bart", "vit", "clip", "whisper"),
)
# Norms of queries and keys, each head for itself and before the rotation
NORMED = ("qwen3", "gemma3", "phi")
CAPPED = ("gemma2",)


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What is known of one of the library's attentions.

    Parameters
    ----------
    found : tuple of str
        Its projections.
    declared : Declaration
        What the caller said, and what the configuration says besides.
    beside : callable
        What it wants besides `x` and a mask, of B, T and a precision.
    square : bool
        Whether its places are those of one sequence.
    said : list of str
        Sentences for the portrait.
    """

    found: tuple[str, ...]
    declared: Declaration
    beside: Beside
    square: bool
    said: list[str] = field(default_factory=list)


def of_transformers(module: Any, declared: Declaration) -> Recognised | None:
    """What is known of it, if it is one of the library's attentions.

    Or a layer of the library that holds just one.
    """
    kind = library_kind(module)
    named = declared.projections not in (None, True)
    if kind is None or named or not isinstance(module, nn.Module):
        return None
    path = _only_attention(module)
    if path is None:
        return None
    inner = module.get_submodule(path)
    family = _family(kind)
    places = Places()
    if not _brings(declared, "position_embeddings", "alibi"):
        places = places_of(inner, family)
    found = _projections(module, path)
    program = _program(inner)
    version = getattr(sys.modules.get("transformers"), "__version__", "?")
    said = [
        f"{type(module).__name__} of transformers {version}, {program}:"
        " declared from its configuration.",
        *(
            [f"Its {path} is examined, and nothing else of the layer."]
            * bool(path)
        ),
        *places.said,
    ]
    if window := _window(inner, family):
        said.append(
            f"Its window of {window} keys is in the mask that the model hands"
            " in: it is not examined here."
        )
    return Recognised(
        found=found,
        declared=_filled(
            inner, declared, family, program, places, fused=len(found) < 3
        ),
        beside=_taken(places.beside, module) if path else places.beside,
        square=places.positions is not None,
        said=said,
    )


def with_masks(module: Any, declared: Declaration) -> Declaration:
    """How a layer of the library reads masks, if it is one."""
    if library_kind(module) is None:
        return declared
    holder = next(
        (m for m in module.modules() if hasattr(m, "config")), module
    )
    return replace(
        declared,
        mask=declared.mask or _masks(_program(holder), _family(type(holder))),
        mask_shape=declared.mask_shape or "B 1 T S",
    )


def _only_attention(module: nn.Module) -> str | None:
    """Where its only attention is; nothing, if it is one itself."""
    if known_projections(module):
        return ""
    paths = [
        path
        for path, inner in module.named_modules()
        if library_kind(inner) and known_projections(inner)
    ]
    return paths[0] if len(paths) == 1 else None


def _projections(module: nn.Module, path: str) -> tuple[str, ...]:
    """The names of its projections, that of the output behind it included.

    As in BERT, where what holds the attention projects its output.
    """
    names = known_projections(module.get_submodule(path))
    inside = f"{path}." if path else ""
    around = path.rpartition(".")[0]
    out = f"{around}.output.dense" if around else "output.dense"
    found = tuple(f"{inside}{name}" for name in names)
    outside = path and out in dict(module.named_modules())
    return (*found, out) if outside and len(found) == 3 else found


def _taken(beside: Beside, module: nn.Module) -> Beside:
    """What it wants, as far as a layer around it has a name for it."""
    names = signature(module.forward).parameters
    return lambda B, T, dtype: {
        name: x for name, x in beside(B, T, dtype).items() if name in names
    }


def _brings(declared: Declaration, *names: str) -> bool:
    """Whether the caller hands in one of these."""
    given = declared.options or {}
    try:
        brought = answer(given, 5) if callable(given) else given
    except SubjectError:  # told where it is asked
        return False
    return any(name in brought for name in names)


def _family(kind: type) -> str:
    """The library's name of the model that a class is of."""
    parts = kind.__module__.split(".")
    return parts[2] if len(parts) > 2 else ""


def _program(holder: Any) -> str:
    """ "eager", "sdpa", ...; the library's layers are eager by themselves."""
    config = getattr(holder, "config", None)
    return getattr(config, "_attn_implementation", None) or "eager"


def _masks(program: str, family: str) -> str:
    """How the library writes masks for a program."""
    added = program != "sdpa" or family == "bloom"
    return "additive, lowest" if added else "True attends"


def _window(inner: Any, family: str) -> int | None:
    """How many keys the mask of its model leaves a query."""
    of_all = getattr(getattr(inner, "config", None), "sliding_window", None)
    own = getattr(inner, "sliding_window", None)
    return own or (of_all if family in ("mistral", "phi3") else None)


def _filled(
    inner: Any,
    declared: Declaration,
    family: str,
    program: str,
    places: Places,
    *,
    fused: bool,
) -> Declaration:
    """What the caller did not say, from the class and the configuration."""
    heads = declared.heads or number(inner, HEADS)
    d = _head_width(inner, heads or 1)
    meant = {
        "positions": places.positions,
        "scale": _scale(inner, d) * places.stretch**2,
        "sink": _number_a_head(inner),
        "qk_norm": _norm(inner) if family in NORMED else None,
        "softcap": (
            getattr(inner, "attn_logit_softcapping", None)
            if family in CAPPED
            else None
        ),
    }
    if math.isclose(meant["scale"], 1 / math.sqrt(d)):
        del meant["scale"]
    said = (
        {}
        if family not in KNOWN
        else {
            name: value
            for name, value in meant.items()
            if value is not None and getattr(declared.meant, name) is None
        }
    )
    return replace(
        declared,
        mask=declared.mask or _masks(program, family),
        mask_shape=declared.mask_shape or "B 1 T S",
        heads=heads,
        kv_heads=declared.kv_heads
        or (number(inner, KV_HEADS) if fused else None),
        fused=declared.fused or FUSED.get(family),
        meant=replace(declared.meant, **said),
    )


def _head_width(inner: Any, heads: int) -> int:
    """How wide a head is."""
    names = (
        "head_dim",
        "attention_head_size",
        "head_size",
        "key_value_proj_dim",
    )
    width = number(inner, ("hidden_size", "embed_dim", "dim", "d_model"))
    return number(inner, names) or (width or heads) // heads


def _scale(inner: Any, d: int) -> float:
    """What it multiplies scores by."""
    for name in ("scaling", "scale", "inv_norm_factor"):
        value = getattr(inner, name, None)
        if isinstance(value, float):
            return value
    return 1 / math.sqrt(d)


def _number_a_head(inner: Any) -> Tensor | None:
    """The sinks, if there are some."""
    sinks = getattr(inner, "sinks", None)
    return sinks.detach().double() if isinstance(sinks, Tensor) else None


def _norm(inner: Any) -> Callable[[Tensor, str], Tensor] | None:
    """The norms of queries and keys, if it has some, in double precision."""
    for name in ("norm", "layernorm"):
        both = [getattr(inner, f"{x}_{name}", None) for x in "qk"]
        if all(both):
            rows = {x: _row(norm) for x, norm in zip("QK", both, strict=True)}
            return lambda x, which: rows[which](x)
    return None


def _row(norm: Any) -> Callable[[Tensor], Tensor]:
    """What a norm makes of the rows of a head."""
    weight = norm.weight.detach().double()
    if isinstance(norm, nn.LayerNorm):
        bias = norm.bias.detach().double()
        return lambda x: nn.functional.layer_norm(
            x, weight.shape, weight.to(x), bias.to(x), norm.eps
        )
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    # Gemma's weights are what is added to one.
    by = weight + 1 if type(norm).__name__.startswith("Gemma") else weight
    return lambda x: x * (x.square().mean(-1, True) + eps).rsqrt() * by.to(x)
