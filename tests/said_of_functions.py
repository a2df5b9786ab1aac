"""What the check-up must say of functions: how each is asked, and a verdict and a sentence for some of its laws."""

import math

import designed
import kinds
import torch
from examined import causal, laid_out, reader, softened
from kinds import in_halves, in_single
from odd_functions import (
    bend,
    bent,
    bent_coarse,
    bent_flag,
    bent_padded,
    blind_to_oneself,
    by_divisor,
    by_flag,
    by_squares,
    by_the_mean,
    causal_by,
    changed,
    constant_row,
    counting,
    cut_off,
    drawing,
    dropped_keys,
    dropped_scores,
    dropping_queries,
    elsewhere,
    empty_row,
    filled,
    flagged_later,
    forgetful,
    four_heads,
    growing_by_blocks,
    half_detached,
    halved_for_one,
    halved_for_three,
    harmed,
    highest_of_all_keys,
    hole_beside_a_cache,
    keys_ignored,
    large,
    late,
    leaking,
    lost_for_one,
    masked_sink,
    noise,
    odd_mask,
    odd_rectangles,
    of_the_next,
    on_directions,
    on_equal_widths,
    on_queries,
    on_three,
    open_without,
    own_value,
    padded,
    padded_in_turns,
    refusing,
    rounding,
    scaled,
    sound_flag,
    square_flag,
    squares_of_padding,
    tiring,
    with_a_root_of_nothing,
    with_dropout,
    without_a_maximum,
)

from surgeon import attention
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.designs.catalogue import WRONG

BY_HEADS = {"layout": "B H T d", "heads": 3, "mask_shape": "B 1 T S"}
FLAG, PADDING, DROPOUT = {"causal": "is_causal"}, {"padding": "padding"}, {"dropout": "p"}
ALONE = {"causal": True, "mask": "none"}
PADDED_CAUSAL = {"causal": True, "padding": "padding"}
NOT_LIKE_THIS = "RuntimeError: not like this"
UNKNOWN = "The output agrees with no known form of attention."

