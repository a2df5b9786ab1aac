"""What the check-up must say of attentions that are wrong when they are asked in another way."""

import torch
from examined import softened
from odd_functions import refusing
from odd_modules import layer
from odd_questions import (
    ForgetsToDrop,
    KeepsItsLength,
    KeepsItsMask,
    TiresOfTraining,
    a_quarter,
    asked_for,
    at_width,
    autocasting,
    behind_a_mask,
    changed_if,
    cut_by_dropout,
    flag_with_padding,
    for_others,
    for_the_first,
    keeps_halves,
    keeps_offsets,
    odd_slopes,
    reading,
    squares_alone,
    with_padding,
    with_slopes,
)

from surgeon import attention

PAD, DROPOUT = {"padding": "padding"}, {"dropout": "p"}
NOT_LIKE_THIS = "RuntimeError: not like this"
PAST = "The answer depends on what was asked before: "

# by torch.compile, or what stands for it: (a sentence, and what to write instead)
COMPILED = {
    "none": ("There is no C++ compiler here, which torch.compile needs.", ""),
    "raises": (f"Compiled, it raises {NOT_LIKE_THIS}", "Compile what is around it, or keep to plain tensors."),
    "another": ("Compiled, the output is another.", "Branch on sizes and flags alone, on nothing that is kept."),
    "masked": (
        "Compiled, the output behind a mask is another.",
        "Branch on sizes and flags alone, on nothing that is kept.",
    ),
}

