"""What an attention shows without a formula: its weights, and who sees whom.

With the columns of an identity for values, the output of whatever is linear
in V is its weights.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import FUTURE, READING
from surgeon.checkup.forms import Inputs, causal

# From Q, K and V to the output: the exam's own question, or one with a mask.
Ask = Callable[[Tensor, Tensor, Tensor], Tensor]


def read_weights(
    exam: Exam, Q: Tensor, K: Tensor, ask: Ask | None = None
) -> Tensor | None:
    """What multiplies the values, [B, H, T, S].

    None where the output is not linear in the values.
    """
    ask = ask or exam.ask
    S, wide = K.shape[2], exam.d_v
    columns = []
    for first in range(0, S, wide):
        some = min(wide, S - first)
        V = K.new_zeros(*K.shape[:3], wide)
        V[:, :, range(first, first + some), range(some)] = 1.0
        columns.append(ask(Q, K, V)[..., :some])
    weights = torch.cat(columns, -1)
    V = exam.normal(*K.shape[:3], wide).to(K.dtype)
    linear = exam.agree(ask(Q, K, V), weights @ exam.spread(V))
    return weights if linear else None


def sight(
    exam: Exam, inputs: Inputs, ask: Ask | None = None, by: str = "value"
) -> Tensor:
    """[T, S]: how far output i moves with key j's value, or with the key.

    One is added to the value: of what is linear in V, that is the weight. A
    key becomes another.
    """
    ask, (Q, K, V) = ask or exam.ask, inputs
    still, moves = ask(Q, K, V), []
    for j in range(K.shape[2]):
        k, v = K.clone(), V.clone()
        if by == "value":
            v[:, :, j] += 1
        else:
            k[:, :, j] = 0.3 - 0.7 * k[:, :, j]
        moves.append(moved(ask(Q, k, v), still).amax((0, 1, 3)))
    return torch.stack(moves, -1)


def sight_at_once(exam: Exam, inputs: Inputs, ask: Ask) -> Tensor:
    """`sight` by values, of whom batch elements are nothing to each other."""
    Q, K, V = inputs
    B, S = len(V), K.shape[2]
    # One copy as it is, and for each key one whose value moves.
    moving = torch.eye(S + 1, S, dtype=V.dtype).roll(1, 0)
    v = V + moving[:, None, None, :, None]
    q, k = (x.expand(S + 1, *x.shape).flatten(0, 1) for x in (Q, K))
    given = ask(q, k, v.flatten(0, 1)).unflatten(0, (S + 1, B))
    return moved(given[1:], given[0]).amax((1, 2, 4)).T


def shows(shown: Tensor, alone: Tensor, pattern: Tensor) -> bool:
    """Whether a mask shows a pattern of what is seen without one.

    More may be seen than without: the shares of what is left grow.
    """
    return not bool((shown & ~pattern | alone & pattern & ~shown).any())


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


def mask_by_chance(exam: Exam, T: int, S: int) -> Tensor:
    """[T, S]: everyone sees a key, and not all of them."""
    while True:
        chance = torch.rand(
            T, S, generator=exam.generator, dtype=torch.float32
        )
        mask = chance < 0.5
        if mask.any(-1).all() and not mask.all(-1).any():
            return mask


def may_hide(exam: Exam) -> Tensor | None:
    """A causal mask, where masks are taken and obeyed, or none."""
    laws = (*READING, *FUTURE, "mask diagonal", "known form")
    hides = exam.held.takes_mask and not exam.broken(*laws)
    return causal(exam.T) if hides else None


def moved(now: Tensor, then: Tensor) -> Tensor:
    """How far each number moved; infinite if it became one, or none."""
    both = now.isnan() & then.isnan()
    far = (now - then).abs().nan_to_num(nan=math.inf)
    return far.masked_fill(both, 0.0)
