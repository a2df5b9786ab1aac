"""Models that are odd, and what is said of each: all that is said neither of the zoo nor of faults beside it."""

import time

import torch
from sound_models import of_transformers
from torch import nn

from surgeon.zoo.models import padding, places, sight, translator
from surgeon.zoo.models.reader import HELD, Reader
from surgeon.zoo.models.translator import Translator


def words(ids):
    return nn.functional.one_hot(ids, 11).double()


def summed(ids):
    return words(ids).cumsum(1)


def raising_for_five(ids):
    if len(ids) == 5:
        raise RuntimeError("five are too many")
    return summed(ids)


class Moody:
    """It answers so often, and no more."""

    def __init__(self, times):
        self.times = times

    def __call__(self, ids):
        self.times -= 1
        if self.times < 0:
            raise RuntimeError("no more")
        return summed(ids)


class Slow(Moody):
    def __call__(self, ids):
        self.times -= 1
        while self.times < 0:
            time.sleep(0.01)
        return summed(ids)


def refuse(*given):
    raise RuntimeError("not here")


def counting(ids, cache=0.0):
    told = summed(ids) + cache
    return told, told[:, -1:]


def keeping_nothing(ids, cache=None):
    return summed(ids)


def translating(ids, source, source_mask=None, cache=None):
    """Its mask is forgotten behind a cache."""
    seen = torch.ones_like(source) if source_mask is None or cache is not None else source_mask
    looked = (words(source) * seen[..., None]).sum(1, keepdim=True)
    told = summed(ids) + (0.0 if cache is None else cache)
    return told + looked, told[:, -1:]


def by_place(ids, source, source_mask=None):
    """Sources count their places, padding or not."""
    places = torch.arange(1.0, source.shape[1] + 1)[:, None]
    seen = torch.ones_like(source) if source_mask is None else source_mask
    return summed(ids) + (words(source) * places * seen[..., None]).sum(1, keepdim=True)


def reading_positions(ids, position_ids=None):
    """Documents begin where positions do not go on."""
    if position_ids is None:
        return summed(ids)
    new = torch.zeros_like(ids)
    new[:, 1:] = (position_ids[:, 1:] != position_ids[:, :-1] + 1).long()
    which = new.cumsum(1)
    same = (which[:, :, None] == which[:, None]).tril().double()
    return same @ words(ids)


def twice_the_same(ids):
    return torch.cat([summed(ids)] * 2, -1)


def write_nothing_much(model, ids, seen, new, cached):
    return torch.cat([ids, ids[:, :1].expand(-1, new)], 1)


def late(ids):
    told = summed(ids)
    return torch.cat([told[:, :1] * 0 + 1, told[:, :-1]], 1)


class Embedded(nn.Module):
    """Words, summed."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 5)

    def forward(self, ids):
        return self.embed(ids).cumsum(1)


class WithoutHalves(Embedded):
    def forward(self, ids):
        if self.embed.weight.dtype.itemsize < 4:
            raise RuntimeError("too coarse")
        return super().forward(ids)


class WithoutTraining(Embedded):
    def forward(self, ids):
        if self.training:
            raise RuntimeError("never")
        return super().forward(ids)


class WithSpare(Embedded):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.ones(3))


class Curved(nn.Module):
    """A wave of many numbers together, which is steep in none of them alone."""

    def __init__(self):
        super().__init__()
        self.numbers = nn.ParameterList(torch.ones(1) for _ in range(200))

    def forward(self, ids):
        wave = torch.sin(400 * torch.cat(list(self.numbers)).sum())
        return summed(ids) * wave


def last_alone(ids):
    return summed(ids)[:, -1:]


def first_for_all(ids):
    """The first row is of every other, and no other of it."""
    told = summed(ids)
    return torch.cat([told[:1], told[1:] + told[:1]])


class Swapped(Translator):
    """Each row looks at the source by the mask of the one before it."""

    def source_in_sight(self, Q, K, seen):
        return super().source_in_sight(Q, K, None if seen is None else seen.roll(1, 0))


class FirstPositions(Reader):
    """Behind a cache it takes the first positions that its mask counts."""

    def places(self, B, T, past, seen, documents):
        if seen is None or documents is not None:
            return super().places(B, T, past, seen, documents)
        return (seen.long().cumsum(-1) - 1).clamp(min=0)[:, :T]


class CountsBehind(Reader):
    """Behind a cache it counts places."""

    def places(self, B, T, past, seen, documents):
        return super().places(B, T, past, None if past else seen, documents)


class WideBehind(Reader):
    """One token behind a cache sees one key more than the window."""

    def in_sight(self, i, j):
        one = len(i) == 1
        return (j <= i) & (i - j < self.window + one)


class Holed(Reader):
    """A window that loses the first token before its time."""

    def in_sight(self, i, j):
        return super().in_sight(i, j) & ((j > 0) | (i == 0))


class ByHand(Reader):
    """Queries and keys are multiplied number by number."""

    def scores(self, Q, K, allowed):
        products = (Q[..., :, None, :] * K[..., None, :, :]).sum(-1) / Q.shape[-1] ** 0.5
        return products.masked_fill(~allowed, -torch.inf)


class BlocksOfTheFirst(places.TakesBlocks):
    """Of a mask of who may see whom, the first row's is laid on all, beside its own."""

    def allowed(self, T, S, seen, documents):
        if seen is not None and seen.ndim == 4:
            seen = seen & seen[:1]
        return super().allowed(T, S, seen, documents)