SAID = {
    # calls in another order
    "keeps offsets": (keeps_offsets, {"causal": True, "mask": "none"}, {
        "FAIL same answer twice": f"{PAST}something is kept between calls, under too few of its sizes.",
        "n/a scale": "Cannot be told while answers depend on the past.",
    }),
    "keeps half precision": (keeps_halves, {"mask": "none"}, {
        "FAIL same answer twice": f"{PAST}something is kept between calls, as it was made for half precision.",
    }),
    "a layer that keeps its mask": (lambda: layer(KeepsItsMask, 28, 4), {"causal": True, "mask": "none"}, {
        "FAIL same answer twice": (
            f"{PAST}after other lengths, it raises ValueError: mask must end in (queries, keys) = (3, 3), got shape"
            " [5, 5]."
        ),
    }),
    "a layer that keeps its length": (lambda: layer(KeepsItsLength, 28, 4), {}, {
        "FAIL same answer twice": f"{PAST}something is kept between calls, under too few of its sizes.",
    }),
    "a layer that drops no more": (ForgetsToDrop, {}, {
        "FAIL same answer twice": (
            "While training, the answer depends on what was asked before: something is kept between calls."
        ),
    }),
    "a layer that tires of training": (TiresOfTraining, {}, {
        "FAIL same answer twice": (
            f"While training, the answer depends on what was asked before, and it raises {NOT_LIKE_THIS}"
        ),
    }),
    # masks of other shapes
    "one mask, for the first": (lambda: reading(for_the_first), {}, {
        "FAIL one mask for all": (
            "A mask with a batch of one hides nothing from the sequences after the first."
        ),
    }),
    "one mask, other keys": (lambda: reading(for_others), {}, {
        "FAIL one mask for all": "A mask with a batch of one acts otherwise than for each.",
    }),
    "one mask, refused": (lambda: refusing(lambda Q, K, V, mask: mask is not None and len(mask) < len(Q)), {}, {
        "n/a one mask for all": f"It refuses a mask with a batch of one: {NOT_LIKE_THIS}",
    }),
    "masks without a batch": (lambda: attention, {"mask_shape": "T S"}, {
        "n/a one mask for all": "Its masks have no axis for the batch.",
    }),
    "squares hide alone": (lambda: squares_alone(torch.ones_like), {}, {
        "FAIL rectangular mask": "With 3 queries and 7 keys, what the mask hides is seen.",
    }),
    "rectangles hide more": (lambda: squares_alone(lambda mask: mask & (mask.cumsum(-1) < 2)), {}, {
        "FAIL rectangular mask": "With 3 queries and 7 keys, keys that the mask shows are not seen.",
    }),
    "one query, the mask lost": (
        lambda: reading(lambda Q, K, mask: None if Q.shape[-2] == 1 else mask),
        {},
        {"FAIL rectangular mask": "With 1 query and 7 keys, what the mask hides is seen."},
    ),
    "rectangles refused": (
        lambda: refusing(lambda Q, K, V, mask: mask is not None and Q.shape[-2] != K.shape[-2]),
        {},
        {"n/a rectangular mask": f"With 3 queries and 7 keys, it refuses a mask: {NOT_LIKE_THIS}"},
    ),
    "squares alone": (lambda: refusing(lambda Q, K, V, mask: Q.shape[-2] != K.shape[-2]), {}, {
        "n/a rectangular mask": "It takes as many keys as queries.",
    }),
    "padding alone": (lambda: lambda Q, K, V, padding=None: with_padding(None)(Q, K, V, None, padding), PAD, {
        "n/a rectangular mask": "The subject takes no mask of its caller.",
        "n/a mask and padding": "It takes no mask and padding apart.",
    }),
    "both": (lambda: with_padding(lambda mask, keys: mask & keys), PAD, {
        "pass mask and padding": "With a mask and padding, a query sees what both show.",
    }),
    "both, the mask lost": (lambda: with_padding(lambda mask, keys: keys), PAD, {
        "FAIL mask and padding": "Beside padding, the mask is lost.",
    }),
    "both, padding lost": (lambda: with_padding(lambda mask, keys: mask), PAD, {
        "FAIL mask and padding": "Beside a mask, padding is lost.",
    }),
    "a flag and padding, padding lost": (lambda: flag_with_padding, PAD | {"causal": "is_causal"}, {
        "FAIL mask and padding": "Beside a mask, padding is lost.",
    }),
    "either": (lambda: with_padding(lambda mask, keys: mask | keys), PAD, {
        "FAIL mask and padding": "With a mask and padding, keys are seen that one of them hides.",
    }),
    "both, and more": (lambda: with_padding(lambda mask, keys: mask & keys & torch.eye(5, dtype=torch.bool)), PAD, {
        "FAIL mask and padding": "With a mask and padding, keys are hidden that both show.",
    }),
    "both refused": (lambda: with_padding(lambda mask, keys: 1 / 0), PAD, {
        "n/a mask and padding": "It refuses a mask beside padding: ZeroDivisionError: division by zero",
    }),
    # other roads
    "weights asked for, another output": (
        lambda: asked_for(lambda Q, K, V, mask: (attention(Q, K, V, mask)[0] + 0.01, None)),
        {},
        {"FAIL same by every road": "With return_weights=True, the output is another."},
    ),
    "weights asked for, mask lost": (lambda: asked_for(lambda Q, K, V, mask: attention(Q, K, V)), {}, {
        "FAIL same by every road": (
            "With return_weights=True, outputs depend on later tokens: its mask is lost."
        ),
    }),
    "weights asked for, mask too narrow": (
        lambda: asked_for(lambda Q, K, V, mask: attention(Q, K, V, None if mask is None else mask & mask.mT)),
        {},
        {"FAIL same by every road": "With return_weights=True, the output behind a mask is another."},
    ),
    "gradients wanted": (lambda: changed_if(lambda Q, K, V, mask: torch.is_grad_enabled()), {}, {
        "FAIL same by every road": "Where gradients are wanted, the output is another.",
        "n/a gradients": "Where gradients are wanted, the output is another: theirs are those of that.",
    }),
    "one tensor": (lambda: changed_if(lambda Q, K, V, mask: Q is K), {"widths": (8, 8)}, {
        "FAIL same by every road": "With one tensor for queries, keys and values, the output is another.",
    }),
    "one road": (lambda: refusing(lambda Q, K, V, mask: Q.requires_grad), {}, {
        "n/a same by every road": "It answers by one road alone.",
    }),
    # gradients while training
    "a quarter of the gradient": (lambda: with_slopes(a_quarter), DROPOUT, {
        "FAIL gradients": (
            "While training, the gradient of Q, K is 0.25 times the slope of the output, with the same weights"
            " dropped."
        ),
    }),
    "other gradients": (lambda: with_slopes(odd_slopes), DROPOUT, {
        "FAIL gradients": (
            "While training, the gradient of Q, K is not the slope of the output, with the same weights dropped."
        ),
    }),
    "no gradient in training": (lambda: cut_by_dropout, DROPOUT, {
        "FAIL gradients": "While training, no gradient reaches the inputs.",
    }),
    # precisions
    "coarse in single precision": (lambda: changed_if(lambda Q, *_: Q.dtype == torch.float32), {}, {
        "FAIL single precision": (
            "In float32 it loses more than rounding: something is computed in half precision."
        ),
    }),
    "another in single precision": (lambda: changed_if(lambda Q, *_: Q.dtype == torch.float32, 9.0), {}, {
        "FAIL single precision": "In float32 the output is another than in float64.",
    }),
    "refuses single precision": (lambda: refusing(lambda Q, *_: Q.dtype == torch.float32), {}, {
        "n/a single precision": f"It takes no float32 here: {NOT_LIKE_THIS}",
    }),
    "refuses double precision": (lambda: refusing(lambda Q, *_: Q.dtype == torch.float64), {}, {
        "n/a single precision": "It is examined in float32 throughout.",
    }),
    "refuses autocast": (lambda: refusing(autocasting), {}, {
        "FAIL autocast": f"Under autocast, it raises {NOT_LIKE_THIS}",
    }),
    "refuses float32 under autocast": (
        lambda: refusing(lambda Q, *_: autocasting() and Q.dtype == torch.float32),
        {},
        {"FAIL autocast": f"Under autocast, given float32, it raises {NOT_LIKE_THIS}"},
    ),
    "NaN under autocast": (lambda: changed_if(autocasting, torch.nan), {}, {
        "FAIL autocast": "Under autocast, it gives NaN or infinity.",
    }),
    "another under autocast": (lambda: changed_if(autocasting, 9.0), {}, {
        "FAIL autocast": "Under autocast, it loses more than rounding to bfloat16.",
    }),
    "bent under autocast": (lambda: softened, {}, {
        "n/a autocast": "Its scores are not known, nor what rounding may cost them.",
    }),
    # compiled
    "not compiled": (lambda: attention, {}, {
        "n/a compiled": "It takes long, and is asked if you say so: compiled=True.",
    }),
    # widths
    "another at a width of 64": (lambda: changed_if(behind_a_mask(at_width(64))), {}, {
        "FAIL known form": (
            "With a mask, the output agrees with no known form of attention."
            " So it is where d_k and d_v are both 64; with 7 and 11 it holds."
        ),
    }),
    "another at a width of 128": (lambda: changed_if(at_width(128)), {}, {
        "FAIL known form": (
            "The output is another. So it is where d_k and d_v are both 128; with 7 and 11 it holds."
        ),
    }),
    "another behind a mask at a width of 256": (lambda: changed_if(behind_a_mask(at_width(256))), {}, {
        "FAIL known form": (
            "The output behind a mask is another."
            " So it is where d_k and d_v are both 256; with 7 and 11 it holds."
        ),
    }),
}  # fmt: skip
