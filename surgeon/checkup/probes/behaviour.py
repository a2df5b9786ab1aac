"""What holds for any attention, known form or not, and needs no formula."""

from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.reading import moved, read_weights

NOT_LINEAR = "The output is not linear in the values: no weights can be read."


def probe_apart(exam: Exam, inputs: Inputs, got: Tensor) -> None:
    """Sequences, heads, and which query heads share a key head."""
    meaning = "An output changes with another sequence of the batch."
    _apart(exam, "batch elements apart", meaning, inputs, got, 0)
    meaning = "An output of one head changes with the values of another."
    _apart(exam, "heads apart", meaning, inputs, got, 1)
    _probe_groups(exam, inputs, got)


def probe_nobody_else(exam: Exam) -> None:
    """Sequences and heads, of an attention that was not asked yet."""
    inputs = exam.draw()
    probe_apart(exam, inputs, exam.ask(*inputs))


def _apart(
    exam: Exam,
    name: str,
    meaning: str,
    inputs: Inputs,
    got: Tensor,
    axis: int,
) -> None:
    """Another last sequence (axis 0) or head (1): no other may move."""
    changed = [x.clone() for x in inputs]
    over = getattr(exam.declared.norm, "over", ())
    # Heads whose lengths are shared know of one another's queries and keys.
    for x in changed[2:] if axis in over else changed:
        x.select(axis, -1).mul_(-0.7)
    group = exam.held.heads // exam.held.kv_heads if axis else 1
    rest = got.shape[axis] - group
    if name in exam.findings or rest < 1:
        return
    off = float(moved(exam.ask(*changed), got).narrow(axis, 0, rest).max())
    if off > exam.tolerance:
        exam.fail(name, meaning, off, exam.tolerance)
    exam.note(name, True, off, exam.tolerance)


def _probe_groups(exam: Exam, inputs: Inputs, still: Tensor) -> None:
    """Which query heads move with which key head?"""
    name, (Q, K, V) = "grouped heads in order", inputs
    H, G = Q.shape[1], K.shape[1]
    if name in exam.findings:
        return
    users = torch.zeros(H, G, dtype=torch.bool)
    for g in range(G):
        k, v = K.clone(), V.clone()
        k[:, g] *= -0.7
        v[:, g] *= -0.7
        users[:, g] = (
            moved(exam.ask(Q, k, v), still).amax((0, 2, 3)) > exam.tolerance
        )
    wanted = torch.arange(G).repeat_interleave(H // G)
    if not (users.sum(-1) == 1).all():
        exam.skip(name, why="No query head uses one key head alone.")
        return
    used = users.int().argmax(-1)
    if not torch.equal(used, wanted):
        told, sound = (
            " ".join(map(str, heads.tolist())) for heads in (used, wanted)
        )
        meaning = (
            f"Query heads use the key heads {told}, in this order; neighbours"
            f" should share one: {sound}."
        )
        exam.fail(name, meaning, told, sound)
    exam.agrees(name)


def probe_behaviour(exam: Exam) -> None:
    """What a formula would tell of, read off the weights."""
    probe_nobody_else(exam)
    _probe_shares(exam)
    _probe_step(exam)


def _probe_shares(exam: Exam) -> None:
    """Do the weights that can be read off share one unit among the keys?"""
    names = "softmax over keys", "convex hull"
    Q, K, _ = exam.draw()
    weights = read_weights(exam, Q, K)
    if weights is None:
        exam.skip(*names, why=NOT_LINEAR)
        return
    sums, least = weights.sum(-1), float(weights.min())
    if not sums_to_one(exam, weights) or least < -exam.tolerance:
        why = (
            f"The weights of a query add up to {_span(sums)}, and not to one."
        )
        exam.skip(*names, why=why)
        return
    exam.note(names[0], True, _span(sums), "1")
    exam.note(names[1], True, max(0.0, -least), 0.0)


def sums_to_one(exam: Exam, weights: Tensor) -> bool:
    off = float((weights.sum(-1) - 1).abs().max())
    return off <= exam.tolerance * weights.shape[-1]


def _span(numbers: Tensor) -> str:
    """The least and the largest, in words, or the one that both are."""
    low, high = (f"{float(x):.3g}" for x in (numbers.min(), numbers.max()))
    return low if low == high else f"{low} to {high}"


def _probe_step(exam: Exam) -> None:
    """Another key: is it that key's own value whose share changes?

    The shares of the others keep their proportions, or not: that is no
    matter of this law.
    """
    name, (Q, K, _) = "values in step with keys", exam.draw()
    read = partial(read_weights, exam)
    still = read(Q, K)
    if name in exam.findings:
        return
    if still is None:
        exam.skip(name, why=NOT_LINEAR)
        return
    for j in range(K.shape[2]):
        k = K.clone()
        k[:, :, j] = 0.3 - 0.7 * k[:, :, j]
        now = read(Q, k)
        change = None if now is None else own_change(now, still, j)
        if change is None or not change > exam.tolerance:
            exam.skip(name, why="No share can be told to be its key's own.")
            return
    exam.note(name, True, "its own share moves most", "its own")


def own_change(now: Tensor, still: Tensor, j: int) -> float | None:
    """How much more the share of key j changes than that of any other key.

    In logarithms, less what its whole row has in common; the least of all
    rows with three visible keys or more. None if there is no such row.
    """
    margins = []
    for before, after in zip(
        still.flatten(0, 2), now.flatten(0, 2), strict=True
    ):
        seen = (before > 0) & (after > 0)
        rest = seen.clone()
        rest[j] = False
        if not seen[j] or int(rest.sum()) < 2:
            continue
        change = after.log() - before.log()
        middle = change[rest].median()
        others = (change[rest] - middle).abs().max()
        margins.append(float((change[j] - middle).abs() - others))
    return min(margins) if margins else None
