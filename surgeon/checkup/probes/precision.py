"""Probes of precision: each has a budget, which rounding must not exceed."""

import math

import torch
from torch import Tensor

from surgeon.checkup.designs.schemes import Table
from surgeon.checkup.exam import Exam, tolerance
from surgeon.checkup.forms import Inputs, causal
from surgeon.checkup.probes.numerics import or_nan
from surgeon.checkup.probes.reading import may_hide
from surgeon.checkup.subjects.answering import SubjectError
from surgeon.checkup.subjects.subject import in_precision

HALVES = (torch.float16, torch.bfloat16)
SINGLE, AUTOCAST = "single precision", "autocast"


def probe_overflow(exam: Exam) -> None:
    """float16: the product of Q and K is beyond 65504, scaled it is not."""
    name, d, bound = "scale before overflow", exam.d_k, 0.02
    if not math.isclose(exam.factor, 1 / math.sqrt(d)):
        exam.skip(name, why="The subject is meant to have another scale.")
    if exam.design.norm:
        why = "Queries and keys are normalised: their product has a bound."
        exam.skip(name, why=why)
    if d < 4:
        why = "Heads are so narrow that the scale makes no room."
        exam.skip(name, why=why)
    if exam.broken("large scores"):
        exam.wait(name, on="large scores")
    if name in exam.findings:
        return
    Q, K, V = exam.draw(dtype=torch.float16)
    # The largest score is 1.25 times the largest float16; scaled, it is
    # 1.25 / sqrt(d) of it.
    still = exam.design.still(d)
    size = math.sqrt(1.25 * torch.finfo(torch.float16).max / len(still))
    lower = 1 - 0.1 * torch.arange(exam.T, dtype=torch.float64)
    Q, K = torch.zeros_like(Q), torch.zeros_like(K)
    Q[..., still] = size
    K[..., still] = (size * lower)[:, None].half()
    try:
        got = exam.ask(Q, K, V)
    except SubjectError as error:
        exam.skip(name, why=f"It takes no float16 here: {error}")
        return
    off = exam.off(got, exam.form()(Q, K, V))
    if off > bound:
        meaning = (
            "Q is multiplied by K before it is scaled, and the product"
            " overflows float16."
        )
        exam.fail(name, meaning, or_nan(off), bound, "hazard")
    exam.note(name, True, off, bound)


def probe_half(exam: Exam) -> None:
    """Many keys with small scores, in both half precisions.

    What is lost is measured in what rounding each stage once may cost.
    """
    name = "half precision"
    short = exam.tokens or isinstance(exam.design.positions, Table)
    if exam.design.linear or short:
        why = "It is tried with many keys, and softmax."
        exam.skip(name, why=why)
        return
    few = exam.held.rectangular and exam.base is None
    # Where queries must be as many, fewer of both: the sum of their powers is
    # beyond 256 all the same, up to where bfloat16 counts.
    S = 1021 if few else 521
    seen = None if exam.base is None else causal(S)
    shares: dict[torch.dtype, float] = {}
    refused: SubjectError | None = None
    for dtype in HALVES:
        for T in (3, S) if few else (S,):
            Q, K, V = exam.draw(T, S, 1)
            Q, K, V = (x.to(dtype) for x in (0.1 * Q, K, 1 + 0.2 * V))
            try:
                got = exam.ask(Q, K, V)
            except SubjectError as error:
                refused = error
                continue
            off = exam.off(got, exam.form(seen)(Q, K, V))
            shares[dtype] = off / _budget(exam, Q, K, V)
            break
    if not shares:
        why = f"It takes no half precision here: {refused}"
        exam.skip(name, why=why)
        return
    worst = max(shares, key=lambda dtype: shares[dtype])
    if shares[worst] > 1:
        told = str(worst).removeprefix("torch.")
        meaning = (
            f"{told} loses more than rounding each stage once: a long sum is"
            " kept in half precision."
        )
        exam.fail(name, meaning, shares[worst], 1.0, "hazard")
    exam.note(name, True, shares[worst], 1.0)


def _budget(exam: Exam, Q: Tensor, K: Tensor, V: Tensor) -> float:
    """What it may cost to round each stage once.

    The scores, twice; powers, shares, sums and the output.
    """
    q, k, _ = exam.design.compared(Q.double(), K.double())
    k = exam.spread(k)
    stages = 4 + 2 * float((q @ k.mT).abs().max()) * exam.factor
    if exam.design.norm or exam.design.positions:  # more of them, in vectors
        lengths = (x.norm(dim=-1).max() for x in (q, k))
        stages += 4 * float(math.prod(lengths)) * exam.factor
    largest = float(V.double().abs().max())
    return torch.finfo(Q.dtype).eps * stages * largest


