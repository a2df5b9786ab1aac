"""Compare and scale: the two steps that make scores."""

import math
from typing import Any

import torch

from surgeon.anatomy.dot_product import attend
from surgeon.anatomy.softmax import stable_softmax
from surgeon.practice.inside import with_steps
from surgeon.practice.step import (
    Mistake,
    Question,
    Step,
    normal,
)

SCALE = "anatomy/scaling"
MASK = "anatomy/masking"
LOWEST = -1e30  # what no score falls below is as good as minus infinity


# 1. Compare


def ask_scores(generator: torch.Generator) -> list[Question]:
    def pair(*lead: int, T: int, S: int, d: int, **how: Any) -> Question:
        Q = normal(generator, *lead, T, d, **how)
        return Question((Q, normal(generator, *lead, S, d, **how)))

    return [
        pair(T=3, S=3, d=3),
        pair(2, T=5, S=5, d=7),
        pair(2, T=5, S=3, d=7),
        pair(2, 3, T=5, S=7, d=11),
        pair(2, T=3, S=5, d=7, dtype=torch.float32),
    ]


SCORES = Step(
    "scores",
    "gives [..., T, S]",
    "Each query meets each key, and a row belongs to a query.",
    "anatomy/scores",
    lambda Q, K: Q @ K.mT,
    ask_scores,
    {
        "no transpose": Mistake(
            "The product runs over the tokens of K, not over the width that"
            " queries and keys share.",
            "Which axis do a query and a key have in common, and where does"
            " it stand in K?",
            "anatomy/scores",
            lambda Q, K: Q @ K,
        ),
        "all axes turned": Mistake(
            "Of a batch, all axes of K are turned round, as .T does.",
            "Only two axes change places, and they are the last ones.",
            "anatomy/scores",
            lambda Q, K: Q @ K.permute(*range(K.ndim)[::-1]),
        ),
        "keys by queries": Mistake(
            "The scores are there, and lie the other way: a row for each"
            " key.",
            "Who asks, and so has a row of its own?",
            "imaging/heatmaps",
            lambda Q, K: K @ Q.mT,
        ),
        "scaled already": Mistake(
            "These scores are divided by √d_k, which is the next step.",
            "What does this step do, and no more?",
            SCALE,
            lambda Q, K: Q @ K.mT / math.sqrt(Q.shape[-1]),
        ),
        "mean for sum": Mistake(
            "The products of the entries are averaged, not summed: all is"
            " smaller by the width.",
            "What is a dot product made of?",
            "anatomy/scores",
            lambda Q, K: Q @ K.mT / Q.shape[-1],
        ),
        "cosines": Mistake(
            "The lengths of queries and keys are divided away: these are"
            " cosines.",
            "What may a longer vector say in a dot product?",
            "anatomy/scores",
            lambda Q, K: (
                (Q / Q.norm(dim=-1, keepdim=True))
                @ (K / K.norm(dim=-1, keepdim=True)).mT
            ),
        ),
        "entry by entry": Mistake(
            "Q and K are multiplied entry by entry, and nobody meets anybody"
            " but its own place.",
            "How many scores are there for T queries and S keys?",
            "anatomy/scores",
            lambda Q, K: Q * K,
        ),
        "shares already": Mistake(
            "These are shares: a softmax has run, three steps early.",
            "May a score be negative?",
            "anatomy/softmax",
            lambda Q, K: stable_softmax(Q @ K.mT),
        ),
    },
    [(attend, "1")],
    inside=lambda yours: with_steps(scores=yours),
)


# 2. Scale


def ask_scale(generator: torch.Generator) -> list[Question]:
    def with_width(d_k: int, *shape: int, **how: Any) -> Question:
        return Question((normal(generator, *shape, **how), d_k))

    return [
        with_width(16, 2, 3),
        with_width(7, 5, 3),
        with_width(64, 2, 5, 11),
        with_width(11, 2, 3, 5, 5),
        with_width(37, 2, 5, 3, dtype=torch.float32),
    ]


SPREAD = (
    "The dot product of two vectors of d_k independent numbers, of mean 0 and"
    " variance 1, has variance d_k. What is its standard deviation?"
)

SCALING = Step(
    "scale",
    "gives the scores back at another size",
    "Scores are divided by √d_k, whatever their shape.",
    SCALE,
    lambda scores, d_k: scores / math.sqrt(d_k),
    ask_scale,
    {
        "divided by d_k": Mistake(
            "Scores are divided by d_k, not by its square root.",
            SPREAD,
            SCALE,
            lambda scores, d_k: scores / d_k,
        ),
        "divided by √S": Mistake(
            "Scores are divided by the root of the number of keys.",
            "Does a dot product grow with the number of words, or with what"
            " it sums over?",
            SCALE,
            lambda scores, d_k: scores / math.sqrt(scores.shape[-1]),
        ),
        "divided by √T": Mistake(
            "Scores are divided by the root of the number of queries.",
            "Does a dot product grow with the number of words, or with what"
            " it sums over?",
            SCALE,
            lambda scores, d_k: scores / math.sqrt(scores.shape[-2]),
        ),
        "multiplied by √d_k": Mistake(
            "Scores are multiplied by √d_k, and grow the more.",
            "Are they to become smaller or larger? Look at the sign of an"
            " exponent, too.",
            SCALE,
            lambda scores, d_k: scores * math.sqrt(d_k),
        ),
        "not divided": Mistake(
            "The scores come back as they went in.",
            "Is what you computed what you return?",
            "ablations/no-scale",
            lambda scores, d_k: scores,
        ),
        "halved": Mistake(
            "Scores are divided by half of d_k.",
            "Which comes first in d_k ** 1/2, the power or the division?",
            SCALE,
            lambda scores, d_k: scores / (d_k / 2),
        ),
        "divided by d_k and 2": Mistake(
            "Scores are divided by d_k, and then by two.",
            "Which comes first in d_k ** 1/2, the power or the division?",
            SCALE,
            lambda scores, d_k: scores / d_k / 2,
        ),
        "fourth root": Mistake(
            "Scores are divided by the fourth root of d_k.",
            "If Q and K are scaled apart, both must be.",
            SCALE,
            lambda scores, d_k: scores / d_k**0.25,
        ),
        "squared": Mistake(
            "Scores are divided by the square of d_k, not by its root.",
            SPREAD,
            SCALE,
            lambda scores, d_k: scores / d_k**2,
        ),
        "whole root": Mistake(
            "The root is cut off to a whole number.",
            "Try d_k = 7: what is its root as you compute it?",
            SCALE,
            lambda scores, d_k: scores / math.isqrt(d_k),
        ),
        "by their own spread": Mistake(
            "Scores are divided by the spread that they happen to have, and"
            " each depends on all others.",
            "May what a query finds depend on what another one asks?",
            "checks/score-growth",
            lambda scores, d_k: scores / scores.std(),
        ),
    },
    [(attend, "2")],
    inside=lambda yours: with_steps(scale=yours),
)
