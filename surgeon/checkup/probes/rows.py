"""Probes of a mask's edges.

Stand-ins for minus infinity, and rows without a key.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.notes import Notes
from surgeon.checkup.probes.reading import moved, random_mask
from surgeon.checkup.subjects.answering import SubjectError, answer

FORWARD, BACKWARD = "dead rows, forward", "dead rows, backward"
# Scores of trained models reach hundreds: they lose to a stand-in up there.
REACHED = 3  # a power of ten
POWERS = range(1, 31)
HowFar = Callable[[Exam, Tensor, float | Tensor], float]


def probe_outbid(exam: Exam) -> None:
    """Does a visible key with ever lower a score keep all the weight?

    It is alone, and hidden keys have a score of 0.
    """
    name = "minus infinity"
    if name in exam.findings:
        return
    if exam.broken("large scores"):
        exam.wait(name, on="large scores")
        return
    if exam.design.norm:
        exam.skip(name, why="A norm keeps scores from being low.")
        return
    V = exam.draw()[2]
    unknown = exam.blocked or exam.design.linear
    how_far = _reached if unknown else _lost
    sound = "not outbid at -1e30"
    if _holds_at_once(exam, how_far):
        exam.note(name, True, sound, sound)
        return
    for power in POWERS:
        try:
            lost = how_far(exam, V, 10.0**power)
        except SubjectError as error:
            exam.skip(name, why=f"It refuses large scores: {error}")
            return
        if lost > exam.tolerance:
            meaning = (
                f"A hidden score is a finite number between -1e{power - 1}"
                f" and -1e{power}, not minus infinity: visible scores below"
                " it lose."
            )
            if not unknown and _emptied(exam, V, 10.0**power):
                meaning = (
                    "The largest score is looked for among hidden keys as"
                    " well: a row whose visible scores lie between"
                    f" 1e{power - 1} and 1e{power} below it comes out empty."
                )
            weight = "fault" if power <= REACHED else "hazard"
            outbid = f"outbid at -1e{power}"
            exam.fail(name, meaning, outbid, sound, weight)
            return
    exam.note(name, True, sound, sound)


def _holds_at_once(exam: Exam, how_far: HowFar) -> bool:
    """All sizes in one batch: where all is well, nothing is lost alone."""
    V = exam.draw(B=len(POWERS))[2]
    sizes = V.new_tensor([[[10.0**power]] for power in POWERS])
    try:
        return how_far(exam, V, sizes) <= exam.tolerance
    except SubjectError:  # it is heard alone, or wants other batches
        return False


def _lost(
    exam: Exam, V: Tensor, size: float | Tensor, *, others: float = 0.0
) -> float:
    """Query 0 sees key 0 alone: how far is its output from value 0?

    Its score is -size; that of the others would be 0, or `others`.
    """
    Q, K = _low(exam, size, others, len(V))
    first = torch.zeros(exam.T, exam.T, dtype=torch.bool)
    first[:, 0] = True
    right = exam.form(first)(Q, K, V)[:, :, 0]
    return exam.off(_first_alone(exam, Q, K, V), right)


def _emptied(exam: Exam, V: Tensor, size: float) -> bool:
    """Whether it is the scores of hidden keys that leave query 0 nothing.

    It has its value where they are as low as its own.
    """
    got = _first_alone(exam, *_low(exam, size, 0.0), V)
    alike = _lost(exam, V, size, others=-size)
    return not got.nan_to_num().any() and alike <= exam.tolerance


def _low(
    exam: Exam, size: float | Tensor, others: float, sequences: int = 0
) -> tuple[Tensor, Tensor]:
    """Q and K that score -size with key 0, and so much with the others.

    With a size for each sequence, or one for all of them.
    """
    Q, K, _ = (torch.zeros_like(x) for x in exam.draw(B=sequences))
    Q[..., 0], K[..., 0] = size / exam.factor, others / size
    K[:, :, 0, 0] = -1.0
    return Q, K


def _reached(exam: Exam, V: Tensor, size: float | Tensor) -> float:
    """As `_lost`, where scores are not known: how far do hidden values reach?

    Its query is against key 0, and with all others.
    """
    Q, K, _ = (torch.zeros_like(x) for x in exam.draw(B=len(V)))
    Q[..., 0], K[..., 0] = size / exam.factor, 1.0
    K[:, :, 0, 0] = -1.0
    other = V.clone()
    other[:, :, 1:] += 1
    outputs = (_first_alone(exam, Q, K, x) for x in (V, other))
    return float(moved(*outputs).max())


def _first_alone(exam: Exam, Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """What query 0 gives, which sees key 0 alone."""
    if not exam.held.takes_mask:
        return exam.ask_causal(Q, K, V)[:, :, 0]
    first = torch.zeros(exam.T, exam.T, dtype=torch.bool)
    first[:, 0] = True
    return exam.ask(Q, K, V, first)[:, :, 0]


GIVES = {
    "nan": "A row that may look at nothing gives NaN.",
    "zero": "A row that may look at nothing gives zeros.",
    "uniform": (
        "A row that may look at nothing looks at everything, evenly: hidden"
        " values leak."
    ),
    "other": (
        "A row that may look at nothing gives numbers, neither zero nor the"
        " mean of the values."
    ),
}
# The lowest finite number for minus infinity gives a mean, as documented.
WEIGHS = {"uniform": "choice"}


def probe_dead_rows(exam: Exam) -> None:
    """One query may look at nothing: what does it give, and send back?"""
    both, row = (FORWARD, BACKWARD), 2
    if not exam.held.takes_mask:
        why = "The subject takes no mask, so that no row can be emptied."
        exam.skip(*both, why=why)
        return
    if exam.broken("minus infinity"):
        why = "Follows from the finite number that stands for minus infinity."
        exam.skip(*both, why=why)
        return
    whole = random_mask(exam)
    mask = whole.clone()
    mask[row] = False
    inputs = Q, K, V = exam.draw()
    for x in inputs:
        x.requires_grad_()
    try:
        output = exam.subject.ask(Q, K, V, mask).output
    except SubjectError as error:
        why = f"It refuses a row with nothing to look at: {error}"
        exam.skip(*both, why=why)
        return
    seen = output.detach().double()
    answered = exam.subject.ask(Q, K, V, whole).output
    before = answered.detach().double()
    others = torch.arange(exam.T) != row
    if not exam.agree(seen[:, :, others], before[:, :, others]):
        exam.fail(
            FORWARD,
            "A row without keys harms the others.",
            "other rows differ",
            "other rows unharmed",
        )
    kind = _kind(exam, seen[:, :, row], exam.spread(V).mean(2))
    asked = exam.dead_rows
    if kind == "other" and exam.blocked:  # a sink may, or what is added
        exam.skip(FORWARD, why=GIVES[kind])
    held = asked in ("any", kind)
    weight = unless_demanded(exam, WEIGHS.get(kind, "hazard"))
    exam.note(FORWARD, held, kind, asked, GIVES[kind], weight=weight)
    if kind == "nan":
        exam.skip(BACKWARD, why="Follows from the NaN of the output.")
    elif not output.requires_grad:
        exam.skip(BACKWARD, why="No gradient flows.")
    else:
        _send_back(exam, output, inputs)


def unless_demanded(notes: Notes, weight: str) -> str:
    """What another answer weighs where no certain one was asked for."""
    return "fault" if "dead_rows" in notes.demanded else weight


def _kind(exam: Exam, dead: Tensor, mean: Tensor) -> str:
    """What a row without keys gives, as a key of `GIVES`."""
    if dead.isnan().any():
        return "nan"
    if not dead.any():
        return "zero"
    return "uniform" if exam.agree(dead, mean) else "other"


def _send_back(
    exam: Exam, output: Tensor, inputs: tuple[Tensor, ...]
) -> None:
    """Whether the gradients of an output with an empty row are numbers."""
    gradients = answer(
        torch.autograd.grad, output.sum(), inputs, materialize_grads=True
    )
    found = zip("QKV", gradients, strict=True)
    bad = ", ".join(name for name, x in found if not x.isfinite().all())
    if bad:
        meaning = f"The output is finite, but the gradients of {bad} are NaN."
        weight = unless_demanded(exam, "hazard")
        exam.fail(BACKWARD, meaning, f"NaN in {bad}", "finite", weight)
    exam.note(BACKWARD, True, "finite", "finite")