def probe_single(exam: Exam) -> None:
    """In float32, few queries and many keys: is anything coarser?

    Against the formula, or its own answer in float64.
    """
    if exam.dtype != torch.float64:
        exam.skip(SINGLE, why="It is examined in float32 throughout.")
        return
    few = exam.held.rectangular and exam.base is None
    many, usual = exam.draw(*((3, 193) if few else (61, 61)), 1), exam.draw()
    try:
        inputs, own = many, exam.ask(*many)
    except SubjectError:  # a size that it does not take
        inputs, own = usual, exam.ask(*usual)
    single = (x.float() for x in inputs)
    try:
        got = exam.ask(*single)
    except SubjectError as error:
        exam.skip(SINGLE, why=f"It takes no float32 here: {error}")
        return
    size = max(1.0, float(own.nan_to_num().abs().max()))
    off, bound = exam.off(got, own), tolerance(torch.float32) * size
    meaning = ""
    if off > bound:
        meaning = "In float32 the output is another than in float64."
        if off <= tolerance(torch.bfloat16) * size:
            meaning = (
                "In float32 it loses more than rounding: something is"
                " computed in half precision."
            )
    exam.note(SINGLE, not meaning, or_nan(off), bound, meaning)


def probe_coarse(exam: Exam) -> None:
    """Of what was found to compute in half precision, given more."""
    meaning = (
        "Given float32 or more, it computes in half precision: a change of Q"
        " by 0.00001 is rounded away."
    )
    exam.fail(SINGLE, meaning, "no change", "a change")


def probe_autocast(exam: Exam) -> None:
    """Under autocast, which multiplies matrices in bfloat16.

    With what projections give then, and of a function, with float32 too.
    """
    allowed = may_hide(exam)
    Q, K, V = (x.bfloat16().float() for x in exam.draw(dtype=torch.float32))
    right = exam.ask(Q, K, V, allowed)
    known = not exam.blocked and not exam.design.linear
    bound = _spent(exam, Q, K, V) if known else math.inf
    ways = {"": torch.bfloat16, ", given float32": torch.float32}
    if exam.subject.is_module:
        del ways[", given float32"]
    worst = 0.0
    for given, dtype in ways.items():
        under = f"Under autocast{given}, it"
        try:
            got = _under_autocast(exam, (Q, K, V), allowed, dtype)
        except SubjectError as error:
            meaning = f"{under} raises {error}"
            exam.fail(AUTOCAST, meaning, "an error", "an output", "hazard")
            return
        off = exam.off(got, right)
        if math.isinf(off):
            meaning = f"{under} gives NaN or infinity."
            exam.fail(AUTOCAST, meaning, "NaN", "numbers", "hazard")
            return
        if off > bound and known:
            meaning = f"{under} loses more than rounding to bfloat16."
            exam.fail(AUTOCAST, meaning, off, bound, "hazard")
            return
        worst = max(worst, off)
    if not known:
        why = "Its scores are not known, nor what rounding may cost them."
        exam.skip(AUTOCAST, why=why)
    exam.note(AUTOCAST, True, worst, bound)


def _under_autocast(
    exam: Exam, inputs: Inputs, allowed: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Its answer to inputs of a precision, all else in float32."""
    subject = exam.subject
    question = subject.compose(*inputs, allowed)
    given = {name: x.to(dtype) for name, x in question.inputs.items()}
    question.inputs = given
    for name, x in question.extras.items():
        if name != question.mask_name:  # tables of angles, say
            question.extras[name] = in_precision(x, dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return subject.put(question, *inputs).output.double()


def _spent(exam: Exam, Q: Tensor, K: Tensor, V: Tensor) -> float:
    """What rounding Q, K and each stage to bfloat16 once may cost."""
    q, k, _ = exam.design.compared(Q.double(), K.double())
    q, k = q.abs(), exam.spread(k).abs()
    stages = 4 + 2 * float((q @ k.mT).max()) * abs(exam.factor)
    if exam.design.norm or exam.design.positions:  # more of them, in vectors
        lengths = (x.norm(dim=-1).max() for x in (q, k))
        stages += 4 * float(math.prod(lengths)) * abs(exam.factor)
    largest = float(V.double().abs().max())
    return torch.finfo(torch.bfloat16).eps * stages * largest
