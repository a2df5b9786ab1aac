"""Probes of a mask's edges: stand-ins for minus infinity, padding, rows without a key, more keys than queries."""

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.forms import attend
from surgeon.checkup.sight import random_mask


def probe_outbid(exam: Exam) -> None:
    """One visible key with ever lower a score against hidden keys with a score of 0: does it keep all the weight?"""
    name = "minus infinity"
    if name in exam.findings:
        return
    if exam.broken("large scores"):
        exam.skip(name, why='Cannot be told while "large scores" fails.')
        return
    V = exam.draw()[2]
    for power in range(1, 31):
        try:
            lost = _lost(exam, V, 10.0**power)
        except Exception as error:  # whatever the subject raises
            exam.skip(name, why=f"It refuses large scores: {reason(error)}")
            return
        if lost > 100 * exam.tolerance:
            meaning = (
                f"A hidden score is a finite number between -1e{power - 1}"
                f" and -1e{power}, not minus infinity: visible scores below"
                " it lose."
            )
            exam.note(
                name,
                False,
                f"outbid at -1e{power}",
                "not outbid at -1e30",
                meaning,
            )
            return
    exam.note(name, True, "not outbid at -1e30", "not outbid at -1e30")


def _lost(exam: Exam, V: Tensor, size: float) -> float:
    """Query 0 sees key 0 alone, with score -size; the others would have 0. How far is its output from value 0?"""
    Q, K, _ = (torch.zeros_like(x) for x in exam.draw())
    Q[..., 0], K[:, :, 0, 0] = size / exam.factor, -1.0
    if exam.subject.mask == "none":
        got = exam.ask_causal(Q, K, V)
    else:
        first = torch.zeros(exam.T, exam.T, dtype=torch.bool)
        first[:, 0] = True
        got = exam.ask(Q, K, V, first)
    return exam.off(got[:, :, 0], exam.spread(V[:, :, :1])[:, :, 0])


def probe_padding(exam: Exam) -> None:
    """As many sequences as tokens, of different lengths: whose keys are hidden from whom?"""
    name, T = "padding on keys", exam.T
    if name in exam.findings:
        return
    inputs = exam.draw(T, T, T)
    real = torch.arange(T) < torch.arange(1, T + 1)[:, None]  # [B, S]
    try:
        if exam.subject.padding:
            got = exam.ask(*inputs, padding=real)
        elif exam.subject.mask_shape in ("", "T S"):
            raise ValueError(
                "it takes one mask for all sequences, and no padding"
            )
        else:
            got = exam.ask(*inputs, real[:, None, None].expand(T, 1, T, T))
    except Exception as error:  # whatever the subject raises
        exam.skip(
            name, why=f"It takes no mask of each sequence: {reason(error)}"
        )
        return
    base = (
        torch.ones(T, T, dtype=torch.bool) if exam.base is None else exam.base
    )
    keys, queries = real[:, None, None] & base, real[:, None, :, None] & base
    right = attend(*inputs, keys, **exam.how)
    if exam.agree(got, right):
        exam.note(name, True, "agrees to rounding", "agrees with the formula")
        return
    wrong = {
        "Padding is applied to the queries, and no key is hidden.": attend(
            *inputs, queries, **exam.how
        ),
        "Padding is applied to the queries: their outputs are blanked, and no key is hidden.": (
            attend(*inputs, base, **exam.how) * real[:, None, :, None]
        ),
        "Padding of sequence i is applied to query i of all: a mask (batch, keys) is taken for (queries, keys).": attend(
            *inputs, real & base, **exam.how
        ),
        "Padding has no effect: no key is hidden.": attend(
            *inputs, base, **exam.how
        ),
        "Padding is inverted: real keys are hidden, and padding is seen.": (
            attend(*inputs, ~real[:, None, None] & base, **exam.how)
        ),
    }
    meaning = next(
        (said for said, form in wrong.items() if exam.agree(got, form)),
        "Padding acts in no known way.",
    )
    exam.note(name, False, "differs", "agrees with the formula", meaning)


