"""What to write instead of what is not as it was declared."""

# law: (words of what it means that it is broken, what to write instead), as
# `surgeon.checkup.repairs` has them
DESIGN_REPAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "norm of queries and keys": (
        (
            "Values are",
            "Normalise queries and keys, and leave values as they are.",
        ),
        ("left out", "Multiply by the weights of the norm."),
        (
            "turned",
            "Normalise where the model was trained to; if that is as it is,"
            ' say so: qk_norm="rms after", or without the word.',
        ),
        (
            "norm",
            "Divide Q and K each by the lengths of its own rows, before they"
            " meet: x / x.norm(dim=-1, keepdim=True).",
        ),
        (
            "",
            "Take the length of each row of a head, over its last axis:"
            " x.square().mean(-1, keepdim=True).sqrt().",
        ),
    ),
    "positions": (
        (
            "Pairs are mixed",
            "Lay angles out as pairs are: torch.cat([a, a], -1) for halves,"
            " a.repeat_interleave(2, -1) for neighbours.",
        ),
        (
            "Other columns",
            "Cut off the columns that are turned, and pair them among"
            " themselves.",
        ),
        (
            "Pairs turn by",
            "Write base ** (-2 * i / columns), i from 0, of the columns that"
            " are turned.",
        ),
        (
            "is another",
            "Look numbers up by keys minus queries, in every row alike.",
        ),
        (
            "offset",
            "Let queries begin at place S - T, beside a cache of as many"
            " tokens, and keys at 0.",
        ),
        (
            "along",
            "Let angles grow along the tokens: [tokens, 1] times frequencies,"
            " the same for each sequence and head.",
        ),
        (
            "one query",
            "Take distances from places, torch.arange(S - T, S) for the"
            " queries, and not from how many there are.",
        ),
        ("", "Write what was declared, or declare what is there: positions."),
    ),
    "soft cap": (
        (
            "after keys",
            "Cap first, and hide afterwards: (cap * torch.tanh(scores /"
            " cap)).masked_fill(hidden, -inf).",
        ),
        ("", "Write cap * torch.tanh(scores / cap), of scaled scores."),
    ),
    "window": (
        (
            "filled",
            "Hide what fills up a window: its keys are no pixels.",
        ),
        (
            "pixel",
            "Compare rows with rows and columns with columns: abs(row -"
            " row_k) <= height // 2, and so for columns.",
        ),
        (
            "border",
            "Clamp where a window begins for one that stays whole: (row -"
            " height // 2).clamp(0, rows - height). For one that is cut, hide"
            " what lies outside the picture.",
        ),
        (
            "picture",
            "Cut row by row: number // columns // height, number % columns //"
            " width.",
        ),
        (
            "",
            "Hide keys more than `back` behind or `ahead` ahead of the query:"
            " window does not count its own, sliding_window does.",
        ),
    ),
    "sink": (
        (
            "by the scale",
            "Put the sink beside scores that are scaled: it is one already.",
        ),
        (
            "not shifted",
            "Divide by torch.exp(sink - m) + powers.sum(-1, keepdim=True):"
            " the sink is shifted by the maximum m, too.",
        ),
        (
            "",
            "Append each head's sink to its rows of scores, take softmax, and"
            " drop that column.",
        ),
    ),
    "linear attention": (
        (
            "hidden",
            "Hide keys before both sums, of values and of features alone.",
        ),
        (
            "",
            "Divide f(Q) @ (f(K).mT @ V) by f(Q) @ f(K).sum(-2, True).mT, f"
            " being the features.",
        ),
    ),
    "documents": (
        (
            "",
            "Hide keys of other documents: numbers[:, :, None] =="
            " numbers[:, None].",
        ),
    ),
}
