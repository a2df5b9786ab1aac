"""A number for each distance added to the scores, rightly and wrongly."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.zoo.designs.design import ahead, scored, sound, weighed, wrong


def slopes(H, first=1):
    """2^(-8h / H): [H, 1, 1]."""
    h = torch.arange(first, H + first, dtype=torch.float64)
    return (2 ** (-8 * h / H))[:, None, None]


@sound(positions="alibi", layout="B H T d", heads=4)
def alibi(Q, K, V, mask=None):
    """ALiBi: a slope for each head, times the distance, taken off."""
    bias = -slopes(Q.shape[-3]) * ahead(Q, K).abs()
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@sound(positions="alibi", layout="B H T d", heads=6)
def alibi_of_six(Q, K, V, mask=None):
    """ALiBi in six heads: two slopes of eight heads after those of four."""
    fall = torch.cat([slopes(4), slopes(8)[[0, 2]]])
    bias = -fall * ahead(Q, K).abs()
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@sound(positions="alibi", layout="B H T d", heads=6)
def alibi_of_six_plain(Q, K, V, mask=None):
    """ALiBi in six heads, by the formula for powers of two: others do so."""
    return alibi(Q, K, V, mask)


@wrong(
    alibi,
    "positions",
    thread="paiml/aprender#2143",
    repair="2 ** (-8 (h + 1) / H) for h from 0.",
)
def slopes_one_step_early(Q, K, V, mask=None):
    """The first head's slope is 1: heads are counted from 0."""
    bias = -slopes(Q.shape[-3], 0) * ahead(Q, K).abs()
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@wrong(
    alibi,
    "positions",
    thread="meta-pytorch/attention-gym#86",
    repair="Minus the slope times the distance.",
)
def distance_rewarded(Q, K, V, mask=None):
    """The sign is wrong, and far keys gain."""
    bias = slopes(Q.shape[-3]) * ahead(Q, K).abs()
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@wrong(alibi, "positions", repair="A slope for each head.")
def one_slope_for_all(Q, K, V, mask=None):
    """Every head has the slope of the first."""
    bias = -slopes(Q.shape[-3])[:1] * ahead(Q, K).abs()
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@wrong(alibi, "positions", repair="Scale the scores, then add.")
def bias_scaled(Q, K, V, mask=None):
    """The bias is added before the division, and divided with the scores."""
    bias = -slopes(Q.shape[-3]) * ahead(Q, K).abs() / Q.shape[-1] ** 0.5
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


def table(distance):
    """A number for each distance, as a trained table might hold it."""
    return torch.sin(3.0 * distance.double()) + 0.1 * distance


def by_distance(Q, K, q_places, k_places):
    """What is declared of those that follow."""
    return Q, K, table(k_places - q_places[:, None])


@sound(positions=by_distance)
def distance_bias(Q, K, V, mask=None):
    """A bias for each distance, ahead and behind told apart."""
    return weighed(scored(Q, K) + table(ahead(Q, K)).to(Q), mask) @ V


@wrong(distance_bias, "positions", repair="keys minus queries.")
def ahead_for_behind(Q, K, V, mask=None):
    """Distances are counted the other way round."""
    return weighed(scored(Q, K) + table(-ahead(Q, K)).to(Q), mask) @ V


@wrong(
    distance_bias,
    "positions",
    thread="sooftware/conformer#55",
    repair="Every query has its own row of the table.",
)
def bias_of_the_next_query(Q, K, V, mask=None):
    """Past the diagonal stands what belongs to the next query."""
    distance = ahead(Q, K)
    bias = table(distance.where(distance <= 0, distance - K.shape[-2] - 1))
    return weighed(scored(Q, K) + bias.to(Q), mask) @ V


@wrong(distance_bias, "positions", repair="Add the bias in every row.")
def bias_lost_for_the_last(Q, K, V, mask=None):
    """The last query's row is sliced off the bias, and filled with zeros."""
    bias = table(ahead(Q, K)).to(Q)
    bias = torch.cat([bias[:-1], torch.zeros_like(bias[-1:])])
    return weighed(scored(Q, K) + bias, mask) @ V
