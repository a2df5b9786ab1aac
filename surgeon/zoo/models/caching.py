"""Models whose cache answers otherwise than the whole."""

# Pages show these models.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.zoo.models.fault import model_fault
from surgeon.zoo.models.reader import Cache, Reader, write


@model_fault(
    "cache, one by one",
    repair="Begin at the cache's length: arange(past, past + T).",
    generate=None,
)
class CacheStartsAnew(Reader):
    """With a cache, positions begin at 0 each time."""

    def places(self, B, T, past, seen, documents):
        return super().places(B, T, 0, seen, documents)


@model_fault(
    "cache, prompt first",
    thread="Mikyx-1/TinyLLM#17",
    repair="Draw the mask with a cache, too.",
)
class PromptSeesItsFuture(Reader):
    """The mask is drawn only where there is no cache."""

    def through(self, layer, x, places, allowed, cache, n):
        if cache is not None:
            allowed = torch.ones_like(allowed)
        return super().through(layer, x, places, allowed, cache, n)


@model_fault(
    "cache, in chunks",
    thread="hyprstream/hyprstream#1521",
    repair="Write tril(S - T): the last query stands at the last key.",
)
class ChunkFromTheTopLeft(Reader):
    """Of several tokens behind a cache, the first sees only the first key."""

    def in_sight(self, i, j):
        return super().in_sight(i - i[0] if len(i) > 1 else i, j)


@model_fault(
    "cache, in chunks",
    thread="lightseekorg/tokenspeed#178",
    repair="Hide the future of a chunk, whatever is in the cache.",
)
class ChunkSeesItsFuture(Reader):
    """Several tokens behind a cache see each other, later ones included."""

    def in_sight(self, i, j):
        behind = bool(i[0] > 0) and len(i) > 1
        return (i - j).abs() >= 0 if behind else super().in_sight(i, j)


@model_fault(
    "cache, padded batch",
    thread="rasbt/reasoning-from-scratch#33",
    repair="Count the tokens of each row.",
    names={"positions": ""},
    generate=None,
)
class OnePositionForAll(Reader):
    """With a cache, all rows are where the first one is."""

    def places(self, B, T, past, seen, documents):
        places = super().places(B, T, past, seen, documents)
        return places[:1].expand_as(places) if past else places


class KeysAlone(Cache):
    """A cache whose values stay where they are."""

    def reorder(self, rows):
        self.keys = {n: x[rows] for n, x in self.keys.items()}


@model_fault(
    "cache, reordered",
    thread="huggingface/transformers#46612",
    repair="Reorder all that a cache holds.",
    instead={"new_cache": KeysAlone},
)
class BeamsKeepTheirValues(Reader):
    """After a step of a search with beams, values are those of others."""


class LengthStays(Cache):
    """A cache that forgets tokens, and not how many there were."""

    def crop(self, kept):
        length = self.length
        super().crop(kept)
        self.length = length


@model_fault(
    "cache, cropped",
    thread="huggingface/transformers#47433",
    repair="Crop the count of tokens with them.",
    sizes={"rotary": True},
    positions="relative",
    instead={"new_cache": LengthStays},
)
class CropForgetsTheLength(Reader):
    """What is taken out of the cache is still counted by positions."""

    def step(self, layer, x, places, allowed, cache, n):
        if cache is not None and n in cache.keys:
            allowed = allowed[..., : cache.keys[n].shape[2] + x.shape[1]]
        return super().step(layer, x, places, allowed, cache, n)


@model_fault(
    "cache, beyond the window",
    thread="Lightning-AI/litgpt#2182",
    repair="Read a long prompt in pieces that fit, or refuse it.",
    sizes={"window": 8, "rotary": True},
    positions="relative",
    window=8,
    crop=None,
)
class PromptOverflowsItsRing(Reader):
    """A prompt longer than the window overwrites its own first keys."""

    def through(self, layer, x, places, allowed, cache, n):
        T, S = allowed.shape[-2:]
        if cache is not None and self.window < T:
            allowed = allowed & (torch.arange(S) >= S - self.window)
        return super().through(layer, x, places, allowed, cache, n)


def write_from_the_end(model, ids, seen, new, cached):
    """Greedily, padding taken for the last word."""
    if seen is not None:
        ids, seen = ids.flip(0), seen
    return write(model, ids, seen, new, cached)


@model_fault(
    "writing",
    repair="Hand the mask of each row on with its tokens.",
    instead={"generate": write_from_the_end},
)
class WritesForAnother(Reader):
    """In a padded batch, each row is written on behind another's mask."""
