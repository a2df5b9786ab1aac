"""What to write instead of what broke a law of whole models."""

MODEL_REPAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "answers": (
        ("given up", "Give it more patience, or find what never ends."),
        ("numbers that are none", "Look for rows that see no key."),
        (
            "",
            "If it is called in another way, say so: names, options, output,"
            " vocab.",
        ),
    ),
    "same answer twice": (
        ("", "Write F.dropout(x, p, self.training), or p = 0 in use."),
    ),
    "nothing kept": (
        (
            "",
            "Keep nothing from one call to the next, or keep it under all"
            " that it depends on: rows, tokens, precision, device.",
        ),
    ),
    "random state": (("", "Draw only in training, and seed nothing."),),
    "inputs": (("", "Write masked = x.masked_fill(…), not masked_fill_."),),
    "alone or in company": (
        ("", "Average, sort and normalise within a row, never over a batch."),
    ),
    "future, evaluating": (
        ("cache", "Draw the mask with a cache, too: tril(S - T)."),
        ("", "Hide later tokens in every mixing of tokens, in both modes."),
    ),
    "future, training": (
        ("", "Hide later tokens in every mixing of tokens, in both modes."),
    ),
    "the past is seen": (
        ("", "Write torch.ones(T, S, dtype=torch.bool).tril(S - T)."),
    ),
    "reach": (
        (
            "",
            "A window of w shows w keys, the query's own among them: i - j <"
            " w.",
        ),
    ),
    "padding on the right": (
        (
            "another row",
            "Give each row its own mask: mask[:, None, None, :].",
        ),
        ("is read", "Hide padded keys in each layer: mask[:, None, None]."),
        ("", "Let no sum, mean or length count the padding."),
    ),
    "padding on the left": (
        (
            "count",
            "Count tokens, not places: mask.cumsum(-1) - 1, at least 0.",
        ),
        (
            "another row",
            "Give each row its own mask: mask[:, None, None, :].",
        ),
        ("", "Hide padded keys in each layer: mask[:, None, None]."),
    ),
    "positions from the mask": (
        (
            "",
            "Hand in positions with padding in front: (mask.cumsum(-1) -"
            " 1).clamp(min=0).",
        ),
    ),
    "a row of padding": (("", "Let a query that sees no key give zeros."),),
    "gradients with padding": (
        ("", "Hide with torch.finfo(scores.dtype).min, or mend empty rows."),
    ),
    "cache, one by one": (
        ("start anew", "Begin positions at the cache's length."),
        (
            "a window of",
            "Show one token, too, no more keys than the window: its own among"
            " them.",
        ),
        ("forgets", "Look through all of the cache: cat([cached, new])."),
        (
            "",
            "Compare them layer by layer with those of the whole; the first"
            " that differs is it.",
        ),
    ),
    "cache, prompt first": (
        ("", "Draw the mask with a cache, too: tril(S - T)."),
    ),
    "cache, in chunks": (
        ("", "Align the mask with the last key: tril(S - T), not tril()."),
    ),
    "cache, padded batch": (
        (
            "miscounted",
            "Count positions by the mask of all keys, and take the last:"
            " positions[:, -T:].",
        ),
        (
            "nothing is padding",
            "With a cache, read the mask as that of all keys: its last T"
            " columns are of the new tokens.",
        ),
        (
            "",
            "Hand the mask of all keys on at each step, and count positions"
            " by it.",
        ),
    ),
    "cache, reordered": (
        ("", "Reorder keys and values of every layer, and what is beside."),
    ),
    "cache, cropped": (
        ("", "Crop every layer, and the length that positions begin at."),
    ),
    "cache, beyond the window": (
        ("", "Drop the oldest key, and count positions on."),
    ),
    "documents apart": (
        (
            "[B, 1, T, T]",
            "Read both: masked_fill(~mask, -inf) where it is of booleans,"
            " and add it where it is a float.",
        ),
        ("", "Hide other documents, and count positions anew in each."),
    ),
    "moving along": (
        ("", "Let the angle, or the bias, depend on i - j alone."),
    ),
    "beyond the table": (
        ("", "Raise an error where a text is longer than the table."),
    ),
    "back ends agree": (
        ("", "Hand everything to each program, or refuse what it lacks."),
    ),
    "back ends, gradients": (
        ("", "Compare both with float64, and mend the one that is off."),
    ),
    "back ends, padding": (
        (
            "without a token",
            "Let a query that sees no key give zeros, in each program.",
        ),
        ("", "Hand the mask to each program, in its own convention."),
    ),
    "bfloat16": (("", "Keep positions, norms and sums in float32."),),
    "float16": (
        ("overflows", "Scale before the product, and sum in float32."),
        ("", "Keep positions, norms and sums in float32."),
    ),
    "gradients": (
        ("", "Look for detach, .data, no_grad and copies on its way."),
    ),
    "checkpointing": (
        (
            "",
            "Write checkpoint(f, *all_inputs, use_reentrant=False), and keep"
            " the random state.",
        ),
    ),
    "writing": (("", "Compare the cache's laws; positions come first."),),
    "source padding": (
        (
            "another row",
            "Give each row's mask to its own heads: repeat_interleave(heads,"
            " 0), not repeat.",
        ),
        (
            "count",
            "Count the source's positions by its mask: mask.cumsum(-1) - 1,"
            " at least 0.",
        ),
        (
            "",
            "Hand the source's mask to the encoder and to each"
            " cross-attention.",
        ),
    ),
    "source read whole": (
        ("", "Let every layer of the decoder look at the whole source."),
    ),
}
