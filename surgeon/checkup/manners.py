"""Probes of manners: what a subject does to its inputs and to the world, and how it reads memory."""

import random

import numpy as np
import torch

from surgeon.checkup.adapter import apart
from surgeon.checkup.exam import Exam, reason
from surgeon.checkup.forms import Inputs


def probe_strides(exam: Exam) -> None:
    """The same numbers, laid out in memory by columns."""
    name, inputs = "strided inputs", exam.draw()
    try:
        off = exam.off(exam.ask(*inputs, strided=True), exam.ask(*inputs))
    except Exception as error:  # whatever the subject raises
        exam.skip(
            name,
            why=f"It refuses inputs that are not contiguous: {reason(error)}",
        )
        return
    meaning = (
        "Inputs that are not contiguous are read as if they were."
        if off > exam.tolerance
        else ""
    )
    exam.note(name, not meaning, off, exam.tolerance, meaning)


def probe_inputs(exam: Exam) -> None:
    """Do Q, K, V and the mask still hold what they held?"""
    subject, inputs = exam.subject, exam.draw()
    kept = {}
    send, write = subject.lay_out, subject.write
    allowed = (
        exam.causal(exam.T)
        if subject.mask != "none" and not exam.broken("mask obeyed")
        else None
    )
    names = iter("QKV")

    def watch(x: torch.Tensor, strided: bool = False) -> torch.Tensor:
        sent = send(x, strided)
        name = next(names, "")
        if name:
            kept[name] = (sent, sent.clone())
        return sent

    def watch_mask(
        allowed: torch.Tensor, Q: torch.Tensor, K: torch.Tensor
    ) -> torch.Tensor:
        sent = write(allowed, Q, K)
        kept["the mask"] = (sent, sent.clone())
        return sent

    subject.lay_out, subject.write = watch, watch_mask  # type: ignore[method-assign]
    try:
        exam.ask(*inputs, allowed)
    finally:
        del subject.lay_out, subject.write
    changed = [
        name
        for name, (now, then) in kept.items()
        if not torch.equal(now, then)
    ]
    meaning = f"It writes into {' and '.join(changed)}." if changed else ""
    exam.note(
        "inputs unchanged",
        not changed,
        ", ".join(changed) or "unchanged",
        "unchanged",
        meaning,
    )


def probe_random_state(exam: Exam) -> None:
    """The global generators before and after an evaluation; and whether training seeds them."""
    name, inputs = "random state", exam.draw()
    if name in exam.findings:
        return
    before, after = _states(exam, inputs, 11)
    touched = [who for who in before if before[who] != after[who]]
    seeded = (
        exam.subject.is_module
        and _states(exam, inputs, 11, True)[1]
        == _states(exam, inputs, 12, True)[1]
    )
    meaning = ""
    if touched:
        meaning = (
            f"The global generator of {' and '.join(touched)} is drawn from"
            " or seeded."
        )
    elif seeded:
        meaning = (
            "While training, the global generator is seeded: every draw after"
            " it is the same."
        )
    exam.note(
        name,
        not meaning,
        ", ".join(touched) or "seeded" * bool(seeded) or "untouched",
        "untouched",
        meaning,
    )


def _states(
    exam: Exam, inputs: Inputs, seed: int, train: bool = False
) -> tuple[dict, dict]:
    with apart(seed):
        before = _state()
        exam.ask(*inputs, seed=None, train=train)
        return before, _state()


def _state() -> dict[str, object]:
    numpy = np.random.get_state(legacy=False)
    return {
        "PyTorch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"]),
        "Python": random.getstate(),
    }
