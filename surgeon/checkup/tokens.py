"""A layer on `x` whose projections are not known: what can be told from who reaches whom."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.adapter import apart
from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.finding import RAISES
from surgeon.checkup.layer import Layer
from surgeon.checkup.sight import SIGHT, reach

UNKNOWN = (
    "Needs Q, K and V apart: name the module's projections to have it told."
)


def examine_layer(exam: Exam, layer: Layer) -> None:
    """Fill in every finding that needs no knowledge of the projections."""
    exam.dtype, B, T = torch.float32, 2, 5
    if isinstance(layer.target, nn.Module):
        for parameter in layer.target.parameters():
            exam.dtype = parameter.dtype
            break
    x = torch.randn(
        B, T, layer.width, generator=exam.generator, dtype=torch.float64
    ).to(exam.dtype)
    ask = lambda *given, **how: _plain(layer, *given, **how)
    try:
        whole = ask(x)
    except Exception as error:  # whatever the subject raises
        exam.note(
            "answers",
            False,
            "an error",
            "an output",
            f"It raises an error: {reason(error)}",
        )
        exam.skip_rest("Cannot be told: the subject does not answer.")
        return
    slack = exam.tolerance * max(1.0, float(whole.abs().max()))
    exam.note(
        "answers", True, str(exam.dtype).removeprefix("torch."), "an output"
    )
    again = max(float((ask(x, seed=s) - whole).abs().max()) for s in (1, 2))
    if not again <= slack:
        exam.note(
            "same answer twice",
            False,
            again,
            0.0,
            "Dropout is active outside training.",
        )
        exam.skip(
            "random state",
            why="The draws are those of a dropout that should be off.",
        )
        exam.skip_rest("Cannot be told while answers are random.")
        return
    exam.note("same answer twice", True, again, 0.0)
    other = torch.cat([x[:1], -0.7 * x[1:]])
    mixed = float((ask(other)[0] - whole[0]).abs().max())
    meaning = (
        "An output changes with another sequence of the batch."
        if mixed > slack
        else ""
    )
    exam.note("batch elements apart", not meaning, mixed, slack, meaning)
    strided = float((ask(x.mT.contiguous().mT) - whole).abs().max())
    meaning = (
        "Inputs that are not contiguous are read as if they were."
        if strided > slack
        else ""
    )
    exam.note("strided inputs", not meaning, strided, slack, meaning)
    with apart(5):
        before = torch.get_rng_state()
        ask(x, seed=None)
        touched = not torch.equal(torch.get_rng_state(), before)
    meaning = (
        "The global generator of PyTorch is drawn from or seeded."
        if touched
        else ""
    )
    exam.note(
        "random state",
        not touched,
        "touched" if touched else "untouched",
        "untouched",
        meaning,
    )
    _inputs(exam, layer, x)
    _order(exam, layer, x, whole, slack)
    exam.trying = "future, evaluating"
    _sight(exam, layer, x)
    if layer.holder.padding:
        _padding(exam, layer, x, slack)
    exam.skip_rest(UNKNOWN)


def _inputs(exam: Exam, layer: Layer, x: Tensor) -> None:
    """Do `x` and the mask still hold what they held?"""
    try:
        _plain(
            layer,
            x,
            exam.causal(x.shape[1]) if layer.holder.mask != "none" else None,
        )
    except Exception:  # a mask that it refuses: told elsewhere
        _plain(layer, x)
    changed = [
        "the mask" if name == layer.holder.mask_name else name
        for name in layer.written()
    ]
    meaning = f"It writes into {' and '.join(changed)}." if changed else ""
    exam.note(
        "inputs unchanged",
        not changed,
        ", ".join(changed) or "unchanged",
        "unchanged",
        meaning,
    )


def _padding(exam: Exam, layer: Layer, x: Tensor, slack: float) -> None:
    """The last tokens of the first sequence are padding: do they reach the others, and do the others reach them?"""
    name, real = "padding on keys", torch.ones(x.shape[:2], dtype=torch.bool)
    real[0, -2:] = False
    last, first = x.clone(), x.clone()
    last[0, -2:] *= -0.7
    first[0, 0] *= -0.7
    try:
        still, moved, seen = (
            _plain(layer, z, padding=real)[0] for z in (x, last, first)
        )
    except Exception as error:  # whatever the subject raises
        exam.skip(name, why=f"{RAISES}{reason(error)}")
        return
    leak, sight = (
        float((moved - still)[:-2].abs().max()),
        float((seen - still)[1:-2].abs().max()),
    )
    meaning = ""
    if not leak <= slack:
        meaning = (
            "Padding reaches the tokens beside it: it hides nothing, or other"
            " keys."
        )
    elif not sight > slack and not layer.holder.causal:
        meaning = "Real tokens are hidden by the padding of others."
    exam.note(name, not meaning, leak, slack, meaning)


def _plain(
    layer: Layer, x: Tensor, allowed: Tensor | None = None, **how: Any
) -> Tensor:
    with torch.no_grad():
        return layer.ask(x, allowed, **how)


def _order(
    exam: Exam, layer: Layer, x: Tensor, whole: Tensor, slack: float
) -> None:
    """Without a mask and without positions, tokens in another order give outputs in that order."""
    if layer.holder.causal:
        return
    order = torch.randperm(x.shape[1], generator=exam.generator)
    off = float((_plain(layer, x[:, order]) - whole[:, order]).abs().max())
    if off > slack:
        meaning = (
            "The order of tokens matters without a mask: tokens are mixed"
            " where heads are split, or places are known."
        )
        exam.note("known form", False, off, slack, meaning)


def _sight(exam: Exam, layer: Layer, x: Tensor) -> None:
    """Maps with a causal mask, in both modes, and what they look like."""
    T, takes = x.shape[1], layer.holder.mask != "none"
    if not takes and not layer.holder.causal:
        blind = [
            name
            for name in SIGHT
            if name != "padding on keys" or not layer.holder.padding
        ]
        exam.skip(
            *blind,
            why="The subject takes no mask and is not said to be causal.",
        )
        return
    mask = exam.causal(T) if takes and not layer.holder.causal else None
    maps = {}
    for train, name in (
        (True, "future, training"),
        (False, "future, evaluating"),
    ):
        if not train or isinstance(layer.target, nn.Module):
            try:
                maps[name] = reach(
                    lambda z, t=train: layer.ask(
                        z[None], mask, train=t, seed=3
                    )[0],
                    x[0],
                    exam.tolerance,
                )
            except Exception as error:  # whatever the subject raises
                exam.note(
                    "mask obeyed",
                    False,
                    "an error",
                    "an output",
                    f"It refuses a mask: {reason(error)}",
                )
                return
    seen = {name: found > 0 for name, found in maps.items()}
    leaks = {
        name: float(found.nan_to_num(nan=math.inf).triu(1).max())
        for name, found in maps.items()
    }
    ones = torch.ones(T, T, dtype=torch.bool)
    known = {
        (
            "mask obeyed",
            "The mask has no effect: everyone sees everything.",
        ): ones,
        (
            "mask polarity",
            "The mask hides the past and shows the future.",
        ): ones.triu(),
        (
            "mask polarity",
            "What the mask hides is seen, and what it shows is hidden.",
        ): ones.triu(1),
        (
            "mask diagonal",
            "The mask is one place too wide: each token sees the next one.",
        ): ones.tril(1),
    }
    if len({value > 0 for value in leaks.values()}) == 1:
        for (name, meaning), pattern in known.items():
            # A query always reaches its own output; the row of a token that
            # sees nothing may be NaN.
            if (
                all(
                    torch.equal(s | eye(T), pattern | eye(T))
                    for s in seen.values()
                )
                and leaks["future, evaluating"] > 0
            ):
                exam.note(
                    name,
                    False,
                    "its map",
                    "nothing above the diagonal",
                    meaning,
                )
                for future, found in maps.items():
                    exam.note(
                        future,
                        None,
                        leaks[future],
                        0.0,
                        f'Follows from "{name}".',
                        found,
                    )
                return
    for name, found in maps.items():
        meaning = "Outputs depend on later tokens." if leaks[name] > 0 else ""
        exam.note(name, not meaning, leaks[name], 0.0, meaning, found)
    if not any(leaks.values()):
        exam.note(
            "mask obeyed",
            True,
            "nothing above the diagonal",
            "nothing above the diagonal",
        )
        if all(
            found.tril(-1).count_nonzero() == T * (T - 1) // 2
            for found in maps.values()
        ):
            exam.note(
                "mask polarity",
                True,
                "all below the diagonal",
                "all below the diagonal",
            )
            if mask is not None:
                _dead_row(exam, layer, x)


def _dead_row(exam: Exam, layer: Layer, x: Tensor) -> None:
    """One query may look at nothing: is its output a number, and does any other token reach it?"""
    forward, backward, row, T = (
        "dead rows, forward",
        "dead rows, backward",
        2,
        x.shape[1],
    )
    mask = exam.causal(T)
    mask[row] = False
    x = x[:1].clone().requires_grad_()
    try:
        output = layer.ask(x, mask)[0]
    except Exception as error:  # whatever the subject raises
        exam.skip(
            forward,
            backward,
            why=f"It refuses a row with nothing to look at: {reason(error)}",
        )
        return
    if output[row].isnan().any():
        measured, meaning = "nan", "A row that may look at nothing gives NaN."
        exam.note(
            forward,
            exam.dead_rows in ("any", "nan"),
            measured,
            exam.dead_rows,
            meaning,
        )
        exam.skip(backward, why="Follows from the NaN of the output.")
        return
    if not output.requires_grad:
        exam.skip(forward, backward, why="No gradient flows.")
        return
    (reached,) = torch.autograd.grad(output[row].sum(), x, retain_graph=True)
    others = float(
        reached[0, torch.arange(T) != row].nan_to_num().abs().max()
    )
    kind = "uniform" if others > 0 else "zero"
    meaning = (
        "A row that may look at nothing looks at others all the same."
        if others > 0
        else ""
    )
    exam.note(
        forward,
        exam.dead_rows in ("any", kind),
        kind,
        exam.dead_rows,
        meaning,
    )
    (gradient,) = torch.autograd.grad(output.sum(), x)
    bad = not gradient.isfinite().all()
    meaning = (
        "The output is finite, but the gradient of x is NaN." if bad else ""
    )
    exam.note(
        backward, not bad, "NaN" if bad else "finite", "finite", meaning
    )


def eye(T: int) -> Tensor:
    return torch.eye(T, dtype=torch.bool)
