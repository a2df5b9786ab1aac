"""How a whole attention goes wrong."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.softmax import stable_softmax
from surgeon.practice.inside import with_steps
from surgeon.practice.step import Function, Mistake
from surgeon.practice.weight_steps import SOFTMAX, WHOLE, powers, shares


def _other(**steps: Any) -> Function:
    """The whole with other steps, in the form in which it is asked."""
    inside = with_steps(**steps)

    def wrong(
        Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, scale: bool
    ) -> tuple[Tensor, Tensor]:
        Q = Q if scale else Q * math.sqrt(Q.shape[-1])
        result: tuple[Tensor, Tensor] = inside(Q, K, V, mask)
        return result

    return wrong


def _after_softmax(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, scale: bool
) -> tuple[Tensor, Tensor]:
    weights = attention(Q, K, V, None, scale)[1]
    weights = weights if mask is None else weights * mask
    return weights @ V, weights


def _scale_after(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, scale: bool
) -> tuple[Tensor, Tensor]:
    weights = attention(Q, K, V, mask, False)[1]
    weights = weights / math.sqrt(Q.shape[-1]) if scale else weights
    return weights @ V, weights


def _causal_unasked(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, scale: bool
) -> tuple[Tensor, Tensor]:
    past = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool).tril()
    mask = past if mask is None else mask
    output, weights = attention(Q, K, V, mask, scale)
    return output, weights


def _times(power: float) -> Function:
    return lambda s, d: s * d**power


MISTAKES: Mapping[str, Mistake] = {
    "divided by d_k": Mistake(
        "Scores are divided by d_k, not by its square root.",
        "A sum of d_k independent products of variance 1 has variance"
        " d_k. What is its standard deviation?",
        "anatomy/scaling",
        _other(scale=_times(-1)),
    ),
    "not divided": Mistake(
        "Scores are not divided by anything.",
        "What happens to rows as vectors get wider?",
        "ablations/no-scale",
        _other(scale=_times(0)),
    ),
    "multiplied by √d_k": Mistake(
        "Scores are multiplied by √d_k.",
        "Are they to become smaller or larger?",
        "anatomy/scaling",
        _other(scale=_times(0.5)),
    ),
    "divided by √S": Mistake(
        "Scores are divided by the root of the number of keys.",
        "Does a dot product grow with the number of words, or with what"
        " it sums over?",
        "anatomy/scaling",
        _other(scale=lambda s, d: s / math.sqrt(s.shape[-1])),
    ),
    "divided by √T": Mistake(
        "Scores are divided by the root of the number of queries.",
        "Does a dot product grow with the number of words, or with what"
        " it sums over?",
        "anatomy/scaling",
        _other(scale=lambda s, d: s / math.sqrt(s.shape[-2])),
    ),
    "scale after the softmax": Mistake(
        "The shares are divided by √d_k, where the scores should have been.",
        "What do the weights of a row sum to now?",
        "anatomy/scaling",
        _scale_after,
    ),
    "over the queries": Mistake(
        "The columns sum to one: the softmax runs over the queries.",
        "Who shares out one unit of weight, and among whom?",
        SOFTMAX,
        _other(softmax=lambda s: stable_softmax(s, -2)),
    ),
    "over the batch": Mistake(
        "The softmax runs over the first axis, the texts of the batch.",
        "Count axes from the end.",
        SOFTMAX,
        _other(softmax=lambda s: stable_softmax(s, 0)),
    ),
    "undivided": Mistake(
        "The powers are not divided by their sum, and are no shares.",
        "What must a row sum to?",
        SOFTMAX,
        _other(softmax=lambda s: powers(s - s.amax(-1, True))),
    ),
    "not shifted": Mistake(
        "Right for small scores; for large ones it overflows.",
        "What may be subtracted from a whole row without changing its"
        " shares?",
        SOFTMAX,
        _other(softmax=lambda s: shares(powers(s))),
    ),
    "cut off": Mistake(
        "Right for small scores; large ones are cut off, and unlike ones"
        " have like shares.",
        "Which scores does a clamp make alike? And what may be subtracted"
        " from a whole row without changing its shares?",
        SOFTMAX,
    ),
    "causal unasked": Mistake(
        "The future is hidden although no mask was given.",
        "What should mask=None hide?",
        "anatomy/masking",
        _causal_unasked,
    ),
    "all alike": Mistake(
        "Every key has the same share, whatever the scores are.",
        "Do Q and K reach the weights?",
        "anatomy/scores",
        _other(scale=lambda s, d: 0 * s),
    ),
    "after the softmax": Mistake(
        "What the mask hides goes only after the softmax, and what is"
        " left does not sum to one.",
        "Among whom should the whole be shared out?",
        "anatomy/masking",
        _after_softmax,
    ),
    "zero for minus infinity": Mistake(
        "Hidden scores become 0, and 0 has its share.",
        "What is e to the power of 0?",
        "checks/minus-infinity",
        _other(mask=lambda s, may: s * may),
    ),
    "inverted": Mistake(
        "What the mask shows is hidden, and what it hides is seen.",
        "Is True seen or blocked? Which do you fill?",
        "anatomy/masking",
        _other(mask=lambda s, may: s.masked_fill(may, -math.inf)),
    ),
    "mask ignored": Mistake(
        "The mask is taken, and counts for nothing.",
        "Where does it enter the scores, and is that kept?",
        "ablations/no-mask",
        _other(mask=lambda s, may: s),
    ),
    "transposed": Mistake(
        "The mask is laid on with queries and keys swapped.",
        "Does a row belong to a query, or a column?",
        "anatomy/masking",
        _other(mask=lambda s, may: s.masked_fill(~may.mT, -math.inf)),
    ),
    "weights before the mask": Mistake(
        "The output is right, and the weights handed back are those from"
        " before the mask.",
        "Which of your weights multiplied V?",
        WHOLE,
        lambda Q, K, V, mask, scale: (
            attention(Q, K, V, mask, scale)[0],
            attention(Q, K, V, None, scale)[1],
        ),
    ),
    "scores for weights": Mistake(
        "The output is right, and scores are handed back for weights.",
        "Which of your tensors multiplied V?",
        WHOLE,
        lambda Q, K, V, mask, scale: (
            attention(Q, K, V, mask, scale)[0],
            Q @ K.mT / (math.sqrt(Q.shape[-1]) if scale else 1),
        ),
    ),
    "queries for keys": Mistake(
        "The queries meet each other, and K is asked nothing.",
        "Who holds up what the queries are compared with?",
        "anatomy/scores",
        lambda Q, K, V, mask, scale: tuple(attention(Q, Q, V, mask, scale)),
    ),
    "scale not heard": Mistake(
        "With scale=False it answers as if nothing had been said.",
        "Where does the argument enter?",
        "anatomy/scaling",
        lambda Q, K, V, mask, scale: tuple(attention(Q, K, V, mask)),
    ),
    "masked": Mistake(
        "Without a mask it is right, with one it is not, in a way that"
        " is none of the usual ones.",
        "Take three words, hide one, and print the scores.",
        "anatomy/masking",
    ),
    "weights kept back": Mistake(
        "One tensor comes back, and nobody can see who looked where.",
        "What is the sixth step?",
        WHOLE,
    ),
    "in the other order": Mistake(
        "The weights come first, and the output second.",
        "What does the assignment ask for first?",
        WHOLE,
    ),
}
