"""Probes with a mask: who sees whom, and what is left of a hidden key?"""

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import Inputs, attend, causal
from surgeon.checkup.probes.core import effective_weights
from surgeon.checkup.probes.hypotheses import Hypothesis, wrong_masks
from surgeon.checkup.probes.maps import leak, reach
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
NO_MODE = "A function has no training mode."
NO_MASK = "The subject takes no mask and is not said to be causal."


def random_mask(exam: Exam) -> Tensor:
    """[T, T]: everyone sees itself and some others, and no mask is alike.

    Each row hides a key, and turning the mask over gives another.
    """
    T = exam.T
    while True:
        chance = torch.rand(
            T, T, generator=exam.generator, dtype=torch.float32
        )
        mask = chance < 0.5
        mask |= torch.eye(T, dtype=torch.bool)
        full = mask.all(-1).any() or mask.all(0).any()
        if not full and not torch.equal(mask, mask.T):
            return mask


def probe_always_causal(exam: Exam) -> bool:
    """Of a subject that hides the future by itself: what does it see?

    Before anything else is compared; whether that can be.
    """
    found = _identify(exam, causal(exam.T), by_mask=False)
    if found is None:
        exam.base = causal(exam.T)
        return True
    lost = found.finding == "mask obeyed" and exam.subject.is_module
    if lost and not leak(_map(exam, TRAINING)):
        return True  # causal while it trains: no mask is what it has now
    seen = "agrees to rounding with this fault"
    exam.fail(found.finding, found.meaning, seen)
    exam.blocked = f'Cannot be told while "{found.finding}" fails.'
    exam.skip("known form", why=exam.blocked)
    return False


def probe_masks(exam: Exam) -> None:
    """Which mask was read out of the one that was given."""
    held = exam.held
    if not held.can_be_causal:
        exam.skip(*_but_padding(exam, SIGHT), why=NO_MASK)
        return
    if exam.blocked:
        for name in FUTURE if exam.subject.is_module else (EVALUATING,):
            found = _map(exam, name)
            exam.note(name, None, meaning=exam.blocked, found=found)
        exam.skip(*SIGHT, why=exam.blocked)
        return
    wrong = _try_mask(exam) if held.takes_mask else None
    try:
        read = wrong is not None or exam.broken(*READING)
        if not read and exam.base is None:
            wrong = _identify(exam, causal(exam.T), by_mask=False)
        _future(exam, wrong)
    except SubjectError as error:
        by = f" by {held.causal}" if isinstance(held.causal, str) else ""
        meaning = f"Asked{by} to hide the future, it raises {error}"
        if not exam.broken(*READING):
            exam.fail(EVALUATING, meaning, "an error", "an output")
    if not held.takes_mask:
        why = "The subject takes no mask but the causal one."
        exam.skip(*_but_padding(exam, READING), why=why)
    if broken := exam.broken(*READING, "mask diagonal", *FUTURE):
        exam.wait(*SIGHT, on=broken)
        return
    told = "sees itself, not the next"
    exam.note("mask diagonal", True, told, told)
    exam.agrees("mask obeyed", "mask polarity", "mask before softmax")


def _but_padding(exam: Exam, names: tuple[str, ...]) -> list[str]:
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
    inputs = exam.draw()
    got = exam.ask(*inputs, mask) if by_mask else exam.ask_causal(*inputs)
    seen = mask if exam.base is None else mask & exam.base
    if exam.agree(got, attend(*inputs, seen, **exam.how)):
        return None
    for wrong in wrong_masks(mask, causal=not by_mask, **exam.how):
        if exam.agree(got, wrong.form(*inputs)):
            return wrong
    weights = effective_weights(exam, inputs[2], got)
    if weights is not None:
        stand_in = _stand_in(exam, inputs, weights, mask)
        if stand_in:
            return Hypothesis("minus infinity", stand_in, attend)
    unknown = (
        "With a mask, the output agrees with no known form of attention."
    )
    return Hypothesis("known form", unknown, attend)


def _stand_in(
    exam: Exam, inputs: Inputs, weights: Tensor, mask: Tensor
) -> str:
    """Whether one number, too large, was put in for hidden scores, or added.

    Which number, in words.
    """
    Q, K, _ = inputs
    scores = Q.double() @ exam.spread(K).mT * exam.factor
    if not (weights > 1e-13).all():
        return ""
    logs = weights.log()
    seen = mask.sum(-1, keepdim=True)
    level = ((logs - scores) * mask).sum(-1, keepdim=True) / seen
    stood = {"set to": logs - level, "changed by": logs - level - scores}
    for said, rest in stood.items():
        hidden = rest[mask.expand_as(rest).logical_not()]
        if float(hidden.std()) < 1e5 * exam.tolerance:
            return (
                f"Hidden scores are {said} {float(hidden.mean()):.3g}, which"
                " leaves them a share."
            )
    return ""


def _future(exam: Exam, wrong: Hypothesis | None) -> None:
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

    cause = exam.broken(*READING)
    if wrong is not None:
        by_mode = one_mode and wrong.finding in ("mask obeyed", "known form")
        leaky = wrong.finding == "known form" and leaks[EVALUATING] > 0
        if not by_mode and not leaky:
            exam.overrule(wrong.finding, wrong.meaning)
            cause = wrong.finding
    for name in maps if cause else ():
        follows(name, f'Follows from "{cause}".')
    if both and not one_mode and leaks[TRAINING] > 0:
        follows(EVALUATING, "Leaks as it does while training.")
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