# what it is called: (what makes it, how it is asked, {verdict and law: sentence})
UNWRITTEN = "Rows sum to less than one there, as if empty keys took part: places of a cache that nobody wrote to."

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
    "tanh": (lambda: softened, {}, {
        "n/a known form": "No plain attention. It looks like one with scores bent to a limit of 1 (a cap).",
        "n/a scale": "Needs the formula, and this one has scores bent to a limit of 1 (a cap).",
    }),
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
    "normalised, as declared": (lambda: designed.SOUND["root mean squares"][0], {"qk_norm": "rms"}, {
        "n/a scale before overflow": "Queries and keys are normalised: their product has a bound.",
    }),
    "products of features, as declared": (lambda: designed.featured(), {"linear": "elu+1"}, {
        "n/a large scores": "It has no softmax that could overflow.",
        "n/a half precision": "It is tried with many keys, and softmax.",
    }),
    "sinks that cannot be read": (lambda: kinds.UNTOLD["a product of values"][0], {"sink": True}, {
        "n/a sink": (
            "Its numbers cannot be read off. The output is not linear in the values: no weights can be read. Give"
            " them: sink=[...], one for each head."
        ),
    }),
    "distances that cannot be read": (lambda: kinds.UNTOLD["a product of values"][0], {"positions": "distance"}, {
        "n/a positions": (
            "Its numbers cannot be read off. The output is not linear in the values: no weights can be read. Give it"
            " as a function: positions."
        ),
    }),
    "padding of other heads": (lambda: padded_in_turns, BY_HEADS | {"padding": "padding"}, {
        "FAIL padding on keys": (
            "Heads obey the padding of other sequences: masks are copied by repeat, 0 1 0 1, and rows of sequences"
            " and heads lie 0 0 1 1."
        ),
    }),
    "slightly negative weights": (
        lambda: changed(after=lambda o, Q, K, V: o + 0.03 * (V[..., :1, :] - V[..., 1:2, :])),
        {},
        {"FAIL known form": "Weights are negative, or sum to more than one."},
    ),
    "wrong at three": (lambda: changed(after=on_three), {}, {
        "FAIL known form": "Right for some sizes, but not for 3 queries, 3 keys and 1 sequences.",
    }),
    "wrong at equal widths": (lambda: changed(after=on_equal_widths), {}, {
        "FAIL known form": (
            "With values of zero the output is not zero: something else is added to it (a residual, a bias)."
            " So it is where d_k and d_v are both 64; with 7 and 11 it holds."
        ),
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
        "n/a softmax over keys": "The weights of a query add up to 2, and not to one.",
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
        "FAIL mask polarity": "The causal mask hides the past and shows the future.",
    }),
    "a diagonal in between": (lambda: by_flag(lambda ones: ones.tril((ones.shape[1] - ones.shape[0]) // 2)), FLAG, {
        "FAIL rectangular causal": "Aligned neither: the causal mask agrees with neither convention.",
    }),
    "from the last key": (lambda: by_flag(sound_flag), FLAG | {"alignment": "top-left"}, {
        "FAIL rectangular causal": (
            "Aligned bottom-right: The last query sees every key, as when tokens follow a cache."
        ),
    }),
    "square alone": (lambda: square_flag, FLAG, {
        "n/a rectangular causal": f"It takes no more keys than queries: {NOT_LIKE_THIS}",
    }),
    "an odd mask": (lambda: odd_mask, {}, {
        "FAIL mask obeyed": "What the mask hides keeps a weight, of up to 0.59.",
    }),
    "a sink behind a mask": (lambda: masked_sink, {}, {
        "FAIL known form": "With a mask, the output agrees with no known form of attention.",
        "pass gradients": "The gradients are those of the formula.",
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
    # no known form: laws that need none are told
    "bent": (bent, {}, {
        "FAIL known form": UNKNOWN,
        "pass softmax over keys": "Each query shares one unit of weight among the keys.",
        "pass values in step with keys": "The weight found for a key goes to that key's value.",
        "pass mask obeyed": "What the mask hides has no weight.",
        "pass mask diagonal": "Each token sees itself, not the next one.",
        "pass future, evaluating": "While evaluating, no causal output depends on a later token.",
        "pass minus infinity": "No score, however low, is outbid by a hidden key.",
        "pass padding on keys": "Padding hides keys, from every query of its own sequence.",
        "pass dead rows, forward": "A row that may look at nothing gives zeros.",
        "pass gradients": "The gradients are the slopes of the output.",
        "n/a large scores": "Adding the same to a whole row changes something here.",
        "n/a half precision": 'Cannot be told while "known form" fails.',
    }),
    "bent, by a flag": (lambda: bent_flag(sound_flag), FLAG, {
        "pass rectangular causal": (
            "Aligned bottom-right: The last query sees every key, as when tokens follow a cache."
        ),
    }),
    "bent, in single precision": (lambda: bent_coarse, {}, {
        "n/a gradients": "They are numbers; float32 is too coarse to try them by steps.",
    }),
    "bent, and sees two more": (lambda: bent_flag(lambda ones: ones.tril(2)), FLAG, {
        "FAIL future, evaluating": "Outputs depend on later tokens.",
        "n/a mask diagonal": "Who sees whom is no shifted diagonal.",
    }),
    "bent, and sees the next": (lambda: bent_flag(lambda ones: ones.tril(1)), FLAG, {
        "FAIL mask diagonal": "The causal mask is one place too wide: each token sees the next one.",
        "n/a future, evaluating": 'Follows from "mask diagonal".',
    }),
    "bent, and hides the past": (lambda: bent_flag(lambda ones: ones.triu()), FLAG, {
        "FAIL mask polarity": "The causal mask hides the past and shows the future.",
    }),
    "bent, and hides the diagonal": (lambda: bent_flag(lambda ones: ones.tril(-1)), FLAG, {
        "FAIL mask diagonal": "The causal mask hides the diagonal too: no token sees itself.",
    }),
    "plain, and hides the diagonal of its mask": (lambda: blind_to_oneself, {}, {
        "FAIL mask diagonal": "The mask hides the diagonal too: no token sees itself.",
        "pass gradients": "The gradients are those of the formula.",
    }),
    "bent, no flag heard": (lambda: bent_flag(torch.ones_like), FLAG, {
        "FAIL mask obeyed": "The causal flag has no effect: everyone sees everything.",
    }),
    "bent, mask lost": (lambda: bent(torch.ones_like), {}, {
        "FAIL mask obeyed": "The mask has no effect: everyone sees everything.",
    }),
    "no attention at all": (lambda: own_value, {}, {
        "FAIL mask obeyed": "The mask has no effect: everyone sees what it sees without one.",
    }),
    "bent, mask inverted": (lambda: bent(lambda mask: ~mask), {}, {
        "FAIL mask polarity": "What the mask hides is seen, and what it shows is hidden.",
    }),
    "bent, mask too narrow": (lambda: bent(lambda mask: mask & torch.eye(5, dtype=torch.bool)), {}, {
        "FAIL mask polarity": "Some keys that the mask shows are not seen.",
    }),
    "bent, mask too late": (lambda: bent(after=late), {}, {
        "FAIL mask before softmax": (
            "A hidden key still counts: its own share is gone, and those of others change with it."
        ),
    }),
    "bent, hidden scores of -5": (lambda: bent(fill=-5.0), {}, {
        "FAIL minus infinity": "Hidden scores are all set to one number, which leaves them a share.",
    }),
    "bent, hidden scores of -1e4": (lambda: bent(fill=-1e4), {}, {
        "FAIL minus infinity": (
            "A hidden score is a finite number between -1e1 and -1e2, not minus infinity: visible scores below it"
            " lose."
        ),
    }),
    "the highest of all keys": (lambda: highest_of_all_keys, {}, {
        "FAIL minus infinity": (
            "The largest score is looked for among hidden keys as well: a row whose visible scores lie between 1e2 and"
            " 1e3 below it comes out empty."
        ),
    }),
    "bent, padding lost": (lambda: bent_padded(torch.ones_like), PADDING, {
        "FAIL padding on keys": "Padding reaches real tokens: it hides nothing, or others.",
    }),
    "bent, padding hides all but the last": (lambda: bent_padded(lambda m: m & ~m.roll(-1, -1)), PADDING, {
        "FAIL padding on keys": "Real tokens are hidden with the padding.",
    }),
    "keys ignored": (lambda: keys_ignored, {}, {
        "n/a values in step with keys": "No share can be told to be its key's own.",
    }),
    "powers that overflow": (lambda: without_a_maximum, {}, {
        "FAIL large scores": "Large queries give NaN or infinity.",
    }),
    "squared lengths": (lambda: by_squares, {}, {
        "FAIL large scores": "Scores far above zero lose digits, more than rounding costs.",
    }),
    "lengths of values lost": (lambda: on_directions, {}, {
        "n/a softmax over keys": "The output is not linear in the values: no weights can be read.",
    }),
    "half a gradient": (lambda: half_detached, {}, {
        "FAIL gradients": "The gradient of K is not the slope of the output.",
    }),
    "the slope of a root of nothing": (lambda: with_a_root_of_nothing, {}, {
        "FAIL gradients": "The gradient of Q is NaN.",
    }),
    "key heads by the wrong divisor": (lambda: by_divisor, {"heads": 8, "kv_heads": 4}, {
        "FAIL grouped heads in order": (
            "Query heads use the key heads 0 0 0 0 1 1 1 1, in this order; neighbours should share one:"
            " 0 0 1 1 2 2 3 3."
        ),
    }),
    "the mean of all key heads": (lambda: by_the_mean, {"heads": 6, "kv_heads": 2}, {
        "n/a grouped heads in order": "No query head uses one key head alone.",
    }),
    "in halves": (lambda: in_halves, {}, {
        "pass batch elements apart": "No sequence of a batch knows of another.",
        "pass future, evaluating": "While evaluating, no causal output depends on a later token.",
        "n/a known form": "It computes in half precision, whatever comes: too coarse to tell this.",
        "FAIL single precision": (
            "Given float32 or more, it computes in half precision: a change of Q by 0.00001 is rounded away."
        ),
    }),
    "multiplied in halves": (lambda: in_single(WRONG["multiplied_in_bfloat16"].made), {}, {
        "FAIL single precision": (
            "Given float32 or more, it computes in half precision: a change of Q by 0.00001 is rounded away."
        ),
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
    "padding, and the past forgotten": (lambda: forgetful(lambda it: it), PADDED_CAUSAL, {
        "FAIL future, evaluating": "Told of padding, outputs depend on later tokens: the causal rule is lost.",
        "pass padding on keys": "Padding hides keys, from every query of its own sequence.",
        "n/a mask and padding": 'Cannot be told while "future, evaluating" fails.',
    }),
    "bent, padding, and the past forgotten": (lambda: forgetful(bend), PADDED_CAUSAL, {
        "FAIL future, evaluating": "Told of padding, outputs depend on later tokens: the causal rule is lost.",
        "pass padding on keys": "Padding hides keys, from every query of its own sequence.",
    }),
    "padding of one query lost": (lambda: padded(lost_for_one), PADDING, {
        "FAIL padding on keys": "With 1 query and 7 keys, what padding hides is seen.",
    }),
    "padding of keys on queries": (lambda: padded(dropping_queries), PADDING, {
        "FAIL padding on keys": "With 1 query and 7 keys, keys that padding shows are not seen.",
    }),
    "padding refused with other lengths": (lambda: padded(squares_of_padding), PADDING, {
        "pass padding on keys": "Padding hides keys, from every query of its own sequence.",
    }),
    "other numbers with other lengths": (lambda: padded(odd_rectangles), PADDING, {
        "FAIL padding on keys": "With 1 query and 7 keys, padding acts in no known way.",
    }),
    # causal without a mask
    "open": (lambda: lambda Q, K, V: attention(Q, K, V), ALONE, {
        "FAIL future, evaluating": "Outputs depend on later tokens.",
        "pass known form": "The output is softmax(QKᵀ/√d_k)V, to rounding.",
        "n/a mask obeyed": "The subject takes no mask but the causal one.",
    }),
    "one causal query halved": (lambda: halved_for_one, FLAG, {
        "FAIL known form": "Right for several queries, but not for 1 query and 7 keys.",
    }),
    "other shares from a block on": (lambda: growing_by_blocks, {}, {
        "FAIL known form": (
            "Right for some sizes, but not for 61 queries, 61 keys and 1 sequences. The first 32 keys share as they"
            " should, and others from there on: blocks of 32."
        ),
    }),
    "open without a mask": (lambda: open_without, {"causal": True}, {
        "FAIL future, evaluating": "Outputs depend on later tokens where no mask is given.",
        "pass mask obeyed": "What the mask hides has no weight.",
    }),
    "halved beside a cache": (lambda: halved_for_three, FLAG, {
        "FAIL known form": "Right for as many queries as keys, but not for 3 queries and 7 keys.",
        "pass rectangular causal": (
            "Aligned bottom-right: The last query sees every key, as when tokens follow a cache."
        ),
    }),
    "a hole in the cache": (lambda: hole_beside_a_cache, FLAG, {
        "FAIL known form": f"Right for as many queries as keys, but not for 3 queries and 7 keys. {UNWRITTEN}",
    }),
    "a hole in the cache, no flag": (lambda: lambda Q, K, V: hole_beside_a_cache(Q, K, V), {}, {
        "FAIL known form": f"Right for some sizes, but not for 3 queries, 7 keys and 2 sequences. {UNWRITTEN}",
    }),
    "open by its flag": (lambda: by_flag(torch.ones_like), FLAG, {
        "FAIL mask obeyed": "The causal flag has no effect: everyone sees everything.",
    }),
    "the future for the past": (lambda: causal_by(lambda ones: ones.triu()), ALONE, {
        "FAIL mask polarity": "The causal mask hides the past and shows the future.",
    }),
    "one place too far": (lambda: causal_by(lambda ones: ones.tril(1)), ALONE, {
        "FAIL mask diagonal": "The causal mask is one place too wide: each token sees the next one.",
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
