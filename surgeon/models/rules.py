"""The rules of a language: in each state some words, each to a state."""

import math
from collections.abc import Mapping

STOP = "."  # the word that ends a sentence,
START = "start"  # and the state that it leads to

#: ``{state: {word: (next state, weight)}}``
Rules = Mapping[str, Mapping[str, tuple[str, float]]]


def check_rules(rules: Rules) -> None:
    """Raise a ValueError, as `Automaton` documents it, if these are none."""
    if START not in rules:
        raise ValueError(
            f"rules must have a state {START!r}, got"
            f" {', '.join(map(repr, rules)) or 'none'}."
        )
    for state, words in rules.items():
        if not words:
            raise ValueError(
                "rules must allow at least one word in every state, got none"
                f" in {state!r}."
            )
        for word, (following, weight) in words.items():
            if following not in rules:
                raise ValueError(
                    "rules must lead to states that they have, got"
                    f" {following!r} after {word!r}."
                )
            if (word == STOP) != (following == START):
                raise ValueError(
                    f"rules must lead to {START!r} by {STOP!r} and by nothing"
                    f" else, got {word!r} to {following!r}."
                )
            if not 0 < weight < math.inf:
                raise ValueError(
                    f"rules must have positive, finite weights, got {weight}"
                    f" for {word!r} in {state!r}."
                )
    _check_ways(rules)


def _check_ways(rules: Rules) -> None:
    """Every state lies on a way from the start, and on one back to it."""
    forward = {
        state: {following for following, _ in words.values()}
        for state, words in rules.items()
    }
    backward = {
        state: {before for before in rules if state in forward[before]}
        for state in rules
    }
    for edges in (forward, backward):
        reached = [START]
        for state in reached:
            reached += sorted(edges[state] - set(reached))
        for state in rules:
            if state not in reached:
                raise ValueError(
                    f"rules must connect every state with {START!r}, there"
                    f" and back, got {state!r} cut off."
                )
