"""What holds for a sound model, whatever its weights."""

FUTURE = ("future, evaluating", "future, training")
QUIET = ("same answer twice", "nothing kept", "random state", "inputs")
PADDING = (
    "padding on the right",
    "padding on the left",
    "positions from the mask",
    "a row of padding",
    "gradients with padding",
)
CACHE = (
    "cache, one by one",
    "cache, prompt first",
    "cache, in chunks",
    "cache, padded batch",
    "cache, reordered",
    "cache, cropped",
    "cache, beyond the window",
)

# name: (what holds for a sound model, the page about it), in the order of a
# report
MODEL_LAWS = {
    "answers": (
        "Tokens give finite logits or hidden states.",
        "reference/model-checkup",
    ),
    "same answer twice": (
        "Asked twice, it answers alike: nothing is drawn in evaluation.",
        "procedures/dropout",
    ),
    "nothing kept": (
        "What it was asked before changes no answer.",
        "reference/model-checkup",
    ),
    "random state": (
        "No global generator is drawn from or seeded in evaluation.",
        "procedures/dropout",
    ),
    "inputs": (
        "Tokens and masks are left as they were.",
        "reference/model-checkup",
    ),
    "alone or in company": (
        "A row is answered alike alone and in any batch, at any place.",
        "procedures/company",
    ),
    "future, evaluating": (
        "While evaluating, no output depends on a later token.",
        "ablations/no-mask",
    ),
    "future, training": (
        "While training, no output depends on a later token.",
        "ablations/wrong-mask",
    ),
    "the past is seen": (
        "Each output depends on its own token and on all that it may see.",
        "anatomy/masking",
    ),
    "reach": (
        "It looks as far back as its windows and layers allow, no further.",
        "procedures/sparse",
    ),
    "padding on the right": (
        "A row padded behind is answered as it is alone.",
        "procedures/company",
    ),
    "padding on the left": (
        "A row padded in front is answered as it is alone.",
        "procedures/company",
    ),
    "positions from the mask": (
        "Padded in front, it needs to be told no positions.",
        "anatomy/positions",
    ),
    "a row of padding": (
        "A row without a token spoils no other, and gives no NaN.",
        "procedures/company",
    ),
    "gradients with padding": (
        "Padding changes no gradient.",
        "procedures/company",
    ),
    "cache, one by one": (
        "Read through a cache token by token, it answers as to the whole.",
        "procedures/company",
    ),
    "cache, prompt first": (
        "A prompt read into a cache is answered as without one.",
        "procedures/company",
    ),
    "cache, in chunks": (
        "Several tokens behind a cache are answered as in the whole.",
        "procedures/company",
    ),
    "cache, padded batch": (
        "With a cache and padding, each row is answered as it is alone.",
        "procedures/company",
    ),
    "cache, reordered": (
        "After its rows change places, a cache is of the new rows.",
        "procedures/company",
    ),
    "cache, cropped": (
        "What is taken out of a cache is forgotten.",
        "procedures/company",
    ),
    "cache, beyond the window": (
        "A cache answers as the whole when the text outgrows the window.",
        "procedures/company",
    ),
    "documents apart": (
        "Texts packed into one row are answered as each alone.",
        "procedures/company",
    ),
    "moving along": (
        "Where only distances count, all places moved on change nothing.",
        "anatomy/positions",
    ),
    "beyond the table": (
        "A text longer than the table of positions is refused.",
        "anatomy/positions",
    ),
    "back ends agree": (
        "Each program for its attention gives the same logits.",
        "anatomy/attention",
    ),
    "back ends, gradients": (
        "Each program for its attention gives the same gradients.",
        "anatomy/attention",
    ),
    "back ends, padding": (
        "Each program for its attention hides the same padding.",
        "anatomy/masking",
    ),
    "bfloat16": (
        "bfloat16 costs no more than rounding each stage a few times.",
        "anatomy/softmax",
    ),
    "float16": (
        "float16 costs no more than rounding each stage a few times.",
        "anatomy/softmax",
    ),
    "gradients": (
        "Each parameter's gradient is the slope of the output.",
        "anatomy/attention",
    ),
    "checkpointing": (
        "Checkpointing changes no gradient.",
        "anatomy/attention",
    ),
    "writing": (
        "Greedy writing is the argmax of the whole, cached or not.",
        "procedures/multi-query",
    ),
    "source padding": (
        "Padding of the source is seen neither by it nor by the decoder.",
        "anatomy/masking",
    ),
    "source read whole": (
        "Every output depends on every token of the source.",
        "procedures/cross-attention",
    ),
}
