"""Which adapter a subject needs: functions of Q, K and V, modules by their projections, PyTorch's own."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from surgeon.arguments import positive_integer
from surgeon.checkup.adapter import (
    LAYOUTS,
    MASKS,
    SHAPES,
    Subject,
    mask_argument,
)
from surgeon.checkup.projections import (
    known_projections,
    pytorch_module,
    takes_x,
    tapped,
)

Options = Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None


def hold(
    subject: Callable[..., Any],
    *,
    layout: str | None,
    names: Mapping[str, str] | None,
    mask: str | None,
    mask_shape: str | None,
    padding: str | None,
    causal: str | bool | None,
    dropout: str | None,
    heads: int | None,
    kv_heads: int | None,
    projections: Sequence[str] | bool | None,
    widths: tuple[int, int] | None,
    options: Options,
) -> Subject | None:
    """The subject with its adapter; None for a module on `x` whose projections are not known.

    Raises
    ------
    ValueError
        As `surgeon.examine`.
    """
    if not callable(subject):
        raise ValueError(
            f"subject must be callable, got {type(subject).__name__}."
        )
    if isinstance(subject, type):
        raise ValueError(
            "subject must be a function or an instance, got the class"
            f" {subject.__name__}."
        )
    _one_of("layout", layout, LAYOUTS)
    _one_of("mask", mask, (*MASKS, "find", "none"))
    _one_of("mask_shape", mask_shape, SHAPES)
    for name, number in (("heads", heads), ("kv_heads", kv_heads)):
        if number is not None:
            positive_integer(name, number)
    if layout is not None and "H" not in layout and (heads or 1) > 1:
        raise ValueError(
            f"layout must have an axis H for {heads} heads, got {layout!r}."
        )
    if heads and kv_heads and heads % kv_heads:
        raise ValueError(
            f"kv_heads must divide heads ({heads}), got {kv_heads}."
        )
    for number in widths or ():
        positive_integer("widths", number)
    names = dict(names or {})
    strange = set(names) - {"Q", "K", "V", "mask", "x", "context"}
    if strange:
        raise ValueError(
            "names must have keys among Q, K, V, mask, x and context, got"
            f" {sorted(strange)}."
        )
    given: dict[str, Any] = {
        "padding": padding,
        "causal": causal,
        "dropout": dropout,
        "options": options,
    }
    if mask_shape:
        given["mask_shape"] = mask_shape
    title = getattr(subject, "__name__", None) or type(subject).__name__
    if _is(subject, "MultiheadAttention") and projections is not False:
        return pytorch_module(subject, title, mask, given)
    if title == "scaled_dot_product_attention":
        layout, names = layout or "B H T d", {"mask": "attn_mask", **names}
        given["causal"], given["dropout"] = (
            causal or "is_causal",
            dropout or "dropout_p",
        )
    asked = getattr(subject, "forward", subject)
    takes, given["mask_name"], given["mask_needed"] = mask_argument(
        asked, names.get("mask")
    )
    if (
        padding
        and not takes
        and not _fourth(asked, {padding, causal, dropout})
    ):
        given["padding_reads"], mask = mask or "True attends", "none"
    given["mask"] = mask or ("True attends" if takes else "none")
    if isinstance(subject, nn.Module) and projections is not False:
        found = (
            tuple(projections)
            if isinstance(projections, (tuple, list))
            else known_projections(subject)
        )
        if found:
            return tapped(
                subject, title, found, names, given, heads, kv_heads
            )
    if (
        isinstance(subject, nn.Module)
        and takes_x(subject)
        and "Q" not in names
    ):
        return None
    layout = layout or ("B H T d" if heads and heads > 1 else "B T d")
    heads = heads or (1 if "H" not in layout else 6 if kv_heads else 3)
    target = (
        copy.deepcopy(subject).eval()
        if isinstance(subject, nn.Module)
        else subject
    )
    call = _by_names(names, given)
    return Subject(
        target,
        call,
        title,
        layout=layout,
        heads=heads,
        kv_heads=kv_heads,
        widths=widths,
        **given,
    )


def _fourth(function: Callable[..., Any], known: set[Any]) -> bool:
    """Whether a callable has a fourth place, for a mask, besides the arguments that are known."""
    parameters = inspect.signature(function).parameters.values()
    return (
        sum(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            and p.name not in known
            for p in parameters
        )
        > 3
    )


def _by_names(
    names: Mapping[str, str], given: Mapping[str, Any]
) -> Callable[..., Any]:
    """Call with Q, K and V, by place or by name; a mask that has no name goes fourth."""

    def call(
        target: Callable[..., Any],
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        placed = [
            x
            for name, x in (("Q", Q), ("K", K), ("V", V))
            if name not in names
        ]
        named = {
            names[name]: x
            for name, x in (("Q", Q), ("K", K), ("V", V))
            if name in names
        }
        if given["mask_name"] is None and "mask" in extras:
            placed.append(extras.pop("mask"))
        return target(*placed, **named, **extras)

    return call


def _is(subject: Any, name: str) -> bool:
    return any(
        cls.__name__ == name and cls.__module__.startswith("torch.nn")
        for cls in type(subject).__mro__
    )


def _one_of(name: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, known))}, got"
            f" {value!r}."
        )
