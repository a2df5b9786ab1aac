"""Probes with a mask: who sees whom, and what is left of a hidden key?"""

from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import DESIGNS, FUTURE, READING
from surgeon.checkup.forms import Inputs, attend, causal
from surgeon.checkup.probes.hidden import see_diagonal, see_mask
from surgeon.checkup.probes.hypotheses import Hypothesis, wrong_masks
from surgeon.checkup.probes.maps import leak, reach
from surgeon.checkup.probes.reading import random_mask, read_weights, sight
from surgeon.checkup.subjects.answering import SubjectError

SIGHT = (
    *READING,
    "mask diagonal",
    *FUTURE,
    "rectangular causal",
    "dead rows, forward",
    "dead rows, backward",
)
TRAINING, EVALUATING = FUTURE
AS_TRAINING = "Leaks as it does while training."
NO_MODE = "A function has no training mode."
NO_MASK = "The subject takes no mask and is not said to be causal."


def probe_always_causal(exam: Exam) -> bool:
    """Of a subject that hides the future by itself: what does it see?

    Before anything else is compared; whether that can be.
    """
    found = _identify(exam, causal(exam.T), by_mask=False)
    hides = lambda: not leak(_map(exam, EVALUATING))
    if found is None or (found.finding == "known form" and hides()):
        exam.base = causal(exam.T)
        return True
    if found.finding == "known form":
        return True  # no known form, and it does not hide the future
    if found.finding == "mask obeyed" and (
        _has_no_mask(exam, found) or not leak(_map(exam, TRAINING))
    ):
        return True  # open, or causal while it trains: the future's fault
    if found.finding == "mask obeyed" and exam.held.causal is True:
        meaning = "Outputs depend on later tokens where no mask is given."
        exam.fail(EVALUATING, meaning, "everything", "the past")
        exam.blocked = f'Cannot be told while "{EVALUATING}" fails.'
        exam.under = EVALUATING
        return False
    seen = "agrees to rounding with this fault"
    exam.fail(found.finding, found.meaning, seen)
    exam.blocked = f'Cannot be told while "{found.finding}" fails.'
    exam.under = found.finding
    return False


def _has_no_mask(exam: Exam, found: Hypothesis) -> bool:
    """Whether the future is seen, and no mask was given that should hide it.

    That is not the mask's fault, but the future's.
    """
    maskless = not exam.held.takes_mask and exam.held.causal is True
    return maskless and found.finding == "mask obeyed"


def probe_masks(exam: Exam) -> None:
    """Which mask was read out of the one that was given."""
    held = exam.held
    if not held.can_be_causal:
        exam.skip(*but_padding(exam, SIGHT), why=NO_MASK)
        return
    if exam.blocked:
        _probe_unknown(exam)
        return
    wrong = _try_mask(exam) if held.takes_mask else None
    unknown = wrong is not None and wrong.finding == "known form"
    if unknown and not leak(_map(exam, EVALUATING)):
        ones = torch.ones(exam.T, exam.T, dtype=torch.bool)
        _see_mask(exam, exam.draw(), ones if exam.base is None else exam.base)
        wrong = None if exam.broken(*READING) else wrong
    try:
        read = wrong is not None or exam.broken(*READING)
        if not read and exam.base is None:
            wrong = _identify(exam, causal(exam.T), by_mask=False)
            wrong = None if wrong and _has_no_mask(exam, wrong) else wrong
        probe_future(exam, wrong)
    except SubjectError as error:
        by = f" by {held.causal}" if isinstance(held.causal, str) else ""
        meaning = f"Asked{by} to hide the future, it raises {error}"
        if not exam.broken(*READING):
            exam.fail(EVALUATING, meaning, "an error", "an output")
    if not held.takes_mask:
        why = "The subject takes no mask but the causal one."
        exam.skip(*but_padding(exam, READING), why=why)
    late = wrong.finding if wrong and wrong.finding in DESIGNS else ""
    exam.under = late or exam.under
    if broken := late or exam.broken(*READING, "mask diagonal", *FUTURE):
        exam.wait(*SIGHT, on=broken)
        return
    told = "sees itself, not the next"
    exam.note("mask diagonal", True, told, told)
    exam.agrees("mask obeyed", "mask polarity", "mask before softmax")


def _probe_unknown(exam: Exam) -> None:
    """The same of an attention of no known form, by who moves with whom."""
    inputs = exam.draw()
    seen = sight(exam, inputs) > exam.tolerance
    if exam.held.takes_mask:
        _see_mask(exam, inputs, seen)
    else:
        why = "The subject takes no mask but the causal one."
        exam.skip(*but_padding(exam, READING), why=why)
    if not exam.broken(*READING):
        see_diagonal(exam, inputs, seen)
    probe_future(exam)
    if broken := exam.broken(*READING, "mask diagonal", *FUTURE):
        exam.wait(*SIGHT, on=broken)


def _see_mask(exam: Exam, inputs: Inputs, seen: Tensor) -> None:
    try:
        see_mask(exam, inputs, seen)
    except SubjectError as error:
        meaning = f"It refuses a mask: {error}"
        exam.fail("mask obeyed", meaning, "an error", "an output")


def but_padding(exam: Exam, names: tuple[str, ...]) -> list[str]:
    """Without the law about padding, if there is an argument for that."""
    kept = "padding on keys" if exam.held.padding else ""
    return [name for name in names if name != kept]


