"""A portrait: what kind of attention this is, in words; and is it sound?"""

import math

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam
from surgeon.checkup.finding import LAWS
from surgeon.checkup.probes.traits import (
    ADDED,
    ASTRAY,
    BIAS,
    NONE,
    PLACE_BIAS,
    TURNED,
    Traits,
)

PLACES = {
    NONE: "Places do not count: only what the tokens are.",
    BIAS: "With one token repeated, the distance counts, whatever the token.",
    PLACE_BIAS: "With one token repeated, places count, whatever the token.",
    TURNED: "With one token repeated, the distance counts, and the token.",
    ADDED: "With one token repeated, places count, even for keys of nothing.",
    ASTRAY: "With one token repeated, places count, not only distances.",
}
CONSTANT = {
    True: "A constant added to a row of scores changes its weights.",
    False: "A constant added to a row of scores changes nothing.",
}
PAST = "It is causal by itself."
LIKENESS = {
    BIAS: "a bias by distance (as ALiBi's or T5's)",
    PLACE_BIAS: "a bias by place, added to the scores",
    TURNED: "queries and keys turned by their places (rotary)",
    ADDED: "places added to queries or keys",
}


def likeness(traits: Traits) -> list[str]:
    """What it looks like, of the kinds that are sound and no plain form."""
    found = []
    if traits.places in LIKENESS:
        found.append(LIKENESS[traits.places])
    if not traits.query_length and not traits.key_length:
        found.append("cosines for scores (a norm of queries and keys)")
    elif not traits.query_length:
        found.append("a norm of queries")
    elif not traits.key_length:
        found.append("a norm of keys")
    if traits.rank is not None:
        found.append("products of features for weights (linear attention)")
    elif traits.limit is not None:
        of = "" if math.isnan(traits.limit) else f" of {traits.limit:.3g}"
        found.append(f"scores bent to a limit{of} (a cap)")
    if not traits.whole:
        low, high = traits.sums
        found.append(
            f"a sink, which takes {1 - high:.2g} to {1 - low:.2g} of a row"
            if traits.sum_varies
            else f"weights multiplied by {low:.3g}"
        )
    if _sight(traits.seen) == "":
        found.append("keys hidden by place (a window, or documents)")
    return found


def contradiction(traits: Traits) -> str:
    """Why no sound attention is like this; or nothing."""
    if traits.stray:
        norm = "" if traits.query_length else ", as by a norm of another row"
        return (
            "A score belongs to more than its query and its key:"
            f" {traits.stray}{norm}."
        )
    unseen = (~traits.seen.diagonal()).nonzero().flatten().tolist()
    if unseen:
        one = unseen[0]
        return f"Keys are dropped: query {one} does not see key {one}."
    if traits.places == ASTRAY:
        return (
            "Positions turn scores, and not by their distance: angles do not"
            " fit the pairs that they turn."
        )
    if traits.sum_varies and traits.knows_constant and not traits.constant:
        return (
            "Rows sum to less than one by as much whatever is added to their"
            " scores: the one beside them was not shifted with the maximum."
        )
    return ""


def portrait(traits: Traits, causal: bool) -> list[str]:
    """Sentences for the head of a report; `causal` if it was said to be."""
    low, high = (f"{total:.3g}" for total in traits.sums)
    total = low if low == high else f"{low} to {high}"
    length = {
        (True, True): "The lengths of queries and of keys count.",
        (
            True,
            False,
        ): "Of keys, only directions count; of queries, lengths too.",
        (
            False,
            True,
        ): "Of queries, only directions count; of keys, lengths too.",
        (False, False): "Only directions of queries and keys count.",
    }[traits.query_length, traits.key_length]
    lines = [
        f"The weights of a query add up to {total}.",
        _sight(traits.seen) or _keys(traits.seen),
        PLACES[traits.places],
        length,
    ]
    if traits.rank is not None:
        lines.append(f"The weights are of rank {traits.rank}.")
    elif traits.limit is not None and not math.isnan(traits.limit):
        lines.append(f"No score beyond {traits.limit:.3g} passes.")
    elif traits.knows_constant:
        lines.append(CONSTANT[traits.constant])
    if _sight(traits.seen) == PAST and not causal:
        lines.append("Say causal=True, and what that needs is tried.")
    return lines


def finish(exam: Exam) -> None:
    """Complete the portrait, once every law has been tried."""
    held, lines = exam.held, exam.portrait
    form = exam.findings["known form"]
    if not lines or form.passed:
        lines.insert(0, _plain(exam))
    if held.open_mask:
        lines.append("Without a mask it is causal; one of all ones opens it.")
    elif form.passed and exam.base is None:
        lines.append("Every query sees every key.")
    elif form.passed:
        lines.append(PAST)
    order = exam.findings["grouped heads in order"]
    if 1 < held.kv_heads < held.heads and order.passed is not False:
        lines.append(
            f"{held.heads} query heads share {held.kv_heads} key heads."
        )
    elif held.kv_heads == 1 < held.heads:
        lines.append("All query heads share one key head.")
    dropped = exam.findings["dropout after softmax"]
    if dropped.passed:
        lines.append(f"Training makes a weight {dropped.measured} itself.")


def _plain(exam: Exam) -> str:
    """In a line: softmax attention, or that but for one thing."""
    factor = f"softmax({exam.factor:.3g} QKᵀ)V"
    broken = exam.broken(*LAWS, *exam.designed)
    if exam.half:
        return "It computes in half precision, whatever comes."
    if exam.findings["known form"].passed and exam.designed:
        parts = ", ".join(exam.designed)
        wrong = exam.broken(*exam.designed)
        if wrong:
            return f"Attention, but not as declared: see “{wrong}”."
        return f"Attention as it was declared ({parts})."
    if exam.findings["known form"].passed:
        return f"Plain attention, {factor}, to rounding."
    return f"What it is cannot be told while “{broken}” fails."


def _sight(seen: Tensor) -> str:
    """Who sees whom, if that is everything or the past."""
    if seen.all():
        return "Every query sees every key."
    T, S = seen.shape
    past = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    if torch.equal(seen, past):
        return PAST
    return ""


def _keys(seen: Tensor) -> str:
    """How many keys queries see, if it is neither all nor the past."""
    counts = " ".join(map(str, seen.sum(-1).tolist()))
    return f"Of {seen.shape[1]} keys, the queries see {counts}."
