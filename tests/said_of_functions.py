"""What the check-up must say of functions: how each is asked, and a verdict and a sentence for some of its laws."""

import itertools
import math
import random

import torch
from examined import causal, laid_out, reader, softened

from surgeon import attention
from surgeon.zoo.catalogue import ZOO


def changed(before=lambda Q, K, V: (Q, K, V), after=lambda output, Q, K, V: output):
    """Our attention with its inputs or its output changed; it hands back no weights."""

    def subject(Q, K, V, mask=None):
        output = attention(*before(Q, K, V), mask)[0]
        return after(output, Q, K, V)

    return subject


def refusing(when):
    """Our attention, unless its inputs or its mask are such."""

    def subject(Q, K, V, mask=None):
        if when(Q, K, V, mask):
            raise RuntimeError("not like this")
        return attention(Q, K, V, mask)

    return subject


def scaled(factor):
    """Scores are multiplied by another factor, which the sizes give."""
    return changed(lambda Q, K, V: (Q * Q.shape[-1] ** 0.5 * factor(Q, K, V), K, V))


def padded(read):
    """Our attention with padding, [B, S] and True for real keys, read in some way into an output."""

    def subject(Q, K, V, padding=None):
        return attention(Q, K, V) if padding is None else read(Q, K, V, padding)

    return subject


def on_queries(Q, K, V, real):
    """NaN for queries that are padding."""
    scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
    return torch.softmax(scores.masked_fill(~real[..., None], -torch.inf), -1) @ V


def of_the_next(Q, K, V, real):
    return attention(Q, K, V, real.roll(1, 0)[:, None])


def large(Q, K):
    return (Q @ K.mT).abs().max() > 4000


def filled(fill):
    """Hidden scores are changed as `fill` says."""

    def subject(Q, K, V, mask=None):
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        return torch.softmax(scores if mask is None else torch.where(mask, scores, fill(scores)), -1) @ V

    return subject


def with_dropout(drop):
    """Attention by hand, with dropout of probability `p`: scores and weights are changed as `drop` says."""

    def subject(Q, K, V, mask=None, p=0.0):
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return (drop(scores, p) if p else torch.softmax(scores, -1)) @ V

    return subject


def dropped_keys(scores, p):
    return torch.softmax(scores.masked_fill(torch.rand(scores.shape) < p, -torch.inf).nan_to_num(neginf=-1e4), -1)


def dropped_scores(scores, p):
    return torch.softmax(torch.where(torch.rand(scores.shape) < p, 0.0, scores / (1 - p)), -1)


def noise(scores, p):
    return torch.softmax(scores, -1) * (1 + torch.rand(scores.shape))


def rounding(budgets):
    """Half precision is off by so many times what rounding each stage once may cost."""

    def subject(Q, K, V, mask=None):
        if Q.dtype == torch.float64:
            return attention(Q, K, V, mask)
        exact = attention(Q.double(), K.double(), V.double(), mask)[0]
        largest = (Q.double() @ K.double().mT / Q.shape[-1] ** 0.5).abs().max()
        budget = torch.finfo(Q.dtype).eps * (4 + 2 * largest) * V.double().abs().max()
        return exact + budgets * budget  # not rounded again

    return subject


def odd_mask(Q, K, V, mask=None):
    """Each query sees what the one before it may see, too."""
    if mask is not None:
        mask = mask | torch.cat([mask[..., :1, :], mask[..., :-1, :]], -2)
    return attention(Q, K, V, mask)


def by_flag(diagonal):
    """A causal flag, and no mask."""

    def subject(Q, K, V, is_causal=False):
        ones = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool)
        return attention(Q, K, V, diagonal(ones) if is_causal else None)

    return subject


def sound_flag(ones):
    return ones.tril(ones.shape[1] - ones.shape[0])


def empty_row(mask):
    return mask is not None and not mask.any(-1).all()


