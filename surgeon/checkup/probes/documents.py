"""Several documents in a row: does each token see its own alone?"""

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import RAISES
from surgeon.checkup.forms import causal
from surgeon.checkup.outside import Outside
from surgeon.checkup.probes.reading import moved
from surgeon.checkup.subjects.answering import SubjectError

NAME = "documents"
# Of two sequences, other lengths in each
NUMBERS = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 2]])
SEEN = "Documents see each other."


def probe_documents(exam: Exam) -> None:
    """Documents of other lengths in each sequence."""
    if not exam.declared.documents or NAME in exam.findings:
        return
    numbers = NUMBERS
    T = numbers.shape[-1]
    inputs = exam.draw(T)
    got = exam.ask(*inputs, documents=numbers)
    same = _same(numbers)
    past = causal(T) if exam.base is not None else torch.ones_like(same)
    if exam.blocked:
        _see(exam, numbers)
        return
    if exam.agree(got, exam.form(same & past)(*inputs)):
        exam.agrees(NAME)
        return
    earlier = numbers[:, None, :, None] >= numbers[:, None, None]
    next_to = torch.zeros(T, T, dtype=torch.bool).fill_diagonal_(True)
    for steps in (1, -1):
        next_to |= torch.ones(T, T, dtype=torch.bool).tril(steps).triu(steps)
    others = {
        "Documents see each other: their numbers have no effect.": (
            torch.ones_like(same)
        ),
        "Documents see those before them: numbers are compared by order.": (
            earlier
        ),
        "All sequences have the documents of the first.": same[:1].expand_as(
            same
        ),
        "Documents see each other, and not themselves.": ~same,
        "Documents see the token beside their end.": same | (next_to & ~same),
    }
    known = (
        said
        for said, seen in others.items()
        if exam.agree(got, exam.form(seen & past)(*inputs))
    )
    exam.fail(NAME, next(known, "Documents act in no known way."))


def _same(numbers: Tensor) -> Tensor:
    """[B, 1, T, T]: which tokens are of one document."""
    return (numbers[:, :, None] == numbers[:, None])[:, None]


def _see(exam: Exam, numbers: Tensor) -> None:
    """Without a formula: does the value of another document move any?"""
    Q, K, V = exam.draw(numbers.shape[-1])
    still, worst = exam.ask(Q, K, V, documents=numbers), 0.0
    same = _same(numbers)[:, 0]
    for j in range(V.shape[2]):
        other = V.clone()
        other[:, :, j] += 1
        now = exam.ask(Q, K, other, documents=numbers)
        far = moved(now, still).amax((1, 3))  # [B, T]
        worst = max(worst, float((far * ~same[:, :, j]).max()))
    if worst > exam.tolerance:
        exam.fail(NAME, SEEN, worst, exam.tolerance)
    exam.note(NAME, True, worst, exam.tolerance)


def probe_layer_documents(exam: Outside) -> None:
    """Of a layer on `x`: does a token reach another document, or its own?"""
    if not exam.held.documents:
        return
    same, T = _same(NUMBERS)[:, 0], NUMBERS.shape[-1]
    x = exam.x.repeat(1, 2, 1)[:, :T] + torch.linspace(0, 1, T)[:, None]
    reached = torch.zeros(same.shape)
    try:
        still = exam.ask(x, documents=NUMBERS)
        for j in range(T):
            other = x.clone()
            other[:, j] *= -0.7
            now = exam.ask(other, documents=NUMBERS)
            reached[:, :, j] = moved(now, still).amax(-1)
    except SubjectError as error:
        exam.skip(NAME, why=f"{RAISES}{error}")
        return
    worst = float((reached * ~same).max())
    own = same & ~torch.eye(T, dtype=torch.bool)
    if worst > exam.slack:
        exam.fail(NAME, SEEN, worst, exam.slack)
    elif not float((reached * own).max()) > exam.slack:
        meaning = "Tokens of one document do not see each other."
        exam.fail(NAME, meaning, "hidden", "seen")
    exam.note(NAME, True, worst, exam.slack)
