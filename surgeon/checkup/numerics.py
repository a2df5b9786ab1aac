"""Probes of arithmetic: large scores, half precision, and what the weights that are handed back are worth."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import attend

NUMERICS = (
    "weights returned",
    "gradients",
    "large scores",
    "scale before overflow",
    "half precision",
)
HALVES = (torch.float16, torch.bfloat16)


def probe_weights(exam: Exam) -> None:
    """Without a mask and, where there is one, with a causal mask: are these the weights of the formula?"""
    name = "weights returned"
    asks: list[Tensor | None] = [None]
    if exam.subject.mask != "none" and not exam.broken(
        *READING, *FUTURE, "known form"
    ):
        asks.append(exam.causal(exam.T))
    worst = 0.0
    for allowed in asks:
        Q, K, V = exam.draw()
        with torch.no_grad():
            given = exam.subject.ask(Q, K, V, allowed).weights
        if given is None:
            exam.skip(name, why="It hands back no weights [queries, keys].")
            return
        right = exam.weights(Q, K, allowed)
        if given.shape[1] == 1:
            right = right.mean(1, keepdim=True)
        worst = max(worst, exam.off(given.double(), right))
    meaning = (
        "The weights handed back are not those that multiplied the values."
        if worst > 10 * exam.tolerance
        else ""
    )
    exam.note(name, not meaning, worst, 10 * exam.tolerance, meaning)


def probe_gradients(exam: Exam) -> None:
    """Of a weighted sum of the outputs, behind a causal mask where there is one."""
    name = "gradients"
    masked = exam.subject.mask != "none" and not exam.broken(
        *READING, *FUTURE
    )
    allowed = exam.causal(exam.T) if masked else None
    inputs = Q, K, V = tuple(x.requires_grad_() for x in exam.draw())
    twins = [x.detach().double().requires_grad_() for x in inputs]
    output = exam.subject.ask(Q, K, V, allowed).output
    if not output.requires_grad:
        exam.note(
            name,
            False,
            "none",
            "those of the formula",
            "No gradient reaches the inputs.",
        )
        return
    direction = torch.randn(
        output.shape, generator=exam.generator, dtype=torch.float64
    )
    got = torch.autograd.grad(
        (output.double() * direction).sum(), inputs, materialize_grads=True
    )
    right = torch.autograd.grad(
        (exam.form(allowed)(*twins) * direction).sum(), twins
    )
    pairs = zip("QKV", got, right, strict=True)
    gaps = {
        n: exam.off(a.double(), b) / max(1.0, float(b.abs().max()))
        for n, a, b in pairs
    }
    bad = [n for n, gap in gaps.items() if gap > 10 * exam.tolerance]
    meaning = (
        f"The output is right, but the gradient of {', '.join(bad)} is not."
        if bad
        else ""
    )
    exam.note(name, not bad, max(gaps.values()), 10 * exam.tolerance, meaning)


def probe_large_scores(exam: Exam) -> None:
    """Add 2000 to, or take it from, every score, or every other row: softmax must not notice."""
    name, size = "large scores", 2000.0
    Q, K, V = exam.draw()
    Q[..., 0], K[..., 0] = 0.0, 1.0
    right = exam.form()(Q, K, V)
    signs = {
        "far above zero": torch.ones(exam.T),
        "far below zero": -torch.ones(exam.T),
        "of very different rows": (-1.0) ** torch.arange(exam.T),
    }
    for said, sign in signs.items():
        Q[..., 0] = sign.to(Q.dtype) * size / exam.factor
        try:
            got = exam.ask(Q, K, V)
        except Exception as error:  # whatever the subject raises
            exam.note(
                name,
                False,
                "an error",
                "no change",
                f"It refuses large scores: {reason(error)}",
            )
            return
        off = exam.off(got, right)
        if off > 100 * exam.tolerance:
            why = (
                "the maximum of each row is not subtracted first"
                if not got.isfinite().all()
                else "they are cut off"
            )
            meaning = f"Scores {said} give wrong numbers: {why}."
            exam.note(
                name,
                False,
                "NaN" if math.isinf(off) else off,
                "no change",
                meaning,
            )
            return
    exam.note(name, True, off, 100 * exam.tolerance)


def probe_overflow(exam: Exam) -> None:
    """float16: the product of Q and K is beyond 65504, its scaled value is not."""
    name, d = "scale before overflow", exam.d_k
    top = torch.finfo(torch.float16).max
    if exam.broken("scale"):
        exam.skip(name, why='Cannot be told while "scale" fails.')
    if not math.isclose(exam.factor, 1 / math.sqrt(d)):
        exam.skip(name, why="The subject is meant to have another scale.")
    if d < 4:
        exam.skip(
            name, why="Heads are so narrow that the scale makes no room."
        )
    if exam.broken("large scores"):
        exam.skip(name, why='Cannot be told while "large scores" fails.')
    if name in exam.findings:
        return
    Q, K, V = exam.draw(dtype=torch.float16)
    size = math.sqrt(
        1.25 * top / d
        # the largest score is 1.25 times the largest float16, scaled 1.25 /
        # sqrt(d)
    )
    Q = torch.full_like(Q, size)
    K = (
        (size * (1 - 0.1 * torch.arange(exam.T, dtype=torch.float64)))[
            :, None
        ]
        .expand(K.shape)
        .half()
    )
    try:
        got = exam.ask(Q, K, V)
    except Exception as error:  # whatever the subject raises
        exam.skip(name, why=f"It takes no float16 here: {reason(error)}")
        return
    off = exam.off(got, exam.form()(Q, K, V))
    meaning = (
        "Q is multiplied by K before it is scaled, and the product overflows"
        " float16."
        if off > 0.02
        else ""
    )
    exam.note(
        name, not meaning, "NaN" if math.isinf(off) else off, 0.02, meaning
    )


def probe_half(exam: Exam) -> None:
    """Many keys with small scores, in both half precisions, against float64."""
    name, S = "half precision", 1021
    shares, refused = {}, ""
    for dtype in HALVES:
        seen = None if exam.base is None else exam.causal(S)
        for T in (
            (3, S) if exam.subject.rectangular and seen is None else (S,)
        ):
            Q, K, V = exam.draw(T, S, 1)
            Q, K, V = (x.to(dtype) for x in (0.1 * Q, K, 1 + 0.2 * V))
            try:
                got = exam.ask(Q, K, V)
                break
            except Exception as error:  # whatever the subject raises
                refused = reason(error)
        else:
            continue
        scores = Q.double() @ exam.spread(K).mT * exam.factor
        stages = 4 + 2 * float(
            scores.abs().max()
        )  # the scores, twice; powers, shares, sums and output
        budget = (
            torch.finfo(dtype).eps * stages * float(V.double().abs().max())
        )
        shares[dtype] = (
            exam.off(got, attend(Q, K, V, seen, **exam.how)) / budget
        )
    if not shares:
        exam.skip(name, why=f"It takes no half precision here: {refused}")
        return
    worst = max(shares, key=lambda dtype: shares[dtype])
    told = str(worst).removeprefix("torch.")
    lost = (
        f"{told} loses more than rounding each stage once: a long sum is kept"
        " in half precision."
    )
    meaning = lost if shares[worst] > 1 else ""
    exam.note(name, not meaning, shares[worst], 1.0, meaning)


def probe_dropout(exam: Exam) -> None:
    """What a weight becomes while dropout is on: zero, or itself over 1 - p."""
    name, subject = "dropout after softmax", exam.subject
    if not subject.is_module and not subject.dropout:
        exam.skip(
            name,
            why=(
                "A function, and no name of an argument for dropout was"
                " given."
            ),
        )
        return
    if broken := exam.broken(*FUTURE):
        exam.skip(name, why=f'Cannot be told while "{broken}" fails.')
        return
    if exam.d_v < exam.T:
        exam.skip(
            name,
            why="Values are too narrow to tell the weights from the output.",
        )
        return
    how: dict[str, Any] = (
        {"dropout": 0.5} if subject.dropout else {"train": True}
    )
    slack, ratios = 1e6 * exam.tolerance, []
    for seed in range(6):
        Q, K, V = exam.draw()
        Q = (
            Q / exam.factor / 10
        )  # no weight so small that its ratio is rounding
        got = exam.ask(Q, K, V, seed=seed, **how)
        right = exam.weights(Q, K)
        weights = got @ torch.linalg.pinv(exam.spread(V))
        sums = weights.sum(-1)
        ratios.append((weights / right)[right > 1e-3])
    ratio = torch.cat(ratios)
    if ((ratio - 1).abs() < slack).all():
        exam.skip(
            name,
            why=(
                "Training drops nothing: its probability is 0, or there is no"
                " dropout on the weights."
            ),
        )
        return
    kept = ratio[ratio.abs() > slack]
    if not ratio.isfinite().all():
        meaning = "Dropout gives NaN."
    elif float(kept.std()) < slack and (ratio.abs() <= slack).any():
        exam.note(
            name,
            True,
            f"0 or {float(kept.mean()):.3g} times",
            "0 or 1/(1-p) times",
        )
        return
    elif (
        float((sums - 1).abs().max()) > slack
        and not (ratio.abs() <= slack).any()
    ):
        meaning = "Training changes the output, but not by dropping weights."
    elif not (ratio.abs() <= slack).any():
        meaning = (
            "No weight becomes zero: scores are dropped, before softmax, and"
            " a score of 0 still has a share."
        )
    else:
        meaning = (
            "The weights left do not grow alike: keys are dropped before"
            " softmax, as DropKey does on purpose."
        )
    exam.note(name, False, "other weights", "0 or 1/(1-p) times", meaning)
