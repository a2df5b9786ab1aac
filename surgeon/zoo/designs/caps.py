"""Scores held below a bound, rightly and wrongly."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import math

from surgeon.zoo.designs.design import scored, sound, weighed, wrong
from surgeon.zoo.fault import seen

CAP = 2.0


@sound(softcap=CAP)
def capped(Q, K, V, mask=None):
    """Scores capped softly: c · tanh(s / c)."""
    return weighed(CAP * (scored(Q, K) / CAP).tanh(), mask) @ V


@wrong(
    capped,
    "soft cap",
    thread="Dao-AILab/flash-attention#1025",
    repair="Cap, then hide.",
)
def capped_after_the_mask(Q, K, V, mask=None):
    """Hidden scores are capped too, and take a share from -c."""
    scores = scored(Q, K)
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    return weighed(CAP * (scores / CAP).tanh()) @ V


@wrong(
    capped,
    "soft cap",
    thread="unslothai/unsloth-zoo#593",
    repair="c * tanh(s / c), not s * tanh(s / c).",
)
def times_its_own_tanh(Q, K, V, mask=None):
    """The score is multiplied by the tanh, in place of the cap."""
    scores = scored(Q, K)
    return weighed(scores * (scores / CAP).tanh(), mask) @ V


@wrong(
    capped,
    "soft cap",
    thread="sgl-project/sgl-kernel-xpu#491",
    repair="Pass the cap on to the kernel.",
)
def cap_forgotten(Q, K, V, mask=None):
    """The cap is taken as an argument and never used."""
    return weighed(scored(Q, K), mask) @ V


@wrong(capped, "soft cap", repair="Multiply by the cap again.")
def not_stretched_back(Q, K, V, mask=None):
    """What tanh gives is not multiplied by the cap."""
    return weighed((scored(Q, K) / CAP).tanh(), mask) @ V


@wrong(capped, "soft cap", repair="Scale, then cap.")
def capped_before_scaling(Q, K, V, mask=None):
    """Products are capped before they are scaled."""
    root = math.sqrt(Q.shape[-1])
    scores = CAP * (scored(Q, K) * root / CAP).tanh() / root
    return weighed(scores, mask) @ V


@wrong(capped, "soft cap", repair="tanh, whose gradient does not vanish.")
def cut_off_hard(Q, K, V, mask=None):
    """Scores are cut off at the cap, and those beyond have no gradient."""
    return weighed(scored(Q, K).clamp(-CAP, CAP), mask) @ V
