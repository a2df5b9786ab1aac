"""`judge`: a try at a step, asked as the right one is asked."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from surgeon.arguments import check_seed
from surgeon.checkup.examination import examine
from surgeon.checkup.finding import ALL_LAWS, READING
from surgeon.checkup.patience import OutOfPatience, listening, within
from surgeon.extras import needed_by
from surgeon.practice.asking import Unwritten, alike, ask
from surgeon.practice.comparing import in_float32, nearly
from surgeon.practice.step import Asked, Step
from surgeon.practice.steps import STEPS
from surgeon.practice.telling import mistake_of, not_yet
from surgeon.practice.verdict import Verdict

PATIENCE = 20.0  # seconds for all questions of one step
VAGUE = ("answers", "known form")  # findings that name no mistake
COARSE = "(To seven digits: a number on the way is kept in float32.)"


def judge(
    step: str,
    yours: Callable[..., Any],
    show: bool = False,
    *,
    seed: int = 0,
) -> Verdict:
    """What holds of your own try at a step, or which mistake it looks like.

    It is asked with inputs drawn at random, and compared in float64 with
    what is right, and with the ways in which the step goes wrong: the style
    does not matter, and one example is not enough. What passes is examined
    once more by `surgeon.examine`, in the place of the step that it is.

    Parameters
    ----------
    step : str
        What it is meant to be: a key of `surgeon.practice.steps.STEPS`,
        which has how each is called and what it gives.
    yours : callable
        The try.
    show : bool
        Whether to show the tested source as well.
    seed : int
        Of the questions.

    Returns
    -------
    Verdict
        A line: what holds, or the mistake, with a hint and a page.

    Raises
    ------
    ValueError
        If there is no such step, if `yours` cannot be called, or if the seed
        is none. What `yours` raises itself becomes the verdict.

    Examples
    --------
    >>> judge("scale", lambda scores, d_k: scores * d_k**-0.5)
    Right. Scores are divided by √d_k, whatever their shape.
    >>> judge("scale", lambda scores, d_k: scores / d_k).mistake
    'divided by d_k'
    """
    if not isinstance(step, str) or step not in STEPS:
        raise ValueError(
            f"step must be one of {', '.join(STEPS)}, got {step!r}."
        )
    if not callable(yours):
        raise ValueError(
            f"yours must be a function, got {type(yours).__name__}."
        )
    generator = torch.Generator().manual_seed(check_seed(seed))
    known = STEPS[step]
    with torch.inference_mode(False), torch.enable_grad():
        verdict = _verdict(known, yours, generator)
    if show:
        with needed_by("The tested source"):
            from surgeon.book.page import source  # draws, too

        for function, part in known.solution:
            source(function, part=part)
    return verdict


def _verdict(
    step: Step, yours: Callable[..., Any], generator: torch.Generator
) -> Verdict:
    questions, raw = step.questions(generator), yours
    try:
        with within(PATIENCE), listening([]):
            yours = step.adapt(yours) if step.adapt else yours
            asked = [ask(step, yours, each) for each in questions]
            found = mistake_of(step, yours, asked)
    except OutOfPatience:
        return not_yet(
            step,
            f"It had not answered after {PATIENCE:.0f} seconds.",
            "Does each of its loops come to an end?",
        )
    except Unwritten:
        return Verdict(
            None,
            f"In place of the dots under def, write what {step.asks}, with a"
            " return at the end, and run the cell again.",
            step=step.name,
        )
    if found is not None:
        named = found.mistake or step.name != "attention"
        told = [] if named else _at_the_check_up(step, raw, exact=True)
        if isinstance(told, Verdict) and _explains(told.mistake, asked):
            return told
        return found
    notes = [each.question.note for each in asked if not alike(each)]
    exact = all(
        nearly(each.given, each.right, double=1e-11)
        for each in asked
        if not each.question.note
    )
    if not exact:
        notes.append(COARSE)
    told = _at_the_check_up(step, raw, exact)
    if isinstance(told, Verdict):
        return told
    said = " ".join([step.holds, *notes, *told])
    return Verdict(True, said, step=step.name)


def _explains(law: str, asked: list[Asked]) -> bool:
    """Whether a broken law may be why a whole attention answers wrong.

    One about masks explains no question that was asked without a mask.
    """
    failed = [each.question for each in asked if not alike(each)]
    maskless = any(each.args[3] is None for each in failed)
    return law not in VAGUE and not (maskless and law in READING)


def _at_the_check_up(
    step: Step, yours: Callable[..., Any], exact: bool
) -> Verdict | list[str]:
    """A fault that the check-up finds, or what it says besides."""
    if step.inside is None:
        return []
    subject = step.inside(yours)
    if isinstance(subject, nn.Module):
        report = examine(subject, patience=60.0)
    else:
        subject = subject if exact else in_float32(subject)
        report = examine(subject, widths=(7, 11), mask="find", patience=60.0)
    whole = step.name == "attention"
    faults = report.wrong()
    if faults:
        first = faults[0]
        alone = "Right alone, and not in a whole attention. "
        return Verdict(
            False,
            first.meaning if whole else f"{alone}{first.meaning}",
            f"The law that is broken: {ALL_LAWS[first.name][0]}",
            first.page,
            step.name,
            first.name,
        )
    if not whole:
        return []
    hazards = [f.meaning for f in report.wrong(strict=True)]
    return [f"Elsewhere it breaks: {each}" for each in hazards]
