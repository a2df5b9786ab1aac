"""The course of an examination: what is settled first, which probe follows which, and what a probe depends on."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import torch

from surgeon.checkup.adapter import MASKS
from surgeon.checkup.core import probe_answers, probe_core, probe_repetition
from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.finding import LAWS, RAISES
from surgeon.checkup.manners import (
    probe_inputs,
    probe_random_state,
    probe_strides,
)
from surgeon.checkup.numerics import (
    NUMERICS,
    probe_dropout,
    probe_gradients,
    probe_half,
    probe_large_scores,
    probe_overflow,
    probe_weights,
)
from surgeon.checkup.rows import (
    probe_dead_rows,
    probe_outbid,
    probe_padding,
    probe_rectangular,
)
from surgeon.checkup.sight import SIGHT, probe_always_causal, probe_masks


def conduct(exam: Exam, *, find: bool = False) -> None:
    """Fill in every finding of a subject that takes Q, K and V; `find` whether its mask's convention is to be found."""
    if not probe_answers(exam):
        return
    try:
        _settle_mask(exam, find)
        _probe(exam)
    except Exception as error:  # whatever the subject raises, now and then
        meaning = f"It answers once, and then raises {reason(error)}"
        exam.break_off(
            "an error",
            meaning,
            "Cannot be told: the subject does not answer each time.",
        )


def conduct_again(exam: Exam) -> None:
    """Where d_k and d_v differed and nothing was found: everything again with equal widths.

    They may lead another way through the subject: PyTorch's flash kernel
    takes no others.
    """
    if exam.subject.widths or exam.d_k == exam.d_v or exam.broken(*LAWS):
        return
    twin = Exam(exam.subject, exam.dead_rows, exam.alignment, exam.seed)
    twin.d_k = twin.d_v = 8
    twin.meant = 1 / math.sqrt(twin.d_k)
    if "factor" in exam.how:  # nothing is broken: it was declared
        twin.how["factor"] = twin.meant = exam.how["factor"]
    exam.trying = "everything again with equal widths"
    if not _takes(twin):
        return
    conduct(twin)
    for name, finding in twin.findings.items():
        if finding.passed is False:
            meaning = (
                f"{finding.meaning} So it is where d_k and d_v are both 8;"
                f" with {exam.d_k} and {exam.d_v} it holds."
            )
            exam.findings[name] = replace(finding, meaning=meaning)


def _probe(exam: Exam) -> None:
    exam.trying = "same answer twice"
    if not probe_repetition(exam):
        exam.skip_rest(exam.blocked)
        return
    if exam.subject.causal is not True or probe_always_causal(exam):
        exam.trying = "known form"
        probe_core(exam)
    _guarded(exam, probe_strides, "strided inputs")
    _guarded(exam, probe_inputs, "inputs unchanged")
    _guarded(exam, probe_random_state, "random state")
    if not exam.blocked:
        _guarded(exam, probe_large_scores, "large scores")
    _guarded(exam, probe_masks, *SIGHT)
    if not exam.blocked:
        broken = exam.broken(
            "mask obeyed",
            "mask polarity",
            "known form",
            "mask before softmax",
        )
        if not broken:
            _guarded(exam, probe_padding, "padding on keys")
            if not exam.broken("padding on keys"):
                _guarded(exam, probe_outbid, "minus infinity")
                _guarded(
                    exam,
                    probe_dead_rows,
                    "dead rows, forward",
                    "dead rows, backward",
                )
        if not exam.broken("future, evaluating", "mask diagonal"):
            _guarded(exam, probe_rectangular, "rectangular causal")
        for probe, name in (
            (probe_weights, "weights returned"),
            (probe_gradients, "gradients"),
            (probe_dropout, "dropout after softmax"),
            (probe_overflow, "scale before overflow"),
            (probe_half, "half precision"),
        ):
            _guarded(exam, probe, name)
    broken = exam.broken(*LAWS)
    why = exam.blocked or (
        f'Cannot be told while "{broken}" fails.'
        if broken
        else "No probe came to it."
    )
    exam.skip(*NUMERICS, "dropout after softmax", why=why)
    exam.skip_rest(why)


def _guarded(exam: Exam, probe: Callable[[Exam], None], *names: str) -> None:
    """A probe that the subject answers with an error tells nothing; the report says which error."""
    exam.trying = names[0]
    try:
        probe(exam)
    except Exception as error:  # whatever the subject raises
        exam.skip(*names, why=f"{RAISES}{reason(error)}")


def settle(exam: Exam, layout: str | None) -> None:
    """The layout and the shape of masks that the subject takes, where they are not given."""
    subject = exam.subject
    tries = [(subject.layout, subject.heads, subject.kv_heads)]
    if layout is None and subject.layout == "B T d":
        tries.append(("B H T d", 3, 3))
    widths = [(exam.d_k, exam.d_v)] + ([] if subject.widths else [(8, 8)])
    for held, (exam.d_k, exam.d_v) in itertools.product(tries, widths):
        subject.layout, subject.heads, subject.kv_heads = held
        if _takes(exam):
            break
    else:
        subject.layout, subject.heads, subject.kv_heads = tries[0]
        exam.d_k, exam.d_v = widths[0]
    if not subject.mask_shape and subject.mask != "none":
        shapes = {"B T d": ["B T S", "T S"], "T B d": ["B T S", "T S"]}.get(
            subject.layout, ["B 1 T S", "B T S", "T S"]
        )
        for subject.mask_shape in shapes:
            if _takes(exam, exam.causal(exam.T)):
                return
        subject.mask_shape = shapes[-1]


def _takes(exam: Exam, allowed: torch.Tensor | None = None) -> bool:
    for exam.dtype in (torch.float64, torch.float32):
        try:
            exam.ask(*exam.draw(), allowed)
        except Exception:  # whatever the subject raises
            continue
        return True
    return False


def _settle_mask(exam: Exam, find: bool) -> None:
    """Which convention the subject obeys, if that is asked; whether no mask means a causal one."""
    subject, inputs = exam.subject, exam.draw()
    causal = exam.causal(exam.T)
    if find and subject.mask != "none":
        for subject.mask in (m for m in MASKS if m != "additive, lowest"):
            try:
                if exam.agree(
                    exam.ask(*inputs, causal), exam.form(causal)(*inputs)
                ):
                    exam.note(
                        "mask polarity",
                        None,
                        subject.mask,
                        "",
                        f"Found out, not declared: {subject.mask}.",
                    )
                    break
            except Exception:  # a convention that it does not take
                continue
        else:
            subject.mask = MASKS[0]
    if (
        subject.mask != "none"
        and isinstance(subject.causal, str)
        and not _answers_by_flag(exam)
    ):
        subject.flag_beside_mask = True
        subject.flag_beside_mask = _answers_by_flag(exam)
    if (
        subject.mask != "none"
        and subject.causal is not True
        and exam.agree(exam.ask(*inputs), exam.form(causal)(*inputs))
    ):
        subject.open_mask = True


def _answers_by_flag(exam: Exam) -> bool:
    """Whether the causal flag, as it is sent now, is answered at all."""
    try:
        exam.ask_causal(*exam.draw())
    except Exception:  # whatever the subject raises
        return False
    return True