COUNTING = {"vocab": 11, "names": {"cache": "cache"}}
SOURCES = {"source": "source", "source_mask": "source_mask"}
FORGOTTEN = {"vocab": 11, "kind": "encoder-decoder", "names": {**SOURCES, "cache": "cache"}}
FEW = 2e-5  # GiB: less than two copies of a reader in float64

# name: (what makes it, what is held, what is said of a law, of the whole, or instead)
ODD = {
    "a sum": (
        lambda: summed,
        {"vocab": 11},
        {
            "portrait": "It was asked in its own precision; rounding may make 9e-16 of an answer.",
            "back ends agree": "No other program for its attention is known.",
            "cache, one by one": "It takes no cache that is known: declare it, if it has one.",
            "source padding": "It has no source beside its tokens.",
            "bfloat16": "Only a module that can be cast is asked.",
            "gradients": "Only a module that can be cast to float64 is asked for gradients.",
            "moving along": "Nobody said whether its positions are relative.",
            "documents apart": "It is not told which document is whose.",
            "beyond the table": "It was not said to have a table of positions.",
            "reach": "No window was declared.",
            "writing": "How it writes is not known: generate.",
            "padding on the right": "It takes no mask of padding.",
        },
    ),
    "a pool": (
        lambda: lambda ids: words(ids).sum(1),
        {"vocab": 11},
        {
            "future, evaluating": "It gives one output for a row, and none for each token. If it can give them all,"
            " examine a module around it that returns them, as model(ids, targets=ids)[0]."
        },
    ),
    "the last alone": (
        lambda: last_alone,
        {"vocab": 11, "kind": "decoder"},
        {
            "portrait": "A decoder.",
            "at the top": "26 of 35 laws could not be told, among them those of a decoder: “future, evaluating”,"
            " “future, training”, “the past is seen”",
        },
    ),
    "the first for all": (
        lambda: first_for_all,
        {"vocab": 11},
        {"alone or in company": "A row's answer moves when other rows of its batch change"},
    ),
    "first positions": (
        FirstPositions,
        HELD,
        {
            "cache, padded batch": "With a cache, and a mask in which nothing is padding, a text is answered otherwise"
            " than without the mask.",
            "instead of cache, padded batch": "With a cache, read the mask as that of all keys: its last T columns"
            " are of the new tokens.",
        },
    ),
    "places behind": (
        CountsBehind,
        HELD,
        {
            "cache, padded batch": "In a batch padded in front, read through a cache and told no positions, rows are"
            " answered otherwise than alone, though told them, or without a cache, all is well: with a cache, positions"
            " are miscounted.",
            "instead of cache, padded batch": "Count positions by the mask of all keys, and take the last:"
            " positions[:, -T:].",
        },
    ),
    "a window too wide behind a cache": (
        lambda: WideBehind(window=4),
        HELD | sight.WINDOW,
        {
            "cache, one by one": "Token by token through its cache, it answers otherwise than to the whole, from"
            " token 4 on, the first that a window of 4 hides a key from: what the cache keeps is not what the window"
            " shows.",
            "instead of cache, one by one": "Show one token, too, no more keys than the window: its own among them.",
        },
    ),
    "the mask of another source": (
        Swapped,
        HELD | translator.HELD,
        {
            "portrait": "An encoder-decoder.",
            "source padding": "A padded source is answered as without its padding in a batch of one, and not in a"
            " batch: the mask of another row is applied.",
            "instead of source padding": "Give each row's mask to its own heads: repeat_interleave(heads, 0), not"
            " repeat.",
        },
    ),
    "translating, its mask taken for another": (
        lambda: translating,
        FORGOTTEN | {"names": {"source": "source", "cache": "cache", "mask": "source_mask"}},
        {
            "source padding": "source_mask is taken for the mask of its own tokens: if it is that of the source, say"
            ' names={"source_mask": "source_mask"}.',
        },
    ),
    "a window behind a short text": (
        lambda: Reader(window=4),
        HELD | sight.WINDOW | {"max_len": 7},
        {
            "reach": "Cannot be told: texts here have 7 tokens, and it may look 6 back: if it takes 9, say max_len.",
        },
    ),
    "a long window": (
        lambda: Reader(window=20),
        HELD | {"window": 20, "layers": 2},
        {"reach": "Cannot be told: texts here are too short for its window."},
    ),
    "a mean": (
        lambda: lambda ids: summed(ids) + words(ids).mean(1, keepdim=True),
        {"vocab": 11},
        {
            "future, evaluating": "Cannot be told: its outputs depend on earlier and later tokens. Say"
            ' kind="decoder" if they should not, or kind="encoder".'
        },
    ),
    "late": (
        lambda: late,
        {"vocab": 11},
        {
            "the past is seen": "Output 0 does not depend on its own token.",
            "future, training": "A function has no mode for training.",
        },
    ),
    "short": (
        Reader,
        HELD | {"max_len": 4, "generate": None},
        {
            "padding on the left": "Its texts are too short to be padded.",
            "documents apart": "Its texts are too short to be packed.",
        },
    ),
    "seeing its future": (
        sight.SeesItsFuture,
        HELD,
        {"future, training": 'As "future, evaluating", which fails.'},
    ),
    "words alone": (
        lambda: words,
        {"vocab": 11, "kind": "decoder"},
        {
            "the past is seen": "Outputs depend on tokens up to 0 places away, and on none further: declare the"
            " window, if it has one."
        },
    ),
    "raising for five": (
        lambda: raising_for_five,
        {"vocab": 11},
        {"alone or in company": "Cannot be told: the model raises RuntimeError: five are too many"},
    ),
    "raising at once": (
        lambda: refuse,
        {"vocab": 11},
        {
            "answers": "It raises RuntimeError: not here",
            "instead of answers": "If it is called in another way, say so: names, options, output, vocab.",
            "writing": "Cannot be told: the model does not answer.",
        },
    ),
    "infinite": (
        lambda: lambda ids: words(ids) / 0,
        {"vocab": 11},
        {"writing": "Cannot be told: the model answers with no numbers."},
    ),
    "moody": (
        lambda: Moody(3),
        {"vocab": 11},
        {
            "answers": "It answers once, and then raises RuntimeError: no more",
            "writing": "Cannot be told: the model does not answer each time.",
        },
    ),
    "slow": (
        lambda: Slow(2),
        {"vocab": 11, "patience": 1.0},
        {
            "answers": "The examination was given up after 1 s, while “same answer twice” was tried.",
            "instead of answers": "Give it more patience, or find what never ends.",
        },
    ),
    "coarse": (
        lambda: lambda ids: summed(ids).bfloat16() * 1.5,
        {"vocab": 11},
        {
            "alone or in company": "Cannot be told: rounding may make 0.094 of an answer in the precision that it"
            " computes in. Hand in the module itself, which is cast."
        },
    ),
    "a count": (
        lambda: counting,
        COUNTING | {"positions": "relative"},
        {
            "cache, reordered": "Its cache cannot be reordered, or how is not known: reorder.",
            "cache, cropped": "Its cache cannot be cropped, or how is not known: crop.",
            "cache, beyond the window": "No window was declared that a short text outgrows.",
            "moving along": "It takes no positions that could be moved.",
            "cache, padded batch": "It takes no mask of padding.",
        },
    ),
    "a count that cannot be turned": (
        lambda: counting,
        COUNTING | {"reorder": refuse},
        {"cache, reordered": "Cannot be told: the model raises RuntimeError: not here"},
    ),
    "keeping nothing": (
        lambda: keeping_nothing,
        COUNTING,
        {
            "cache, one by one": "It handed no cache back: if it keeps one, say new_cache, cache_back, or by options"
            " what makes it."
        },
    ),
    "translating": (
        lambda: translating,
        FORGOTTEN,
        {
            "cache, padded batch": "With a padded source, and read through a cache, rows are answered otherwise than"
            " alone.",
            "documents apart": "It packs no documents.",
        },
    ),
    "translating, told no mask": (
        lambda: translating,
        FORGOTTEN | {"names": {"source": "source", "cache": "cache"}},
        {
            "cache, padded batch": "It takes no mask of its source.",
            "source padding": "It takes no mask of its source.",
        },
    ),
    "translating by place": (
        lambda: by_place,
        {"vocab": 11, "kind": "encoder-decoder", "names": SOURCES},
        {
            "source padding": "With padding in front of its source, the decoder answers otherwise: positions count"
            " the padding. Behind the source, it does nothing.",
            "instead of source padding": "Count the source's positions by its mask: mask.cumsum(-1) - 1, at least 0.",
        },
    ),
    "a translator": (
        Translator,
        HELD | translator.HELD,
        {"padding on the right": "Its source is padded: source padding."},
    ),
    "documents by positions": (
        lambda: reading_positions,
        {"vocab": 11},
        {"documents apart": "Kept apart by positions that start anew."},
    ),
    "documents by nothing": (
        Reader,
        HELD | {"names": {"documents": ""}},
        {
            "documents apart": "Positions that start anew do not keep documents apart here, and no other way is known.",
            "moving along": "Its positions are absolute.",
        },
    ),
    "tied": (
        lambda: twice_the_same,
        {"vocab": 11, "generate": write_nothing_much},
        {"writing": "Up to the first tie: 3 were met."},
    ),
    "without halves": (
        WithoutHalves,
        {},
        {
            "bfloat16": "Cannot be told: it raises RuntimeError: too coarse",
            "checkpointing": "How it is switched on is not known.",
        },
    ),
    "without training": (
        WithoutTraining,
        {},
        {"future, training": "Cannot be told: it raises RuntimeError: never"},
    ),
    "with spare numbers": (WithSpare, {}, {"gradients": "1 are not used by this output."}),
    "curved": (Curved, {"vocab": 11}, {"gradients": "Cannot be told: slopes are too curved."}),
    "without a mask": (
        Reader,
        HELD | {"names": {"mask": ""}, "programs": {**HELD["programs"], "other": refuse}},
        {
            "back ends agree": "Tried: plain, fused. Refused: other (RuntimeError: not here).",
            "back ends, padding": "It cannot be asked so.",
        },
    ),
    "told what documents are": (
        Reader,
        HELD,
        {
            "documents apart": "Kept apart by what it is told of documents.",
            "float16": "The largest score, of 2 products of queries and keys, was 0.926: 1.4e-05 of the largest number"
            " of float16, 65504.",
        },
    ),
    "multiplying in a way of its own": (
        ByHand,
        HELD,
        {"float16": "Its scores were not seen: queries and keys are multiplied in a way of its own."},
    ),
    "blocks of another row": (
        BlocksOfTheFirst,
        HELD | {"names": {"documents": ""}},
        {
            "documents apart": "No document reads another, and each is answered otherwise than alone: a query sees"
            " less than its own document, or what another row may see."
        },
    ),
    "without positions": (
        Reader,
        HELD | {"names": {"positions": ""}},
        {"positions from the mask": "It takes no positions that say more."},
    ),
    "too large": (
        Reader,
        HELD | {"memory": FEW},
        {"portrait": "It is examined in its own precision."},
    ),
    "a long table": (
        Reader,
        HELD | {"max_len": 5000},
        {"beyond the table": "Its table is too long to be outgrown here."},
    ),
    "both ways": (
        lambda: Reader(causal=False),
        HELD | padding.ENCODER | {"new_cache": HELD["new_cache"]},
        {
            "future, evaluating": "It reads both ways.",
            "cache, one by one": "It reads both ways: nothing is to be cached.",
        },
    ),
    "told its positions": (
        padding.CountsPaddingUnlessTold,
        HELD,
        {"cache, padded batch": "With positions handed in, each row is answered as alone."},
    ),
    "a window in some layers": (
        Reader,
        HELD | {"window": 4},
        {
            "reach": "Cannot be told: a window was declared, and not in how many layers: if in all, say layers.",
        },
    ),
    "a wide window": (
        lambda: sight.WindowTooWide(window=4),
        HELD | sight.WINDOW,
        {"the past is seen": 'Cannot be told while "reach" fails.'},
    ),
    "a window with a hole": (
        lambda: Holed(window=4),
        HELD | sight.WINDOW,
        {"the past is seen": "Output 1 and token 0: one does not depend on the other as the window says."},
    ),
}
OF_THE_LIBRARY = {
    "a window of the library": (
        lambda: of_transformers("Mistral"),
        {},
        {
            "cache, cropped": "Its cache was told to record what leaves the window (activate_past_recording);"
            " otherwise it refuses to be cropped behind it."
        },
    ),
    "pictures": (
        lambda: of_transformers("ViT"),
        {},
        {"future, evaluating": "It reads pictures."},
    ),
    "experts": (
        lambda: of_transformers("Mixtral"),
        {},
        {"portrait": "Its experts are asked by their plain program: the fused one has no float64."},
    ),
    "a llama": (
        lambda: of_transformers("Llama"),
        {},
        {
            "portrait": "LlamaForCausalLM of transformers 5.0.0, sdpa: declared from its configuration.",
            "documents apart": "Kept apart by positions that start anew, and by a mask [B, 1, T, T] of booleans, and by"
            " an additive mask [B, 1, T, T]. Beside a mask of ones, positions that start anew do not: leave that mask"
            " out.",
            "back ends agree": " Not asked: flex_attention, which has to be compiled, and has on a CPU neither float64"
            " nor gradients.",
        },
    ),
}
