"""Queries and keys turned by their places, rightly and wrongly."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32
from surgeon.zoo.designs.design import placed, scored, sound, weighed, wrong


def angles(places, x, *, width=None, base=10_000.0, first=0):
    """Radians [T, width / 2], by the places and the frequencies."""
    width = width or x.shape[-1]
    dtype = at_least_float32(x.dtype)
    even = 2 * torch.arange(first, width // 2 + first, dtype=dtype)
    return places.to(dtype)[:, None] * base ** (-even / width)


def halves(x, angle):
    """Column `i` is turned with column `i + d / 2`."""
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def neighbours(x, angle):
    """Column `2i` is turned with column `2i + 1`."""
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., ::2], x[..., 1::2]
    turned = [a * cos - b * sin, b * cos + a * sin]
    return torch.stack(turned, -1).flatten(-2)


def both(Q, K, turn=halves, **how) -> tuple[Tensor, Tensor]:
    """Queries and keys, each turned by its place."""
    t, s = placed(Q, K)
    return turn(Q, angles(t, Q, **how)), turn(K, angles(s, K, **how))


@sound(positions="rotary")
def rotary(Q, K, V, mask=None):
    """Rotary: column i turned with column i + d/2."""
    return weighed(scored(*both(Q, K)), mask) @ V


@sound(positions="rotary pairs=neighbours")
def rotary_neighbours(Q, K, V, mask=None):
    """Rotary: neighbouring columns turned together."""
    return weighed(scored(*both(Q, K, neighbours)), mask) @ V


@sound(positions="rotary base=500000")
def rotary_slow(Q, K, V, mask=None):
    """Rotary with a base of half a million."""
    return weighed(scored(*both(Q, K, base=5e5)), mask) @ V


def part(x, angle):
    """The first half of the columns turned, the rest left alone."""
    turned, left = x.chunk(2, -1)
    return torch.cat([halves(turned, angle), left], -1)


@sound(positions="rotary share=0.5", widths=(8, 8))
def rotary_partly(Q, K, V, mask=None):
    """Rotary in the first half of each head's columns."""
    Q, K = both(Q, K, part, width=Q.shape[-1] // 2)
    return weighed(scored(Q, K), mask) @ V


@sound(positions="rotary", layout="B H T d", heads=3)
def rotary_in_heads(Q, K, V, mask=None):
    """Rotary, with an axis of heads."""
    return rotary(Q, K, V, mask)


@wrong(
    rotary,
    "positions",
    thread="facebookresearch/vjepa2#15",
    repair="Angles [a, b, a, b] for halves, [a, a, b, b] for neighbours.",
)
def pairs_mixed(Q, K, V, mask=None):
    """Angles are laid out for neighbours, and halves are turned by them."""

    def turn(x, angle):
        angle = angle.repeat_interleave(2, -1)
        a, b = x.chunk(2, -1)
        return x * angle.cos().to(x) + torch.cat([-b, a], -1) * angle.sin()

    return weighed(scored(*both(Q, K, turn)), mask) @ V


@wrong(
    rotary_neighbours,
    "positions",
    thread="vllm-project/vllm-ascend#12765",
    repair="The pairing that the weights were trained with.",
)
def halves_for_neighbours(Q, K, V, mask=None):
    """Halves are turned where neighbours are meant."""
    return rotary(Q, K, V, mask)


@wrong(
    rotary,
    "positions",
    thread="nurl-lang/nurl#584",
    repair="The pairing that the weights were trained with.",
)
def neighbours_for_halves(Q, K, V, mask=None):
    """Neighbours are turned where halves are meant."""
    return rotary_neighbours(Q, K, V, mask)


@wrong(
    rotary_in_heads,
    "positions",
    thread="facebookresearch/xformers#841",
    repair="Angles along the axis of tokens: transpose first.",
)
def turned_along_heads(Q, K, V, mask=None):
    """Angles grow with the number of the head, and not with the place."""
    if Q.ndim < 4:
        return rotary(Q, K, V, mask)
    by_head = angles(torch.arange(Q.shape[1]), Q)
    Q, K = (halves(x.transpose(1, 2), by_head) for x in (Q, K))
    Q, K = Q.transpose(1, 2), K.transpose(1, 2)
    return weighed(scored(Q, K), mask) @ V


@wrong(
    rotary_slow,
    "positions",
    thread="huggingface/candle#3746",
    repair="Read the base from the configuration.",
)
def usual_base(Q, K, V, mask=None):
    """The base is 10 000, whatever the configuration says."""
    return rotary(Q, K, V, mask)


@wrong(
    rotary_partly,
    "positions",
    thread="AI-Hypercomputer/maxtext#4616",
    repair="Turn x[..., :r] alone.",
)
def turned_whole(Q, K, V, mask=None):
    """All columns are turned where a share of them is meant."""
    return rotary(Q, K, V, mask)


@wrong(
    rotary_partly,
    "positions",
    thread="pie-project/pie#602",
    repair="Pairs and frequencies of the width that is turned.",
)
def part_by_the_whole_width(Q, K, V, mask=None):
    """A share is turned with the pairs and frequencies of the whole."""

    def turn(x, angle):
        r, d = x.shape[-1] // 4, x.shape[-1] // 2
        cos, sin = angle[:, :r].cos().to(x), angle[:, :r].sin().to(x)
        a, b = x[..., :r], x[..., d : d + r]
        left, rest = x[..., r:d], x[..., d + r :]
        a, b = a * cos - b * sin, b * cos + a * sin
        return torch.cat([a, left, b, rest], -1)

    return weighed(scored(*both(Q, K, turn)), mask) @ V


@wrong(
    rotary,
    "positions",
    thread="PaddlePaddle/PaddleFleet#1210",
    repair="Turn queries and keys.",
)
def queries_unturned(Q, K, V, mask=None):
    """Keys are turned, and queries are not."""
    return weighed(scored(Q, both(Q, K)[1]), mask) @ V


@wrong(rotary, "positions", repair="Turn queries and keys the same way.")
def keys_turned_back(Q, K, V, mask=None):
    """Keys are turned the other way: scores know the sum of two places."""
    turned = halves(K, -angles(placed(Q, K)[1], K))
    return weighed(scored(both(Q, K)[0], turned), mask) @ V


@wrong(
    rotary,
    "positions",
    thread="bkitano/llama-from-scratch#8",
    repair="base ** (-2 i / d), i = 0 ... d/2 - 1.",
)
def frequencies_from_one(Q, K, V, mask=None):
    """Pairs are counted from 1 in a formula that counts them from 0."""
    return weighed(scored(*both(Q, K, first=-1)), mask) @ V


@sound(positions="rotary", causal=True, mask="none")
def rotary_writing(Q, K, V):
    """Rotary and causal: new queries stand after what is kept."""
    t, s = placed(Q, K)
    return weighed(scored(*both(Q, K)), s <= t[:, None]) @ V


@wrong(
    rotary_writing,
    "positions",
    thread="Blaizzy/mlx-vlm#1983",
    repair="Queries start at S - T.",
)
def starts_at_zero(Q, K, V):
    """New queries stand at the first places, and not after what is kept."""
    t, s = placed(Q, K)
    turned = halves(Q, angles(t - t[0], Q)), both(Q, K)[1]
    return weighed(scored(*turned), s <= t[:, None]) @ V


class RotaryTables:
    """Rotary, causal, with tables of angles that are kept."""

    def __init__(self):
        self.kept = {}

    def number(self, places):
        """What a table is kept under."""
        return len(places), int(places[0])

    def turned(self, x, places):
        """Queries or keys, by the table that is kept."""
        number = *self.number(places), x.shape[-1], x.dtype
        if number not in self.kept:
            self.kept[number] = angles(places, x)
        return halves(x, self.kept[number])

    def __call__(self, Q, K, V):
        """Without a mask: it is causal by itself."""
        t, s = placed(Q, K)
        near = s <= t[:, None]
        scores = scored(self.turned(Q, t), self.turned(K, s))
        return weighed(scores, near) @ V


sound(positions="rotary", causal=True, mask="none")(RotaryTables)


@wrong(
    RotaryTables,
    "same answer twice",
    thread="lucidrains/rotary-embedding-torch#11",
    repair="Keep a table under its length and its offset.",
)
class OffsetForgotten(RotaryTables):
    """Tables are kept by length alone, and serve another offset."""

    def number(self, places):
        return (len(places),)
