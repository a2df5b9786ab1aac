"""Back ends: each program for a model's attention gives the same."""

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.probes.padding import Rows, pads
from surgeon.checkup.models.question import Question
from surgeon.checkup.subjects.answering import SubjectError, answer

AGREE, SLOPES, PADDED = LAWS = (
    "back ends agree",
    "back ends, gradients",
    "back ends, padding",
)
# PyTorch's kernels that run on a CPU
KERNELS = {"math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION}
Told = dict[str, Any]


def probe_backends(exam: ModelExam) -> None:
    """All programs that it has, each against the one it was given with."""
    exam.trying = AGREE
    if not exam.adapter.programs or not exam.subject.copied:
        exam.skip(*LAWS, why="No other program for its attention is known.")
        return
    asked = exam.question()
    towards = exam.hidden(*exam.ask(asked).shape)
    padded = rows = None
    if exam.by_token and exam.adapter.takes("mask"):
        rows = Rows(exam, "right" if exam.kind == "encoder" else "left")
        padded = rows.question(pads(exam)[0], positions=True)

    hollow = _hollow(exam, padded)

    def slopes(model: Any) -> Told:
        return exam.subject.gradients(
            asked, lambda out: (out * towards).sum(), by=model
        )

    def tokens(model: Any) -> Tensor:
        assert rows is not None
        assert padded is not None
        output = exam.ask(padded, by=model)
        return torch.cat([rows.tokens(output, n) for n in range(3)])

    usual = exam.subject.model
    wanted = exam.ask(asked)
    wanted_slopes = slopes(usual) if exam.subject.double else {}
    wanted_tokens = tokens(usual) if padded is not None else None
    off: dict[str, dict[str, float]] = {law: {} for law in LAWS}
    refused: list[str] = []
    empty: list[str] = []
    for name, model in programs(exam, refused):
        try:
            off[AGREE][name] = exam.off(exam.ask(asked, by=model), wanted)
            if exam.subject.double:
                off[SLOPES][name] = exam.gap(slopes(model), wanted_slopes)[0]
            if wanted_tokens is not None:
                off[PADDED][name] = exam.off(tokens(model), wanted_tokens)
            if hollow is not None:
                told = exam.ask(hollow, by=model)
                empty += [] if told.isfinite().all() else [name]
        except (SubjectError, RuntimeError) as error:
            refused.append(f"{name} ({str(error)[:60]})")
    _tell(exam, off, refused, empty)


def _hollow(exam: ModelExam, padded: Question | None) -> Question | None:
    """A row without a token beside others, if it is answered in numbers."""
    if padded is None or padded.seen is None:
        return None
    seen = padded.seen.clone()
    seen[1] = False
    asked = padded.but(seen=seen)
    return asked if exam.ask(asked).isfinite().all() else None


def programs(
    exam: ModelExam, refused: list[str]
) -> Iterator[tuple[str, Any]]:
    """Copies of the model, each set to a program that it takes."""
    for name, switch in exam.adapter.programs.items():
        try:
            model = copy.deepcopy(exam.subject.model)
            answer(switch, model)
        except SubjectError as error:
            refused.append(f"{name} ({str(error)[:60]})")
            continue
        if name != "sdpa":
            yield name, model
            continue
        for kernel, backend in KERNELS.items():
            # PyTorch warns of every kernel that it was told not to use
            with warnings.catch_warnings(), sdpa_kernel(backend):
                warnings.simplefilter("ignore")
                yield f"sdpa, {kernel}", model


def _tell(
    exam: ModelExam,
    off: dict[str, dict[str, float]],
    refused: list[str],
    empty: list[str],
) -> None:
    """One finding a law; what was refused is said."""
    if not off[AGREE]:
        why = f"It takes no other program: {'; '.join(refused)}."
        exam.skip(*LAWS, why=why)
        return
    said = ", ".join(off[AGREE])
    beside = f" Refused: {'; '.join(refused)}." if refused else ""
    what = {
        AGREE: "logits",
        SLOPES: "gradients",
        PADDED: "answers to padded rows",
    }
    broken = ""
    for law in LAWS:
        if not off[law]:
            exam.skip(law, why="It cannot be asked so.")
            continue
        if broken:
            exam.wait(law, on=broken)
            continue
        size = max(off[law].values())
        many = [n for n, x in off[law].items() if x > exam.share]
        lost = math.isinf(size)
        how = "NaN or missing, and not by" if lost else "others than by"
        if law == PADDED and empty and size <= exam.share:
            exam.fail(
                law,
                f"By its program {' and '.join(empty)}, a row without a token"
                " is answered with NaN.",
                "nan",
                "numbers",
                "hazard",
            )
        elif not exam.within(
            law,
            size,
            f"By its program {' and '.join(many)}, the {what[law]} are {how}"
            f" that which it was given with.{beside}",
            held=f"Tried: {said}.{beside}{exam.adapter.unasked}",
        ):
            broken = law
