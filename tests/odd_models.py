"""Models that are odd, and what is said of each: all that is said neither of the zoo nor of faults beside it."""

import time

import torch
from sound_models import of_transformers
from torch import nn

from surgeon.zoo.models import padding, sight, translator
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


class Holed(Reader):
    """A window that loses the first token before its time."""

    def in_sight(self, i, j):
        return super().in_sight(i, j) & ((j > 0) | (i == 0))


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
        {"future, evaluating": "It gives one output for a row, and none for each token."},
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
        {"padding on the left": "Its texts are too short to be padded."},
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
        {"cache, one by one": "It handed no cache back: it keeps none."},
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
            " the padding. Behind the source, it does nothing."
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
        {"documents apart": "Positions that start anew keep them apart."},
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
        {"reach": "Cannot be told: no window was declared that every layer keeps and that a text is longer than."},
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
        {"portrait": "LlamaForCausalLM of transformers 5.0.0, sdpa: declared from its configuration."},
    ),
}
