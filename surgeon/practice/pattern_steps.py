"""Numbers of a pattern: the entropy of a row, and all four statistics."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.imaging.patterns import analyze_attention_patterns, row_entropy
from surgeon.practice.step import (
    Function,
    Misfit,
    Mistake,
    Question,
    Step,
    normal,
)

PAGE = "imaging/patterns"


def some_weights(
    generator: torch.Generator, *shape: int, size: float = 1.0, **how: Any
) -> Tensor:
    return stable_softmax(size * normal(generator, *shape, **how))


def causal(weights: Tensor) -> Tensor:
    """The same, with zeros for the future."""
    lower = weights.tril()
    return lower / lower.sum(-1, keepdim=True)


NAN = Mistake(
    "A weight of 0 makes it NaN, and every causal mask leaves such weights.",
    "What is 0 · log 0, and what should it count?",
    PAGE,
)


def ask_entropy(generator: torch.Generator) -> list[Question]:
    hidden = causal(some_weights(generator, 2, 5, 5))
    return [
        Question((some_weights(generator, 3, 3),)),
        Question((some_weights(generator, 2, 5, 7),)),
        Question((some_weights(generator, 2, 3, 5, 5, size=3.0),)),
        Question((some_weights(generator, 5, 7, dtype=torch.float32),)),
        Question((hidden,), "NaN at zero"),
        Question((torch.eye(3, dtype=torch.float64),), "NaN at zero"),
    ]


def wrong_entropy(
    change: Callable[[Tensor, Tensor], Tensor],
) -> Function:
    """An entropy that is changed afterwards."""
    return lambda weights: change(row_entropy(weights), weights)


ENTROPY = Step(
    "row_entropy",
    "takes [..., S] to [...]",
    "The entropy of each row in nats, and a weight of 0 counts nothing.",
    PAGE,
    row_entropy,
    ask_entropy,
    {
        "bits": Mistake(
            "It is in bits; this book counts in nats.",
            "To which base is your logarithm?",
            PAGE,
            wrong_entropy(lambda H, a: H / math.log(2)),
        ),
        "base ten": Mistake(
            "The logarithm is to the base of ten; this book counts in nats.",
            "To which base is your logarithm?",
            PAGE,
            wrong_entropy(lambda H, a: H / math.log(10)),
        ),
        "negative": Mistake(
            "The sign is missing: no entropy is negative.",
            "Which sign has the logarithm of a share?",
            PAGE,
            wrong_entropy(lambda H, a: -H),
        ),
        "mean over keys": Mistake(
            "It is averaged over the keys, where the sum is meant.",
            "What does an even row of n keys give? It should be log n.",
            PAGE,
            wrong_entropy(lambda H, a: H / a.shape[-1]),
        ),
        "share of the most": Mistake(
            "It is divided by log S, from 0 to 1: another statistic.",
            "What does an even row of n keys give? It should be log n.",
            PAGE,
            wrong_entropy(lambda H, a: H / math.log(a.shape[-1])),
        ),
        "number of keys": Mistake(
            "This is e to the entropy: how many keys, not how many nats.",
            "What does a row with one key give? It should be 0.",
            PAGE,
            wrong_entropy(lambda H, a: H.exp()),
        ),
        "over the queries": Mistake(
            "The columns are summed, not the rows.",
            "Whose weights sum to one?",
            PAGE,
            lambda a: -(a * a.log()).sum(-2),
        ),
        "one for all": Mistake(
            "One number comes back, where each row has its own.",
            "Which axis is summed away, and which are kept?",
            PAGE,
            wrong_entropy(lambda H, a: H.mean()),
        ),
        "all added up": Mistake(
            "One number comes back, the sum of all rows.",
            "Which axis is summed away, and which are kept?",
            PAGE,
            wrong_entropy(lambda H, a: H.sum()),
        ),
        "NaN at zero": NAN,
    },
    [(row_entropy, None)],
    before=lambda weights: weights / weights.sum(-1, keepdim=True),
)


# All four


def read_statistics(value: Any, question: Question) -> dict[str, float]:
    """The four numbers, whatever else is in it."""
    names = (
        "max_attention",
        "entropy",
        "diagonal_mass",
        "local_vs_global",
    )
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise Misfit(f"It gives a value of type {kind}, not a dict.")
    if missing := [name for name in names if name not in value]:
        raise Misfit(f"It lacks {', '.join(missing)}.")
    try:
        return {name: float(value[name]) for name in names}
    except (TypeError, ValueError, RuntimeError):
        raise Misfit("Each of its values must be one number.") from None


def ask_statistics(generator: torch.Generator) -> list[Question]:
    hidden = causal(some_weights(generator, 5, 5))
    return [
        Question((some_weights(generator, 3, 3),)),
        Question((some_weights(generator, 5, 5, size=2.0),)),
        Question((some_weights(generator, 7, 7),)),
        Question((hidden,), "NaN at zero"),
        Question((torch.eye(5, dtype=torch.float64),), "nothing far away"),
    ]


def but(name: str, other: Callable[[Tensor, dict[str, float]], Any]) -> Any:
    """All four, and one of them in another way."""

    def statistics(weights: Tensor) -> dict[str, float]:
        found = analyze_attention_patterns(weights)
        return {**found, name: float(other(weights, found))}

    return statistics


def near(weights: Tensor, low: int, high: int) -> float:
    """The mass at distances from `low` to `high`."""
    place = torch.arange(len(weights))
    distance = (place[:, None] - place).abs()
    return float(weights[(distance >= low) & (distance <= high)].sum())


def ratio(low: int, high: int) -> Function:
    def other(weights: Tensor, found: dict[str, float]) -> float:
        mass = near(weights, low, high)
        left = float(weights.sum()) - mass
        return mass / left if left > 0 else math.inf

    return other


def sees_nothing(weights: Tensor, found: dict[str, float]) -> float:
    left = near(weights, 2, len(weights))
    return left / near(weights, 0, 1)


STATISTICS = Step(
    "analyze_attention_patterns",
    "gives a dict of max_attention, entropy, diagonal_mass and"
    " local_vs_global",
    "The four statistics of a pattern, with zeros among the weights, too.",
    PAGE,
    analyze_attention_patterns,
    ask_statistics,
    {
        "entropy in bits": Mistake(
            "The entropy is in bits; this book counts in nats.",
            "To which base is your logarithm?",
            PAGE,
            but("entropy", lambda a, found: found["entropy"] / math.log(2)),
        ),
        "entropy added up": Mistake(
            "The entropies of the rows are added up: the longer the text,"
            " the more.",
            "One number for all rows that does not grow with them?",
            PAGE,
            but("entropy", lambda a, found: found["entropy"] * len(a)),
        ),
        "entropy of every cell": Mistake(
            "The entropy is averaged over all cells: a row's sum is lost.",
            "What does an even row of n keys give? It should be log n.",
            PAGE,
            but("entropy", lambda a, found: found["entropy"] / len(a)),
        ),
        "entropy negative": Mistake(
            "The entropy is negative.",
            "Which sign has the logarithm of a share?",
            PAGE,
            but("entropy", lambda a, found: -found["entropy"]),
        ),
        "mean of the maxima": Mistake(
            "The largest weights of the rows are averaged, where the largest"
            " of all is asked for.",
            "One row that is sure, among many that are not: what is"
            " max_attention?",
            PAGE,
            but("max_attention", lambda a, found: a.amax(-1).mean()),
        ),
        "diagonal added up": Mistake(
            "The diagonal is added up, and not divided by the whole mass.",
            "Which share of all weight lies there?",
            PAGE,
            but("diagonal_mass", lambda a, found: a.diagonal().sum()),
        ),
        "diagonal in percent": Mistake(
            "The diagonal's mass is in percent; here it is a share, from 0"
            " to 1.",
            "What does the identity give? It should be 1.",
            PAGE,
            but(
                "diagonal_mass",
                lambda a, found: 100 * found["diagonal_mass"],
            ),
        ),
        "diagonal alone is local": Mistake(
            "Only the diagonal counts as local.",
            "How far away is a neighbour?",
            PAGE,
            but("local_vs_global", ratio(0, 0)),
        ),
        "two places are local": Mistake(
            "Two places away still counts as local.",
            "Local is |i - j| ≤ 1.",
            PAGE,
            but("local_vs_global", ratio(0, 2)),
        ),
        "local without itself": Mistake(
            "The diagonal is left out of what is local.",
            "How far away is a token from itself?",
            PAGE,
            but(
                "local_vs_global",
                lambda a, found: near(a, 1, 1) / near(a, 2, len(a)),
            ),
        ),
        "share for ratio": Mistake(
            "This is the local share of all, where local over global is"
            " meant.",
            "Of 10 parts inside and 6 outside, what is the ratio?",
            PAGE,
            but(
                "local_vs_global",
                lambda a, found: near(a, 0, 1) / a.sum(),
            ),
        ),
        "global over local": Mistake(
            "The ratio is upside down.",
            "Local is counted first.",
            PAGE,
            but("local_vs_global", sees_nothing),
        ),
        "NaN at zero": NAN,
        "nothing far away": Mistake(
            "Where no weight lies outside the window, the ratio should be"
            " infinite, and is not.",
            "Divide by nothing: what is left to say?",
            PAGE,
        ),
    },
    [(analyze_attention_patterns, None)],
    read=read_statistics,
    floats=False,
)