def _try_mask(exam: Exam) -> Hypothesis | None:
    try:
        return _identify(exam, random_mask(exam), by_mask=True)
    except SubjectError as error:
        meaning = f"It refuses a mask: {error}"
        exam.fail("mask obeyed", meaning, "an error", "an output")
        return None


def _identify(exam: Exam, mask: Tensor, by_mask: bool) -> Hypothesis | None:
    """What explains the answer, or that nothing does.

    None if the mask is obeyed.
    """
    inputs = _in_reach(exam)
    got = exam.ask(*inputs, mask) if by_mask else exam.ask_causal(*inputs)
    seen = mask if exam.base is None else mask & exam.base
    if exam.agree(got, exam.form(seen)(*inputs)):
        return None
    for wrong in wrong_masks(mask, causal=not by_mask, **exam.how):
        if exam.agree(got, wrong.form(*inputs)):
            said = wrong.meaning
            said = said if by_mask else exam.held.worded(said)
            return wrong._replace(meaning=said)
    ask = partial(exam.ask, allowed=mask) if by_mask else exam.ask_causal
    weights = read_weights(exam, *inputs[:2], ask)
    if weights is not None:
        stand_in = _stand_in(exam, inputs, weights, mask)
        if stand_in:
            return Hypothesis("minus infinity", stand_in, attend)
    unknown = (
        "With a mask, the output agrees with no known form of attention."
    )
    return Hypothesis("known form", unknown, attend)


def _in_reach(exam: Exam) -> Inputs:
    """An ordinary question; of a cap, with scores near its lower end.

    There, what was hidden and capped after it has a share like any other.
    """
    Q, K, V = exam.draw()
    if cap := exam.design.cap:
        Q[..., 0], K[..., 0] = -3 * cap.size / exam.factor, 1.0
    return Q, K, V


def _stand_in(
    exam: Exam, inputs: Inputs, weights: Tensor, mask: Tensor
) -> str:
    """Whether one number, too large, was put in for hidden scores, or added.

    Which number, in words.
    """
    Q, K, _ = inputs
    how = exam.how.get("factor"), exam.how.get("turns", False)
    scores = exam.design.scores(Q.double(), K.double(), *how)
    if not (weights > 1e-13).all() or exam.design.linear:
        return ""
    logs = weights.log()
    seen = mask.sum(-1, keepdim=True)
    level = ((logs - scores) * mask).sum(-1, keepdim=True) / seen
    stood = {"set to": logs - level, "changed by": logs - level - scores}
    for said, rest in stood.items():
        hidden = rest[mask.expand_as(rest).logical_not()]
        slack = 10 * exam.tolerance / float(weights.min())
        if float(hidden.std()) < slack:
            return (
                f"Hidden scores are {said} {float(hidden.mean()):.3g}, which"
                " leaves them a share."
            )
    return ""


def probe_future(exam: Exam, wrong: Hypothesis | None = None) -> None:
    """Maps of who reaches whom, while training and while evaluating.

    A leak in one mode alone is that mode's.
    """
    maps = {EVALUATING: _map(exam, EVALUATING)}
    if exam.subject.is_module:
        maps[TRAINING] = _map(exam, TRAINING)
    leaks = {name: leak(found) for name, found in maps.items()}
    both = len(maps) == 2
    one_mode = both and (leaks[TRAINING] > 0) != (leaks[EVALUATING] > 0)

    def follows(name: str, meaning: str) -> None:
        exam.note(name, None, leaks[name], 0.0, meaning, maps[name])

    cause = exam.broken(*READING, "mask diagonal")
    if wrong is not None:
        by_mode = one_mode and wrong.finding in ("mask obeyed", "known form")
        leaky = wrong.finding == "known form" and leaks[EVALUATING] > 0
        if not by_mode and not leaky:
            exam.overrule(wrong.finding, wrong.meaning)
            cause = wrong.finding
    for name in maps if cause else ():
        follows(name, f'Follows from "{cause}".')
    if both and not one_mode and leaks[TRAINING] > 0:
        follows(EVALUATING, AS_TRAINING)
    for name, found in maps.items():
        mode = name.replace("future", "") if both else ""
        alone = " alone" if one_mode else ""
        said = f"Outputs depend on later tokens{mode}{alone}."
        sound = leaks[name] == 0
        meaning = "" if sound else said
        exam.note(name, sound, leaks[name], 0.0, meaning, found)
    exam.skip(TRAINING, why=NO_MODE)


def _map(exam: Exam, name: str) -> Tensor:
    """[T, T]: how strongly output i depends on key and value j."""
    Q, K, V = (x[:1] for x in exam.draw())
    train = name == TRAINING
    flat = [x.transpose(1, 2).flatten(2) for x in (K, V)]  # [1, T, H * d]
    widths = [x.shape[-1] for x in flat]

    def function(rows: Tensor) -> Tensor:
        k, v = (
            x.unflatten(-1, (K.shape[1], -1)).transpose(0, 1)[None]
            for x in rows.split(widths, -1)
        )
        answer = exam.answer_causal(Q, k, v, train=train, seed=3)
        return answer.output[0].transpose(0, 1).flatten(1)

    return reach(function, torch.cat(flat, -1)[0], exam.tolerance)
