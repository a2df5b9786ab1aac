"""Modules on `x`, held by their projections.

How many heads do they have, how are they called, and in which order are the
three of one projection?
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import Aside, SubjectError
from surgeon.checkup.subjects.declaration import Declaration, Held
from surgeon.checkup.subjects.fused import find_order
from surgeon.checkup.subjects.library import Recognised
from surgeon.checkup.subjects.projections import (
    HEADS,
    KV_HEADS,
    check_projections,
    context_of,
    number,
    sizes,
    wants_three,
)
from surgeon.checkup.subjects.subject import Subject
from surgeon.checkup.subjects.supplies import supplies
from surgeon.checkup.subjects.taps import Taps, without

ASIDE = (
    "It leaves its projections aside where queries, keys and values are not"
    " one and the same."
)


def tapped(
    module: nn.Module,
    title: str,
    found: Sequence[str],
    declared: Declaration,
    held: Held,
    known: Recognised | None = None,
) -> Subject:
    """A module that is entered and left at its projections.

    Parameters
    ----------
    module : torch.nn.Module
        What is examined.
    title : str
        Its name, for the report.
    found : sequence of str
        Its projections.
    declared, held
        What is said of it, and what it takes besides Q, K and V.
    known : Recognised, optional
        What is known besides, where it is of a known library.

    Raises
    ------
    Aside
        If it does not go through them at all.
    ValueError
        If nobody says how many heads it has.
    """
    check_projections(module, title, found)
    heads = declared.heads or number(module, HEADS)
    if not heads:
        raise ValueError(
            f"heads must be given: {title} does not tell how many it has."
        )
    fused = len(found) < 3
    counts, widths = _counts(module, found, declared, heads)
    taps = Taps(
        entries=(found[0],) if fused else tuple(found[:3]),
        way_out=found[-1] if len(found) in (2, 4) else None,
        width=sizes(module.get_submodule(found[0]))[0],
        counts=counts,
        order=declared.fused or "3 H d",
        three=wants_three(module) and not held.options and not known,
        context=(
            None
            if known and known.square
            else declared.names.get("context") or context_of(module)
        ),
        beside=known.beside if known else None,
    )
    layout = str(declared.layout)
    held = replace(
        held,
        layout=layout if layout == "T B (H d)" else "B T (H d)",
        heads=counts[0],
        kv_heads=counts[1],
        widths=widths,
        rectangular=bool(taps.three or taps.context),
    )
    asked = Subject(without(module, found), taps, title, held)
    asked.said += known.said if known else []
    taps = _enter(asked, taps, find=fused and not declared.fused)
    how = f", in the order {taps.order}" if fused else ""
    asked.title = f"{title} (probed at {', '.join(found)}{how})"
    return asked


def _counts(
    module: nn.Module,
    found: Sequence[str],
    declared: Declaration,
    heads: int,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Heads of queries and of keys, and the widths of a key and a value."""
    made = [sizes(module.get_submodule(name)) for name in found]
    if len(found) > 2:
        d = max(1, made[0][1] // heads)
        groups = declared.kv_heads or max(1, made[1][1] // d)
        return (heads, groups), (d, made[2][1] // groups)
    kv_heads = declared.kv_heads or number(module, KV_HEADS)
    whole = made[0][1]
    if not kv_heads and len(found) == 2:  # what the output is made of
        d = max(1, made[1][0] // heads)
        kv_heads = max(1, (whole // d - heads) // 2)
    kv_heads = kv_heads or heads
    d = whole // (heads + 2 * kv_heads)
    return (heads, kv_heads), (d, d)


def _enter(subject: Subject, taps: Taps, *, find: bool) -> Taps:
    """Settle how it is entered.

    With three sequences, or with one thrice; with what it wants besides; and
    the order of its three, if that is to be found. What it raises all the
    same is told where it is asked.
    """
    try:
        answers = _answers(subject)
    except Aside:
        if not taps.three:
            raise
        taps = subject.call = replace(taps, same=True)
        answers = _answers(subject)
        subject.change(rectangular=False, why_square=ASIDE)
        subject.said.append(ASIDE)
    if not answers and taps.context:
        taps = subject.call = replace(taps, crosses=True)
        answers = _answers(subject)
    return _with_order(subject, taps) if answers and find else taps


def _answers(subject: Subject) -> bool:
    """Whether it answers, with what it wants besides `x`."""
    if _asked(subject):
        return True
    held, target = subject.held, subject.target
    if held.options or not isinstance(target, nn.Module):
        return False
    d_k, _ = held.widths or (1, 1)
    for supply, said in supplies(target, d_k):
        subject.change(options=supply)
        if _asked(subject):
            subject.said += [said] if said else []
            return True
    subject.change(options=None)
    return False


def _asked(subject: Subject) -> bool:
    """Whether it answers, in float64 or else in float32."""
    held = subject.held
    (H, G), (d_k, d_v) = (held.heads, held.kv_heads), held.widths or (1, 1)
    sizes = ((H, d_k), (G, d_k), (G, d_v))
    for dtype in (torch.float64, torch.float32):
        inputs = [torch.ones(2, n, 5, d, dtype=dtype) for n, d in sizes]
        try:
            subject.ask(*inputs)
        except Aside:
            raise
        except SubjectError:
            continue
        return True
    return False


def _with_order(subject: Subject, taps: Taps) -> Taps:
    """In the order in which the three of one projection act as such."""
    held = subject.held
    counts = (held.heads, held.kv_heads, held.kv_heads)

    def ask(Q: Tensor, K: Tensor, V: Tensor, order: str) -> Tensor:
        subject.call = replace(taps, order=order)
        apart = [
            x.unflatten(-1, (n, -1)).transpose(1, 2)
            for x, n in zip((Q, K, V), counts, strict=True)
        ]
        with torch.no_grad():
            got = subject.ask(*apart).output
        return got.transpose(1, 2).flatten(2)

    d, _ = held.widths or (1, 1)
    shape = (2, 5, held.heads, held.kv_heads, d)
    found = [
        find_order(ask, shape, x) for x in (torch.float64, torch.float32)
    ]
    order = next((one for one in found if one), "")
    if not order:
        subject.said.append(
            "In no usual order does its one projection act as queries, keys"
            f" and values: {taps.order} is taken. Say fused if it is another."
        )
    subject.call = replace(taps, order=order or taps.order)
    return subject.call
