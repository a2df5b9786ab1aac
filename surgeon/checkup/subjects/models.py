"""Whole models, handed in by mistake: which attention is in them?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.projections import known_projections
from surgeon.checkup.subjects.pytorchs import is_pytorchs


def refuse_integers(
    target: Callable[..., Any], title: str, error: SubjectError
) -> None:
    """Refuse what takes integers, which no attention does.

    Parameters
    ----------
    target : callable
        What raised an error where it was given `x`.
    title : str
        Its name.
    error : SubjectError
        What it raised.

    Raises
    ------
    ValueError
        If it takes integers; it says what to hand in instead.
    """
    found = attentions(target)
    if not _wants_integers(target, error, bool(found)):
        return
    one = "one of its attention layers"
    if found:
        said = ", ".join(f"model{path}" for path in found[:2])
        more = f" and {len(found) - 2} more" if len(found) > 2 else ""
        one = f"{one} ({said}{more}), as in examine(model{found[0]})"
    raise ValueError(
        f"subject must be an attention, got {title}, which takes integers,"
        f" as a language model does: hand in {one}; examine_model examines"
        " the whole."
    )


def _wants_integers(
    target: Callable[..., Any], error: SubjectError, attends: bool
) -> bool:
    """Whether that is what its error says, or whether it takes tokens.

    `attends` whether it holds attentions: what begins with an embedding then
    is a language model, though it should want more than tokens.
    """
    said = str(error)
    if "indices" in said and ("Long" in said or "integ" in said):
        return True
    if not isinstance(target, nn.Module):
        return False
    if not any(isinstance(m, nn.Embedding) for m in target.modules()):
        return False
    try:
        with torch.no_grad():
            answer(target, torch.zeros(2, 5, dtype=torch.long))
    except SubjectError:
        leaves = (m for m in target.modules() if not any(m.children()))
        return attends and isinstance(next(leaves, None), nn.Embedding)
    return True


def attentions(model: Any) -> list[str]:
    """Where a model's attentions are, written as Python: `.layers[0].attn`.

    Those by which none other is held.
    """
    if not isinstance(model, nn.Module):
        return []
    paths = [
        path
        for path, module in model.named_modules()
        if path and _is_attention(module)
    ]
    outer = [
        path
        for path in paths
        if not any(path.startswith(f"{other}.") for other in paths)
    ]
    return [_written(path) for path in outer]


def _is_attention(module: nn.Module) -> bool:
    by_name = type(module).__name__.lower().endswith(("attention", "attn"))
    return bool(
        by_name
        or is_pytorchs(module, "MultiheadAttention")
        or known_projections(module)
    )


def _written(path: str) -> str:
    """`layers.0.attn` as `.layers[0].attn`."""
    steps = path.split(".")
    return "".join(f"[{s}]" if s.isdigit() else f".{s}" for s in steps)