def probe_dead_rows(exam: Exam) -> None:
    """One query may look at nothing: what does it give, and what does it send back?"""
    forward, backward, row = "dead rows, forward", "dead rows, backward", 2
    if exam.subject.mask == "none":
        exam.skip(
            forward,
            backward,
            why="The subject takes no mask, so that no row can be emptied.",
        )
        return
    if exam.broken("minus infinity"):
        exam.skip(
            forward,
            backward,
            why=(
                "Follows from the finite number that stands for minus"
                " infinity."
            ),
        )
        return
    mask = random_mask(exam)
    mask[row] = False
    Q, K, V = (x.requires_grad_() for x in exam.draw())
    try:
        output = exam.subject.ask(Q, K, V, mask).output
    except Exception as error:  # whatever the subject raises
        exam.skip(
            forward,
            backward,
            why=f"It refuses a row with nothing to look at: {reason(error)}",
        )
        return
    seen = output.detach().double()
    dead = seen[:, :, row]
    uniform = exam.spread(V).mean(2)
    kind = (
        "nan"
        if dead.isnan().any()
        else (
            "zero"
            if not dead.any()
            else "uniform"
            if exam.agree(dead, uniform)
            else "other"
        )
    )
    said = {
        "nan": "A row that may look at nothing gives NaN.",
        "zero": "A row that may look at nothing gives zeros.",
        "uniform": (
            "A row that may look at nothing looks at everything, evenly:"
            " hidden values leak."
        ),
        "other": (
            "A row that may look at nothing gives numbers, neither zero nor"
            " the mean of the values."
        ),
    }
    expected = exam.dead_rows
    right = exam.form(mask if exam.base is None else mask & exam.base)
    if not exam.agree(seen, right(Q.detach(), K.detach(), V.detach())):
        exam.note(
            forward,
            False,
            "other rows differ",
            "other rows unharmed",
            "A row without keys harms the others.",
        )
    exam.note(forward, expected in ("any", kind), kind, expected, said[kind])
    if kind == "nan":
        exam.skip(backward, why="Follows from the NaN of the output.")
        return
    if not output.requires_grad:
        exam.skip(backward, why="No gradient flows.")
        return
    gradients = torch.autograd.grad(
        output.sum(), (Q, K, V), materialize_grads=True
    )
    bad = [
        n
        for n, x in zip("QKV", gradients, strict=True)
        if not x.isfinite().all()
    ]
    meaning = (
        f"The output is finite, but the gradients of {', '.join(bad)} are"
        " NaN."
        if bad
        else ""
    )
    exam.note(
        backward,
        not bad,
        f"NaN in {', '.join(bad)}" if bad else "finite",
        "finite",
        meaning,
    )


def probe_rectangular(exam: Exam) -> None:
    """Three queries, seven keys, and the causal flag: where does the diagonal end?"""
    name, T, S = "rectangular causal", 3, 7
    if name in exam.findings:
        return
    if not exam.subject.causal or exam.subject.flag_beside_mask:
        exam.skip(
            name,
            why=(
                "The subject draws no causal mask: the caller's mask says who"
                " sees whom."
            ),
        )
        return
    inputs = exam.draw(T, S)
    try:
        if not exam.subject.rectangular:
            raise ValueError("it takes as many keys as queries")
        got = exam.ask(*inputs, causal=True)
    except Exception as error:  # whatever the subject raises
        exam.skip(
            name, why=f"It takes no more keys than queries: {reason(error)}"
        )
        return
    ones = torch.ones(T, S, dtype=torch.bool)
    forms = {"top-left": ones.tril(), "bottom-right": ones.tril(S - T)}
    said = {
        "top-left": (
            "The first query sees the first key alone, and the last keys are"
            " seen by nobody."
        ),
        "bottom-right": (
            "The last query sees every key, as when tokens follow a cache."
        ),
    }
    found = next(
        (
            n
            for n, m in forms.items()
            if exam.agree(got, attend(*inputs, m, **exam.how))
        ),
        "neither",
    )
    meaning = (
        f"Aligned {found}:"
        f" {said.get(found, 'the causal mask agrees with neither convention.')}"
    )
    exam.note(
        name,
        found == exam.alignment
        or (exam.alignment == "any" and found in forms),
        found,
        exam.alignment,
        meaning,
    )