def harmed(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output + 1 if empty_row(mask) else output


def cut_off(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output.detach() if empty_row(mask) else output


def constant_row(Q, K, V, mask=None):
    output = attention(Q, K, V, mask)[0]
    return output if mask is None else torch.where(mask.any(-1, keepdim=True), output, 3.0)


def drawing(Q, K, V, mask=None):
    random.random()
    return attention(Q, K, V, mask)


def elsewhere(Q, K, V, mask=None):
    return attention(Q, K, V, mask)[0].to("meta")


def counting():
    seen = itertools.count()
    return changed(after=lambda output, *_: output + 0.01 * next(seen))


def tiring(calls):
    seen = itertools.count()
    return refusing(lambda *_: next(seen) >= calls)


def flagged_later(Q, K, V, is_causal=False):
    if is_causal:
        raise RuntimeError("not like this")
    return attention(Q, K, V)


def square_flag(Q, K, V, mask=None, is_causal=False):
    if is_causal and Q.shape[-2] != K.shape[-2]:
        raise RuntimeError("not like this")
    return causal(Q, K, V, mask, is_causal)


def four_heads(Q, K, V, mask=None):
    Q, K, V = (x.unflatten(-1, (4, -1)).transpose(1, 2) for x in (Q, K, V))
    return attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2)


def leaking(Q, K, V, mask=None):
    """Under a causal mask alone, by a path that autograd cannot follow."""
    output = attention(Q, K, V, mask)[0]
    return output if mask is None else output + torch.from_numpy(1e-3 * V.detach().numpy().mean(-2, keepdims=True))


def on_equal_widths(output, Q, K, V):
    return output + 0.01 * (Q.shape[-1] == V.shape[-1])


def on_three(output, Q, K, V):
    return output + 0.01 * (Q.shape[-2] == 3)


BY_HEADS = {"layout": "B H T d", "heads": 3, "mask_shape": "B 1 T S"}
FLAG, PADDING, DROPOUT = {"causal": "is_causal"}, {"padding": "padding"}, {"dropout": "p"}
NOT_LIKE_THIS = "RuntimeError: not like this"
UNKNOWN = "The output agrees with no known form of attention."

# what it is called: (what makes it, how it is asked, {verdict and law: sentence})
SAID = {
    # answers
    "raises": (
        lambda: refusing(lambda *_: True),
        {},
        {
            "FAIL answers": f"It raises an error, or returns something else: {NOT_LIKE_THIS}",
            "n/a scale": "Cannot be told: the subject does not answer.",
        },
    ),
    "returns nothing": (
        lambda: lambda Q, K, V, mask=None: None,
        {},
        {
            "FAIL answers": (
                "It raises an error, or returns something else: The subject must return a tensor first, got NoneType."
            )
        },
    ),
    "returns too little": (
        lambda: lambda Q, K, V, mask=None: V[..., :-1],
        {},
        {
            "FAIL answers": (
                "It raises an error, or returns something else:"
                " The output must have shape [2, 5, 11], got [2, 5, 10]."
            )
        },
    ),
    "answers elsewhere": (
        lambda: elsewhere,
        {},
        {
            "FAIL answers": (
                "It raises an error, or returns something else:"
                " The output must be where its inputs are, on the CPU, got meta."
            )
        },
    ),
    "tires": (
        lambda: tiring(9),
        {},
        {
            "FAIL answers": f"It answers once, and then raises {NOT_LIKE_THIS}",
            "n/a scale": "Cannot be told: the subject does not answer each time.",
        },
    ),
    "remembers": (
        counting,
        {},
        {
            "FAIL same answer twice": (
                "The answer depends on what was asked before: something is kept between calls."
            ),
            "n/a scale": "Cannot be told while answers depend on the past.",
            "n/a random state": "Cannot be told while answers depend on the past.",
        },
    ),
    # without a mask
    "sound": (
        lambda: attention,
        {},
        {
            "n/a heads apart": "There is one head.",
            "n/a grouped heads in order": "No key heads are shared in groups.",
            "n/a future, training": "A function has no training mode.",
            "n/a rectangular causal": (
                "The subject draws no causal mask: the caller's mask says who sees whom."
            ),
            "n/a dropout after softmax": "A function, and no name of an argument for dropout was given.",
            "pass dead rows, forward": "A row that may look at nothing gives zeros.",
        },
    ),
    "NaN": (lambda: changed(after=lambda o, *_: o * math.nan), {}, {
        "FAIL known form": "Ordinary inputs give NaN or infinity.",
        "n/a gradients": 'Cannot be told while "known form" fails.',
    }),
    "tanh": (lambda: softened, {}, {"FAIL known form": UNKNOWN}),
    "batch mixed": (
        lambda: changed(lambda Q, K, V: (Q, K, V + 0.1 * V.mean(0, keepdim=True))),
        {},
        {"FAIL batch elements apart": "An output changes with another sequence of the batch."},
    ),
    "heads mixed": (
        lambda: changed(lambda Q, K, V: (Q, K, V + 0.1 * V.mean(1, keepdim=True))),
        BY_HEADS,
        {"FAIL heads apart": "An output of one head changes with the values of another."},
    ),
    "wrong at three": (lambda: changed(after=on_three), {}, {
        "FAIL known form": "Right for some sizes, but not for 3 queries, 3 keys and 1 sequences.",
    }),
    "wrong at equal widths": (lambda: changed(after=on_equal_widths), {}, {
        "FAIL known form": f"{UNKNOWN} So it is where d_k and d_v are both 8; with 7 and 11 it holds.",
    }),
    "two values exchanged": (
        lambda: changed(lambda Q, K, V: (Q, K, V[..., [1, 0, *range(2, V.shape[-2])], :])),
        {},
        {"FAIL values in step with keys": "The weight of each key goes to another key's value: 1 to 0, 0 to 1."},
    ),
    "twice the values": (lambda: changed(lambda Q, K, V: (Q, K, 2 * V)), {}, {
        "FAIL convex hull": (
            "Outputs lie outside the values: the weights are no shares of one. Every row sums to 2."
        ),
    }),
    "negative weights": (lambda: changed(after=lambda o, Q, K, V: 3 * o - 2 * V.mean(-2, keepdim=True)), {}, {
        "FAIL convex hull": "Outputs lie outside the values: the weights are no shares of one.",
    }),
    "causal by nature, undeclared": (lambda: lambda Q, K, V: causal(Q, K, V, is_causal=True), {}, {
        "FAIL known form": (
            "It is causal though no mask was given. If that is meant, examine it with causal=True."
        ),
    }),
    "heads after tokens": (lambda: laid_out("B T H d"), BY_HEADS, {
        "FAIL heads apart": (
            "Heads attend to each other within a token: the axes of heads and tokens are taken for each other."
            ' If heads come after tokens by design, say so: layout="B T H d".'
        ),
    }),
    "heads in the width": (lambda: four_heads, {}, {
        "FAIL known form": (
            'The width is split into 4 heads. If that is meant, say so: layout="B T (H d)", heads=4.'
        ),
    }),
    # the scale
    "0.9": (lambda: scaled(lambda Q, K, V: 0.9 * Q.shape[-1] ** -0.5), {}, {
        "FAIL scale": "Scores are multiplied by an unusual factor.",
        "n/a scale before overflow": "Cannot be told while the scale is wrong.",
        "pass convex hull": "Holds, but for the scale.",
    }),
    "divided by the root": (lambda: attention, {"scale": 1.0}, {
        "FAIL scale": "Scores are divided by √d_k.",
    }),
    "fourth root": (lambda: scaled(lambda Q, K, V: Q.shape[-1] ** -0.25), {}, {
        "FAIL scale": (
            "Scores are divided by the fourth root of d_k: one of Q and K was scaled, not both."
        ),
    }),
    "width of the values": (lambda: scaled(lambda Q, K, V: V.shape[-1] ** -0.5), {}, {
        "FAIL scale": "Scores are divided by √d_v, the width of the values.",
    }),
    "number of keys": (lambda: scaled(lambda Q, K, V: K.shape[-2] ** -0.5), {}, {
        "FAIL scale": "Scores are divided by the square root of the number of keys.",
    }),
    "another scale, declared": (lambda: ZOO["unscaled"].made, {"scale": 1.0}, {
        "n/a scale before overflow": "The subject is meant to have another scale.",
    }),
    "narrow heads": (lambda: attention, {"widths": (3, 2)}, {
        "n/a scale before overflow": "Heads are so narrow that the scale makes no room.",
    }),
    # masks
    "refuses masks": (lambda: refusing(lambda Q, K, V, mask: mask is not None), {}, {
        "FAIL mask obeyed": f"It refuses a mask: {NOT_LIKE_THIS}",
    }),
    "takes no mask": (lambda: lambda Q, K, V: attention(Q, K, V), {}, {
        "n/a mask obeyed": "The subject takes no mask and is not said to be causal.",
        "n/a dead rows, forward": "The subject takes no mask and is not said to be causal.",
        "n/a future, evaluating": "The subject takes no mask and is not said to be causal.",
    }),
    "takes a flag alone": (lambda: by_flag(sound_flag), FLAG, {
        "n/a mask obeyed": "The subject takes no mask but the causal one.",
        "n/a dead rows, forward": "The subject takes no mask, so that no row can be emptied.",
        "pass rectangular causal": (
            "Aligned bottom-right: The last query sees every key, as when tokens follow a cache."
        ),
    }),
    "refuses its flag": (lambda: flagged_later, FLAG, {
        "FAIL future, evaluating": f"Asked by is_causal to hide the future, it raises {NOT_LIKE_THIS}",
    }),
    "hides the past": (lambda: by_flag(lambda ones: ones.triu()), FLAG, {
        "FAIL mask polarity": "The mask hides the past and shows the future.",
    }),
    "a diagonal in between": (lambda: by_flag(lambda ones: ones.tril((ones.shape[1] - ones.shape[0]) // 2)), FLAG, {
        "FAIL rectangular causal": "Aligned neither: the causal mask agrees with neither convention.",
    }),
    "square alone": (lambda: square_flag, FLAG, {
        "n/a rectangular causal": f"It takes no more keys than queries: {NOT_LIKE_THIS}",
    }),
    "an odd mask": (lambda: odd_mask, {}, {
        "FAIL known form": "With a mask, the output agrees with no known form of attention.",
    }),
    "a leak": (lambda: leaking, {}, {"FAIL future, evaluating": "Outputs depend on later tokens."}),
    "a mask lost": (lambda: ZOO["lost_mask"].made, {}, {
        "n/a future, evaluating": 'Follows from "mask obeyed".',
    }),
    "hidden scores of -5": (lambda: filled(lambda scores: -5.0), {}, {
        "FAIL minus infinity": "Hidden scores are set to -5, which leaves them a share.",
    }),
    "hidden scores less 7": (lambda: filled(lambda scores: scores - 7), {}, {
        "FAIL minus infinity": "Hidden scores are changed by -7, which leaves them a share.",
    }),
    "found out": (lambda: reader("True blocks"), {"mask": "find"}, {
        "n/a mask polarity": "Found out, not declared: True blocks.",
    }),
    # padding
    "one mask for all": (lambda: attention, {"mask_shape": "T S"}, {
        "n/a padding on keys": "It takes one mask for all sequences, and no padding.",
    }),
    "padding refused": (lambda: padded(lambda *_: 1 / 0), PADDING, {
        "n/a padding on keys": "It takes no mask of each sequence: ZeroDivisionError: division by zero",
    }),
    "padding on queries": (lambda: padded(on_queries), PADDING, {
        "FAIL padding on keys": "Padding is applied to the queries, and no key is hidden.",
    }),
    "padding blanks outputs": (lambda: padded(lambda Q, K, V, real: attention(Q, K, V)[0] * real[..., None]), PADDING, {
        "FAIL padding on keys": (
            "Padding is applied to the queries: their outputs are blanked, and no key is hidden."
        ),
    }),
    "padding lost": (lambda: padded(lambda Q, K, V, real: attention(Q, K, V)), PADDING, {
        "FAIL padding on keys": "Padding has no effect: no key is hidden.",
    }),
    "padding inverted": (lambda: padded(lambda Q, K, V, real: attention(Q, K, V, ~real[:, None])), PADDING, {
        "FAIL padding on keys": "Padding is inverted: real keys are hidden, and padding is seen.",
    }),
    "padding of the next": (lambda: padded(of_the_next), PADDING, {
        "FAIL padding on keys": "Padding acts in no known way.",
    }),
    # rows without a key
    "a finite number for minus infinity": (lambda: ZOO["minus_ten_thousand"].made, {}, {
        "n/a dead rows, forward": "Follows from the finite number that stands for minus infinity.",
        "n/a dead rows, backward": "Follows from the finite number that stands for minus infinity.",
    }),
    "refuses empty rows": (lambda: refusing(lambda Q, K, V, mask: empty_row(mask)), {}, {
        "n/a dead rows, forward": f"It refuses a row with nothing to look at: {NOT_LIKE_THIS}",
    }),
    "empty rows give NaN": (lambda: ZOO["dead_rows_nan"].made, {"dead_rows": "nan"}, {
        "pass dead rows, forward": "A row that may look at nothing gives NaN.",
        "n/a dead rows, backward": "Follows from the NaN of the output.",
    }),
    "empty rows give means": (lambda: ZOO["dead_rows_uniform"].made, {"dead_rows": "uniform"}, {
        "pass dead rows, forward": (
            "A row that may look at nothing looks at everything, evenly: hidden values leak."
        ),
    }),
    "empty rows give zeros": (lambda: attention, {"dead_rows": "nan"}, {
        "FAIL dead rows, forward": "A row that may look at nothing gives zeros.",
    }),
    "empty rows give threes": (lambda: constant_row, {}, {
        "FAIL dead rows, forward": (
            "A row that may look at nothing gives numbers, neither zero nor the mean of the values."
        ),
    }),
    "an empty row harms": (lambda: harmed, {}, {
        "FAIL dead rows, forward": "A row without keys harms the others.",
    }),
    "an empty row cuts gradients": (lambda: cut_off, {}, {"n/a dead rows, backward": "No gradient flows."}),
    # numbers
    "refuses large scores": (lambda: refusing(lambda Q, K, V, mask: large(Q, K)), {}, {
        "FAIL large scores": f"It refuses large scores: {NOT_LIKE_THIS}",
        "n/a minus infinity": 'Cannot be told while "large scores" fails.',
    }),
    "refuses low scores under a mask": (lambda: refusing(lambda Q, K, V, mask: mask is not None and large(Q, K)), {}, {
        "n/a minus infinity": f"It refuses large scores: {NOT_LIKE_THIS}",
    }),
    "refuses half precision": (lambda: refusing(lambda Q, K, V, mask: Q.dtype in (torch.float16, torch.bfloat16)), {}, {
        "n/a half precision": f"It takes no half precision here: {NOT_LIKE_THIS}",
        "n/a scale before overflow": f"It takes no float16 here: {NOT_LIKE_THIS}",
    }),
    "twice the budget": (lambda: rounding(2.0), {}, {
        "FAIL half precision": (
            "float16 loses more than rounding each stage once: a long sum is kept in half precision."
        ),
    }),
    "half the budget": (lambda: rounding(0.5), {}, {
        "pass half precision": "Half precision costs no more than rounding each stage once.",
    }),
    "no gradient": (lambda: changed(after=lambda o, *_: o.detach()), {}, {
        "FAIL gradients": "No gradient reaches the inputs.",
        "n/a weights returned": "It hands back no weights [queries, keys].",
    }),
    "refuses strides": (lambda: refusing(lambda Q, K, V, mask: not Q.is_contiguous()), {}, {
        "n/a strided inputs": f"It refuses inputs that are not contiguous: {NOT_LIKE_THIS}",
    }),
    "draws from Python": (lambda: drawing, {}, {
        "FAIL random state": "The global generator of Python is drawn from or seeded.",
    }),
    "refuses gradients": (lambda: refusing(lambda Q, K, V, mask: Q.requires_grad), {}, {
        "n/a gradients": f"Cannot be told: the subject raises {NOT_LIKE_THIS}",
    }),
    # dropout
    "narrow values": (lambda: with_dropout(dropped_keys), DROPOUT | {"widths": (7, 3)}, {
        "n/a dropout after softmax": "Values are too narrow to tell the weights from the output.",
    }),
    "dropout that drops nothing": (lambda: with_dropout(lambda scores, p: torch.softmax(scores, -1)), DROPOUT, {
        "n/a dropout after softmax": (
            "Training drops nothing: its probability is 0, or there is no dropout on the weights."
        ),
    }),
    "dropout gives NaN": (lambda: with_dropout(lambda scores, p: scores * math.nan), DROPOUT, {
        "FAIL dropout after softmax": "Dropout gives NaN.",
    }),
    "dropped keys": (lambda: with_dropout(dropped_keys), DROPOUT, {
        "FAIL dropout after softmax": (
            "The weights left do not grow alike: keys are dropped before softmax, as DropKey does on purpose."
        ),
    }),
    "dropped scores": (lambda: with_dropout(dropped_scores), DROPOUT, {
        "FAIL dropout after softmax": (
            "No weight becomes zero: scores are dropped, before softmax, and a score of 0 still has a share."
        ),
    }),
    "noise for dropout": (lambda: with_dropout(noise), DROPOUT, {
        "FAIL dropout after softmax": "Training changes the output, but not by dropping weights.",
    }),
}  # fmt: skip
