"""The course of an examination of a model: which probe follows which."""

from collections.abc import Callable

from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import CACHE, FUTURE, PADDING, QUIET
from surgeon.checkup.models.probes import backends, halves, learning
from surgeon.checkup.models.probes.backends import probe_backends
from surgeon.checkup.models.probes.caches import probe_caches
from surgeon.checkup.models.probes.company import LAW as COMPANY
from surgeon.checkup.models.probes.company import probe_company
from surgeon.checkup.models.probes.crossing import probe_source
from surgeon.checkup.models.probes.documents import probe_documents
from surgeon.checkup.models.probes.halves import probe_halves
from surgeon.checkup.models.probes.learning import probe_learning
from surgeon.checkup.models.probes.padding import (
    probe_padding,
    settle_positions,
)
from surgeon.checkup.models.probes.places import probe_moved, probe_table
from surgeon.checkup.models.probes.quiet import (
    probe_answers,
    probe_quiet,
    too_coarse,
)
from surgeon.checkup.models.probes.sight import probe_sight
from surgeon.checkup.models.probes.writing import probe_writing
from surgeon.checkup.subjects.answering import SubjectError

SIGHT = (*FUTURE, "the past is seen", "reach")
BY_TOKEN = (
    *SIGHT,
    *PADDING[:-1],
    *CACHE,
    "documents apart",
    "moving along",
    "beyond the table",
    "writing",
    PADDING[-1],
)
ONE_EACH = (
    "It gives one output for a row, and none for each token. If it can give"
    " them all, examine a module around it that returns them, as model(ids,"
    " targets=ids)[0]."
)
RAISES = "Cannot be told: the model raises "
PICTURES = "It reads pictures."


def conduct(exam: ModelExam) -> None:
    """Fill in every finding."""
    if not probe_answers(exam):
        return
    exam.portrait += exam.subject.said
    if why := too_coarse(exam):
        exam.skip_rest(why)
        return
    try:
        _probe(exam)
    except SubjectError as error:
        exam.break_off(
            "an error",
            f"It answers once, and then raises {error}",
            "Cannot be told: the model does not answer each time.",
        )
    _finish(exam)


def _probe(exam: ModelExam) -> None:
    probe_quiet(exam)
    if broken := exam.broken(*QUIET[:2]):
        exam.wait(*exam.usual, on=broken)
        return
    _guarded(exam, probe_company, COMPANY)
    if broken := exam.broken(COMPANY):
        exam.wait(*exam.usual, on=broken)
        return
    if not exam.by_token:
        why = PICTURES if exam.adapter.pictures else ONE_EACH
        exam.skip(*BY_TOKEN, why=why)
    else:
        _by_token(exam)
    _guarded(exam, probe_source, "source padding", "source read whole")
    _guarded(
        exam,
        probe_learning,
        learning.GRADIENTS,
        learning.CHECKPOINTING,
        learning.WITH_PADDING,
    )
    _guarded(exam, probe_backends, *backends.LAWS)
    _guarded(exam, probe_halves, *halves.LAWS)


def _by_token(exam: ModelExam) -> None:
    """What is asked token by token."""
    _guarded(exam, probe_sight, *SIGHT)
    if broken := exam.broken(FUTURE[0]):
        exam.wait(*BY_TOKEN, "back ends, padding", on=broken)
        return
    if broken := exam.broken("the past is seen"):
        exam.wait(*BY_TOKEN, "back ends, padding", on=broken)
        return
    try:
        settle_positions(exam)
    except SubjectError:  # it takes none by this name
        exam.base = None
    _guarded(exam, probe_padding, *PADDING[:-1])
    _guarded(exam, probe_moved, "moving along")
    _guarded(exam, probe_table, "beyond the table")
    _guarded(exam, probe_documents, "documents apart")
    _guarded(exam, probe_caches, *CACHE)
    if broken := exam.broken(
        *PADDING[:2],
        "cache, one by one",
        "cache, prompt first",
        "cache, padded batch",
    ):
        exam.wait("writing", on=broken)
    else:
        _guarded(exam, probe_writing, "writing")


def _guarded(
    exam: ModelExam, probe: Callable[[ModelExam], None], *names: str
) -> None:
    """A probe that is answered with an error tells nothing but the error."""
    exam.trying = names[0]
    try:
        probe(exam)
    except SubjectError as error:
        exam.skip(*names, why=f"{RAISES}{error}")


def _finish(exam: ModelExam) -> None:
    """What kind of model it is, in sentences, once all is told."""
    lines = exam.portrait
    if exam.kind:
        article = "An" if exam.kind.startswith("e") else "A"
        lines.append(f"{article} {exam.kind}.")
    held = exam.findings["alone or in company"]
    in_double = "float64" if exam.subject.double else "its own precision"
    if held.passed is not None:
        lines.append(
            f"It was asked in {in_double}; rounding may make"
            f" {exam.share:.1g} of an answer."
        )
