"""Which adapter a subject needs."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from surgeon.checkup.subjects.conventions import (
    check_documents,
    mask_argument,
)
from surgeon.checkup.subjects.declaration import Declaration, Held
from surgeon.checkup.subjects.library import Recognised
from surgeon.checkup.subjects.projections import (
    known_projections,
    takes_x,
)
from surgeon.checkup.subjects.pytorchs import pytorchs_own
from surgeon.checkup.subjects.subject import Subject, by_argument
from surgeon.checkup.subjects.tapped import tapped


def hold(
    subject: Callable[..., Any],
    declared: Declaration,
    known: Recognised | None = None,
) -> Subject | None:
    """The subject with its adapter: a function, a module, or PyTorch's own.

    None for a module on `x` whose projections are not known.

    Raises
    ------
    Aside
        If it does not go through the projections that it has.
    ValueError
        If it is nothing that can be held, or not as declared.
    """
    title = title_of(subject)
    probed = declared.projections is not False
    own = None
    if isinstance(subject, nn.Module) and probed:
        own = pytorchs_own(subject, title, declared)
    if own:
        return own
    if title == "scaled_dot_product_attention":
        declared = _as_pytorch_calls_it(declared)
    held = arguments(subject, declared)
    if isinstance(subject, nn.Module) and probed:
        given = declared.projections
        found = tuple(given) if isinstance(given, (tuple, list)) else ()
        found = found or (known.found if known else ())
        found = found or known_projections(subject)
        if found:
            return tapped(subject, title, found, declared, held, known)
    if isinstance(subject, nn.Module):
        if _hides_matrices(subject, declared):
            return None
        subject = copy.deepcopy(subject).eval()
    call = by_argument(declared.names, held.mask_name)
    return Subject(subject, call, title, _with_heads(held, declared))


def _hides_matrices(module: nn.Module, declared: Declaration) -> bool:
    """Whether it cannot be asked with Q, K and V.

    As it takes `x`, or multiplies them by matrices that nobody named.
    """
    if "Q" in declared.names:
        return False
    if takes_x(module):
        return True
    own = any(x.ndim > 1 for x in module.parameters())
    return own and declared.layout is None


def title_of(subject: Any) -> str:
    """What a subject is called, if it is one."""
    kind = type(subject).__name__
    if not callable(subject):
        raise ValueError(f"subject must be callable, got {kind}.")
    if isinstance(subject, type):
        raise ValueError(
            "subject must be a function or an instance, got the class"
            f" {subject.__name__}."
        )
    return getattr(subject, "__name__", None) or kind


def _as_pytorch_calls_it(declared: Declaration) -> Declaration:
    """What PyTorch documents for `scaled_dot_product_attention`."""
    return replace(
        declared,
        layout=declared.layout or "B H T d",
        names={"mask": "attn_mask", **declared.names},
        causal=declared.causal or "is_causal",
        dropout=declared.dropout or "dropout_p",
    )


def arguments(subject: Callable[..., Any], declared: Declaration) -> Held:
    """What it takes besides Q, K and V, as far as its signature says."""
    asked = getattr(subject, "forward", subject)
    check_documents(asked, title_of(subject), declared.meant.documents)
    known = [declared.padding, declared.causal, declared.dropout]
    others = [*known, declared.meant.documents]
    named = declared.names.get("mask")
    takes, name, needed = mask_argument(asked, named, others)
    mask = declared.convention or ("True attends" if takes else "none")
    held = Held(
        mask=mask,
        mask_name=name,
        mask_needed=needed,
        mask_shape=declared.mask_shape or "",
        padding=declared.padding,
        causal=declared.causal,
        dropout=declared.dropout,
        documents=declared.meant.documents,
        options=declared.options,
    )
    if not declared.padding or takes or _has_fourth(asked, set(known)):
        return held
    reads = declared.convention or "True attends"
    return replace(held, mask="none", padding_reads=reads)


def _has_fourth(function: Callable[..., Any], known: set[Any]) -> bool:
    """Whether there is a fourth place, besides the arguments we know."""
    by_place = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    parameters = inspect.signature(function).parameters.values()
    free = [p for p in parameters if p.kind in by_place]
    return sum(p.name not in known for p in free) > 3


def _with_heads(held: Held, declared: Declaration) -> Held:
    """The layout and the numbers of heads to ask with."""
    many = (declared.heads or 1) > 1
    layout = declared.layout or ("B H T d" if many else "B T d")
    usual = 1 if "H" not in layout else 6 if declared.kv_heads else 3
    heads = declared.heads or usual
    return replace(
        held,
        layout=layout,
        heads=heads,
        kv_heads=declared.kv_heads or heads,
        widths=declared.widths,
    )
