"""What an operating table shows, and what a reader may change on it."""

from collections.abc import Sequence
from typing import Any

from surgeon.instruments.operating import Settings

STAGES = (
    "tokens",
    "queries",
    "keys",
    "scores",
    "scale",
    "mask",
    "softmax",
    "weights",
    "values",
    "output",
)
CONTROLS = (
    "words",
    "draw",
    "d_k",
    "scale",
    "temperature",
    "mask",
    "stable",
    "precision",
)
VITALS = ("largest", "entropy", "gradient", "future", "empty", "broken")


def check_names(
    name: str, chosen: Sequence[str], known: Sequence[str]
) -> Sequence[str]:
    """The names chosen, if all are known; or a ValueError."""
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise ValueError(
            f"{name} must be of {', '.join(known)}, got {unknown[0]!r}."
        )
    return chosen


def check_words(tokens: Sequence[str]) -> list[str]:
    """The words, if none holds a space; or a ValueError."""
    for word in tokens:
        if word.split() != [word]:
            raise ValueError(
                f"tokens must be words without spaces, got {word!r}."
            )
    return list(tokens)


def start_of(
    words: Sequence[str],
    stages: Sequence[str],
    controls: Sequence[str],
    vitals: Sequence[str],
    knobs: Settings,
) -> dict[str, Any]:
    """The element's attributes: what is on the table at the start."""
    return {
        "tokens": " ".join(words),
        "stages": " ".join(check_names("stages", stages, STAGES)),
        "controls": " ".join(check_names("controls", controls, CONTROLS))
        or "none",
        "vitals": " ".join(check_names("vitals", vitals, VITALS)) or "none",
        "d-k": knobs.d_k,
        "scale": "on" if knobs.scale else "off",
        "temperature": float(knobs.temperature),
        "mask": knobs.mask,
        "padded": knobs.padded,
        "flipped": " ".join(f"{i},{j}" for i, j in knobs.flipped),
        "stable": "on" if knobs.stable else "off",
        "precision": knobs.precision,
        "seed": knobs.seed,
    }
