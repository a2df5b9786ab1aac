"""Several documents in a row: does each token see its own alone?"""

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import causal

NAME = "documents"


def probe_documents(exam: Exam) -> None:
    """Documents of other lengths in each sequence."""
    if not exam.declared.documents or NAME in exam.findings:
        return
    numbers = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 2]])
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
        moved = (now - still).abs().amax((1, 3))  # [B, T]
        worst = max(worst, float((moved * ~same[:, :, j]).max()))
    if worst > exam.tolerance:
        meaning = "Documents see each other."
        exam.fail(NAME, meaning, worst, exam.tolerance)
    exam.note(NAME, True, worst, exam.tolerance)
