"""What the check-up must say of modules, by their projections and from outside."""

import torch
from layers import AlwaysAside, AsideUnlessAlike, Longer
from library_layers import made as made_in_library
from odd_modules import (
    Flagged,
    Interleaved,
    InterleavedMerge,
    KeepsItsPlaces,
    LeaksInBothModes,
    PastItsMask,
    Reporting,
    SeedsInTraining,
    SelfAside,
    Shifted,
    ViewedTwice,
    drawing,
    empty,
    fused,
    hangs,
    keeping_places,
    layer,
    mean_of_all,
    noisy,
    packed,
    padded,
    refusing,
    remembering,
    switch,
    tiring,
    with_bad_gradient,
    without_gradient,
)

from surgeon.zoo.catalogue import ZOO

OUTSIDE = {"width": 28}
PACKED = {"width": 28, "documents": "documents"}
together = lambda numbers: numbers[:, :, None] == numbers[:, None]
decoder = lambda: torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(28, 4, 16), 1)
FLAG = {"width": 28, "causal": "causal"}
KEEP = {"width": 28, "padding": "keep"}
NOT_LIKE_THIS = "RuntimeError: not like this"
GIVEN_UP = "he examination was given up after 0.5 s, while “answers” was tried."

SAID = {
    # by its projections
    "columns taken alternately": (lambda: layer(Interleaved, 28, 4), {}, {
        "FAIL heads apart": (
            "Heads are split with the heads' axis last, so that each head takes every H-th column."
        ),
    }),
    "columns laid alternately": (lambda: layer(InterleavedMerge, 28, 4), {}, {
        "FAIL heads apart": (
            "Heads are joined with the heads' axis last, so that each head takes every H-th column."
        ),
    }),
    "heads viewed and viewed back": (lambda: layer(ViewedTwice, 28, 4), {}, {
        "FAIL heads apart": (
            "Heads are split by `view` without `transpose`, which mixes tokens and heads,"
            " and joined by `view` without `transpose`, which mixes tokens and heads."
        ),
    }),
    "heads in repeat order": (ZOO["HeadsInTurns"].subject, {}, {
        "pass known form": "Holds, but for the order of the heads.",
    }),
    "dropout in evaluation": (ZOO["DropoutInEvaluation"].subject, {}, {
        "n/a scale": "Cannot be told while answers are random.",
        "n/a random state": "The draws are those of a dropout that should be off.",
    }),
    "seeds in training": (lambda: layer(SeedsInTraining, 28, 4), {}, {
        "FAIL random state": (
            "While training, the global generator of PyTorch is seeded: every draw after it is the same."
        ),
    }),
    "leaks in both modes": (lambda: layer(LeaksInBothModes, 28, 4), {}, {
        "FAIL future, training": "Outputs depend on later tokens, training.",
        "n/a future, evaluating": "Leaks as it does while training.",
    }),
    "one sequence": (lambda: layer(Flagged, 28, 4), {"causal": "is_causal"}, {
        "n/a rectangular causal": "It takes as many keys as queries.",
    }),
    "aside unless alike": (AsideUnlessAlike, {"causal": "is_causal"}, {
        "n/a rectangular causal": (
            "It leaves its projections aside where queries, keys and values are not one and the same."
        ),
    }),
    # from outside
    "normed": (lambda: made_in_library("Qwen3", "sdpa"), {}, {
        "n/a minus infinity": "A norm keeps scores from being low.",
    }),
    "holds attentions": (decoder, {}, {
        "FAIL answers": (
            "It raises an error: TypeError: TransformerDecoder.forward() missing 1 required positional argument:"
            " 'memory'. It holds attentions: hand in model.layers[0].self_attn."
        ),
    }),
    "always aside": (AlwaysAside, {}, {
        "n/a scale": "Needs Q, K and V apart. It does not go through qkv, proj.",
    }),
    "longer before it projects": (Longer, {"projections": ("inner.qkv", "inner.proj"), "heads": 4}, {
        "n/a scale": "Needs Q, K and V apart. It projects [2, 7] tokens where [2, 5] were given.",
    }),
    "self-attention aside": (lambda: layer(SelfAside, 28, 4, 56, batch_first=True), {}, {
        "n/a scale": "Needs Q, K and V apart. It does not ask its self_attn.",
    }),
    "unknown": (fused(), OUTSIDE, {
        "n/a scale": "Needs Q, K and V apart: name the module's projections to have it told.",
    }),
    "raises": (refusing(lambda *_: True), OUTSIDE, {
        "FAIL answers": f"It raises an error: {NOT_LIKE_THIS}",
        "n/a scale": "Cannot be told: the subject does not answer.",
    }),
    "returns nothing": (fused(change=lambda output, x, mask: None), OUTSIDE, {
        "FAIL answers": "It raises an error: The subject must return a tensor first, got NoneType.",
    }),
    "returns too little": (fused(change=lambda output, x, mask: output[:, 1:]), OUTSIDE, {
        "FAIL answers": (
            "It raises an error: The output must have shape [2, 5, any width], got [2, 4, 28]."
        ),
    }),
    "tires": (tiring, OUTSIDE, {
        "FAIL answers": f"It answers once, and then raises {NOT_LIKE_THIS}",
        "n/a scale": "Cannot be told: the subject does not answer each time.",
    }),
    "NaN": (fused(change=lambda output, x, mask: output * torch.nan), OUTSIDE, {
        "FAIL known form": "Ordinary inputs give NaN or infinity.",
        "n/a same answer twice": 'Cannot be told while "known form" fails.',
    }),
    "noise": (noisy, OUTSIDE, {
        "FAIL same answer twice": "The answer depends on the random state: dropout is active outside training.",
        "n/a random state": "The draws are those of a dropout that should be off.",
        "n/a scale": "Cannot be told while answers are random.",
    }),
    "remembers": (remembering, OUTSIDE, {
        "FAIL same answer twice": (
            "The answer depends on what was asked before: something is kept between calls."
        ),
        "n/a scale": "Cannot be told while answers depend on the past.",
    }),
    "batch mixed": (fused(change=lambda output, x, mask: output + x.mean(0)), OUTSIDE, {
        "FAIL batch elements apart": "An output changes with another sequence of the batch.",
    }),
    "memory read as it lies": (
        fused(change=lambda output, x, mask: output + x.as_strided(x.shape, (x[0].numel(), x.shape[-1], 1))),
        OUTSIDE,
        {"FAIL strided inputs": "Inputs that are not contiguous are read as if they were."},
    ),
    "draws": (fused(change=drawing), OUTSIDE, {
        "FAIL random state": "The global generator of PyTorch is drawn from or seeded.",
    }),
    "places known": (fused(change=lambda output, x, mask: output + torch.arange(5.0)[:, None]), OUTSIDE, {
        "n/a known form": (
            "The order of tokens counts without a mask: places are known, or tokens are mixed where heads are split."
            ' If no place is to count, say so: positions="none".'
        ),
    }),
    "places known, and not to be": (
        fused(change=lambda output, x, mask: output + torch.arange(5.0)[:, None]),
        OUTSIDE | {"positions": "none"},
        {
            "FAIL known form": (
                "The order of tokens counts without a mask: places are known, or tokens are mixed where heads are"
                ' split. If no place is to count, say so: positions="none".'
            ),
        },
    ),
    "writes": (fused(change=lambda output, x, mask: (output.clone(), x.mul_(2))[0]), OUTSIDE, {
        "FAIL inputs unchanged": "It writes into x.",
    }),
    "weights asked for, mask lost": (lambda: layer(PastItsMask), OUTSIDE, {
        "FAIL same by every road": (
            "With return_weights=True, outputs depend on later tokens: its mask is lost."
        ),
        "n/a one mask for all": "It is asked where queries, keys and values are given apart.",
    }),
    "weights asked for, another output": (lambda: layer(Shifted), OUTSIDE, {
        "FAIL same by every road": "With return_weights=True, the output is another.",
    }),
    "weights asked for": (lambda: layer(Reporting), OUTSIDE, {
        "pass same by every road": "Weights or none, gradients or none: the output is the same.",
    }),
    "one road": (refusing(lambda x, mask: x.requires_grad), OUTSIDE, {
        "n/a same by every road": "It answers by one road alone.",
    }),
    "gradients wanted, another output": (
        fused(change=lambda output, x, mask: output + 0.01 * x.requires_grad),
        OUTSIDE,
        {"FAIL same by every road": "Where gradients are wanted, the output is another."},
    ),
    "no gradient": (fused(change=lambda output, x, mask: output.detach()), OUTSIDE, {
        "FAIL gradients": "No gradient reaches the inputs.",
    }),
    "half a gradient": (fused(change=lambda output, x, mask: output.detach() / 2 + output / 2), OUTSIDE, {
        "FAIL gradients": "The gradient of x is not the slope of the output.",
    }),
    "documents apart": (packed(together), PACKED, {
        "pass documents": "Tokens see those of their own document alone.",
    }),
    "documents unread": (packed(lambda numbers: None), PACKED, {"FAIL documents": "Documents see each other."}),
    "documents of one token": (
        packed(lambda numbers: together(numbers + torch.arange(numbers.shape[1]) * numbers.any())),
        PACKED,
        {"FAIL documents": "Tokens of one document do not see each other."},
    ),
    "documents refused": (packed(lambda numbers: 1 / 0 if numbers.any() else together(numbers)), PACKED, {
        "n/a documents": "Cannot be told: the subject raises ZeroDivisionError: division by zero",
    }),
    "a gradient of NaN": (fused(change=lambda output, x, mask: output + (0 * x).square().sum().sqrt()), OUTSIDE, {
        "FAIL gradients": "The gradient of x is NaN.",
    }),
    "a gradient": (fused(), OUTSIDE, {"pass gradients": "The gradients are the slopes of the output."}),
    "refuses doubles": (refusing(lambda x, mask: x.dtype == torch.float64), OUTSIDE, {
        "n/a gradients": "They are numbers; float32 is too coarse to try them by steps.",
    }),
    "remembers a length": (lambda: layer(KeepsItsPlaces), OUTSIDE, {
        "FAIL same answer twice": (
            "The answer depends on what was asked before: something is kept between calls, under too few of its"
            " sizes."
        ),
    }),
    "remembers a length alone": (keeping_places, {"width": 28}, {
        "FAIL same answer twice": (
            "The answer depends on what was asked before: something is kept between calls, under too few of its"
            " sizes."
        ),
    }),
    "refuses another length": (lambda: layer(KeepsItsPlaces, raises=True), OUTSIDE, {
        "FAIL same answer twice": (
            f"The answer depends on what was asked before: after other lengths, it raises {NOT_LIKE_THIS}"
        ),
    }),
    "takes no mask": (lambda: torch.nn.Identity(), {"width": 5}, {
        "n/a future, evaluating": "The subject takes no mask and is not said to be causal.",
        "n/a padding on keys": "The subject takes no mask and is not said to be causal.",
    }),
    "refuses masks": (refusing(lambda x, mask: mask is not None), OUTSIDE, {
        "FAIL mask obeyed": f"It refuses a mask: {NOT_LIKE_THIS}",
    }),
    "mask lost": (fused(read=lambda mask: None), OUTSIDE, {
        "FAIL mask obeyed": "The mask has no effect: everyone sees everything.",
        "n/a future, training": 'Follows from "mask obeyed".',
    }),
    "mask turned over": (fused(read=lambda mask: mask.mT), OUTSIDE, {
        "FAIL mask polarity": "The mask hides the past and shows the future.",
    }),
    "mask inverted": (fused(read=lambda mask: ~mask), OUTSIDE, {
        "FAIL mask polarity": "The mask hides the past and shows the future.",
    }),
    "mask too wide": (fused(read=lambda mask: torch.ones_like(mask).tril(1)), OUTSIDE, {
        "FAIL mask diagonal": "The mask is one place too wide: each token sees the next one.",
    }),
    "mask too wide by two": (fused(read=lambda mask: torch.ones_like(mask).tril(2)), OUTSIDE, {
        "FAIL future, training": "Outputs depend on later tokens.",
        "n/a future, evaluating": "Leaks as it does while training.",
    }),
    "open, and said to be causal": (fused(), OUTSIDE | {"causal": True, "mask": "none"}, {
        "FAIL future, training": "Outputs depend on later tokens.",
        "n/a future, evaluating": "Leaks as it does while training.",
    }),
    "open by its flag": (switch(torch.ones_like), FLAG, {
        "FAIL mask obeyed": "The causal flag has no effect: everyone sees everything.",
    }),
    "turned over by its flag": (switch(torch.triu), FLAG, {
        "FAIL mask polarity": "The causal mask hides the past and shows the future.",
    }),
    "refuses empty rows": (refusing(lambda x, mask: empty(mask)), OUTSIDE, {
        "n/a dead rows, forward": f"It refuses a row with nothing to look at: {NOT_LIKE_THIS}",
    }),
    "empty rows give NaN": (
        fused(change=lambda output, x, mask: output * torch.nan if empty(mask) else output),
        OUTSIDE,
        {
            "FAIL dead rows, forward": "A row that may look at nothing gives NaN.",
            "n/a dead rows, backward": "Follows from the NaN of the output.",
        },
    ),
    "empty rows cut gradients": (fused(change=without_gradient), OUTSIDE, {
        "n/a dead rows, forward": "No gradient flows.",
        "n/a dead rows, backward": "No gradient flows.",
    }),
    "empty rows see all": (fused(change=mean_of_all), OUTSIDE, {
        "FAIL dead rows, forward": "A row that may look at nothing looks at others all the same.",
    }),
    "empty rows send NaN back": (fused(change=with_bad_gradient), OUTSIDE, {
        "FAIL dead rows, backward": "The output is finite, but the gradient of x is NaN.",
    }),
    "padding inverted": (padded(lambda keep: ~keep), KEEP, {
        "FAIL padding on keys": "Padding reaches the tokens beside it: it hides nothing, or other keys.",
    }),
    "padding hides too much": (padded(lambda keep: keep & False | torch.eye(5, dtype=torch.bool)), KEEP, {
        "FAIL padding on keys": "Real tokens are hidden by the padding of others.",
    }),
    "padding refused": (padded(lambda keep: 1 / 0), KEEP, {
        "n/a padding on keys": "Cannot be told: the subject raises ZeroDivisionError: division by zero",
    }),
    "hangs": (fused(change=hangs), OUTSIDE | {"patience": 0.5}, {
        "FAIL answers": f"T{GIVEN_UP}",
        "n/a gradients": f"Cannot be told: t{GIVEN_UP}",
    }),
}  # fmt: skip
