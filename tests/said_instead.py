"""What the check-up must say to write instead, word for word."""

SCALE = "Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5, or what you declare by scale."
ROUND = (
    "Turn it round: masked_fill(~mask, -inf) where True attends, masked_fill(mask, -inf) where True blocks."
    " If it is meant as it is, say so: mask."
)
ABOVE = (
    "Hide what lies above the diagonal, and nothing else. If the mask is meant to be read in another way, say so: mask."
)
HIDE = "Write scores.masked_fill(hidden, -inf), before softmax"
TRIANGLE = "Write torch.ones(T, S, dtype=torch.bool).tril(S - T)"
KEYS = "Hide keys, from every query: by a mask [batch, 1, 1, keys], or [batch, 1, keys] without heads."
EMPTY = "hide with torch.finfo(scores.dtype).min, and set hidden weights to 0 after softmax."
MODES = "Hide the future in both modes, whatever self.training is."
READS = "Let no output read a later token, by the mask or past it."
SPLIT, JOIN = "unflatten(-1, (H, d)).transpose(1, 2)", "transpose(1, 2).flatten(2)"
TOLD = "If it is called in another way, say so: layout, names, widths, options."

OF_THE_ZOO = {
    "half_precision_sums": "Add up in float32: torch.softmax(scores, -1, dtype=torch.float32).",
    "detached_weights": "Write no detach, .data or no_grad on the way to the output.",
    "weights_before_the_mask": "Hand back what multiplied V, mask and softmax included.",
    "scales_in_place": "Write x = x * y, not x *= y; masked_fill, not masked_fill_.",
    "assumes_contiguous": "Call contiguous() first, or read by strides.",
    "blind_to_itself": f"{TRIANGLE}, True where a query may look.",
    "sees_the_next": f"{TRIANGLE}, True where a query may look.",
    "top_left_causal": f'{TRIANGLE}. If top-left is meant, say so: alignment="top-left".',
    "CausalInTrainingOnly": MODES,
    "CausalInEvaluationOnly": MODES,
    "ViewedHeads": f"Split by {SPLIT}.",
    "ViewedMerge": f"Join by {JOIN}.",
    "HeadsInTurns": "Write K.repeat_interleave(group, 1), not K.repeat.",
    "batch_for_sequence": "Transpose to [batch, tokens, width] first.",
    "keys_from_the_other_end": "Reorder keys and values alike, or neither.",
    "values_one_late": "Reorder keys and values alike, or neither.",
    "inverted_mask": ROUND,
    "two_conventions": ROUND,
    "lost_mask": f"{HIDE}.",
    "added_ones": "Write scores.masked_fill(mask == 0, -inf), before softmax.",
    "masked_after_softmax": f"{HIDE}, and no weights after it.",
    "multiplied_by_zero": f"{HIDE}: minus infinity itself.",
    "minus_epsilon": f"{HIDE}: minus infinity itself.",
    "minus_ten_thousand": f"{HIDE}: minus infinity itself.",
    "minus_ten_billion": f"{HIDE}: minus infinity itself.",
    "padding_on_queries": KEYS,
    "batch_taken_for_queries": KEYS,
    "dead_rows_nan": f"For zeros, {EMPTY} If what it gives is meant, say so: dead_rows.",
    "dead_rows_uniform": f"For zeros, {EMPTY} If what it gives is meant, say so: dead_rows.",
    "dead_rows_nan_backward": f"Make no NaN on the way forward: for zeros, {EMPTY}",
    "DropoutInEvaluation": "Write F.dropout(weights, p, self.training), or p = 0 in use.",
    "DropoutBeforeSoftmax": "Write F.dropout(torch.softmax(scores, -1), p, training).",
    "SeedsEverything": "Draw from a torch.Generator of its own, and seed nothing.",
    "unscaled": SCALE,
    "no_root": SCALE,
    "width_of_the_model": SCALE,
    "scaled_the_wrong_way": SCALE,
    "scaled_too_late": "Write (Q / d_k ** 0.5) @ K.mT.",
    "softmax_over_queries": "Write torch.softmax(scores, dim=-1).",
    "softmax_over_heads": "Write torch.softmax(scores, dim=-1).",
    "softmax_over_batch": "Write torch.softmax(scores, dim=-1).",
    "undivided": "Divide by powers.sum(-1, keepdim=True), over the keys.",
    "no_maximum": "Subtract each row's own maximum before exp: scores - scores.amax(-1, keepdim=True).",
    "one_maximum_for_all": "Clamp no scores, and subtract each row's own maximum.",
    "clipped_scores": "Clamp no scores, and subtract each row's own maximum.",
}

# of what `said_of_functions` and `said_of_modules` have: the law, and what to write
SAID = {
    "padding, and the past forgotten": (
        "future, evaluating",
        "Hide what either rule hides: past & padding[:, None, None].",
    ),
    "other shares from a block on": (
        "known form",
        "Let every block of keys have the same factor, and what was summed before it the new maximum.",
    ),
    "the highest of all keys": (
        "minus infinity",
        "Write scores.masked_fill(hidden, -inf), before softmax and before its maximum is taken.",
    ),
    "squared lengths": ("large scores", "Subtract no large numbers that are almost alike."),
    "bent, mask too narrow": ("mask polarity", "Hide what the mask hides, and nothing else."),
    "half a gradient": (
        "gradients",
        "Send back what each step forward multiplies by: let autograd do it, or try your own with"
        " torch.autograd.gradcheck.",
    ),
    "the slope of a root of nothing": ("gradients", "Take no root or norm of zero, not even to hide it later."),
    "raises": ("answers", TOLD),
    "tires": ("answers", "Find what differs from one call to the next."),
    "module, hangs": ("answers", "Give it more patience, or find what never ends."),
    "remembers": ("same answer twice", "Keep nothing from one call to the next."),
    "batch mixed": ("batch elements apart", "Mix nothing along the axis of the batch."),
    "heads mixed": ("heads apart", "Mix nothing along the axis of the heads."),
    "heads after tokens": ("heads apart", "Transpose to [batch, heads, tokens, width] first."),
    "keeps offsets": (
        "same answer twice",
        "Keep nothing from one call to the next, or keep it under all that it depends on: both lengths, precision,"
        " device.",
    ),
    "keeps half precision": ("same answer twice", "Keep it in float64, or once for each precision."),
    "one mask, for the first": ("one mask for all", "Expand it: mask.expand(B, -1, -1), and repeat nothing else."),
    "squares hide alone": ("rectangular mask", "Take both lengths from the scores: *_, T, S = scores.shape."),
    "either": ("mask and padding", "Hide what either hides: allowed = mask & padding[:, None]."),
    "weights asked for, mask lost": (
        "same by every road",
        "Hide the same on every road: build the mask before they part.",
    ),
    "weights asked for, another output": (
        "same by every road",
        "Compute the output in one place, whatever is handed back.",
    ),
    "a quarter of the gradient": (
        "gradients",
        "On the way back, multiply by what dropout multiplied by: the same zeros, and the same 1 / (1 - p).",
    ),
    "coarse in single precision": (
        "single precision",
        "Make no half precision of float32, nor tables in it.",
    ),
    "refuses autocast": (
        "autocast",
        "Take the precision of a tensor that is there: scores.dtype, not Q.dtype or a fixed one.",
    ),
    "another under autocast": ("autocast", "Add up in float32, and scale Q before the product."),
    "module, heads viewed and viewed back": ("heads apart", f"Split by {SPLIT}, and join by {JOIN}."),
    "tanh": ("known form", ""),
    "negative weights": ("convex hull", ""),
    "refuses masks": ("mask obeyed", "If it takes masks in another way, say so: mask_shape."),
    "refuses its flag": ("future, evaluating", "If it is asked in another way, say so: causal."),
    "hides the past": ("mask polarity", ABOVE),
    "module, mask inverted": ("mask polarity", ABOVE),
    "a leak": ("future, evaluating", READS),
    "module, leaks in both modes": ("future, training", READS),
    "padding inverted": ("padding on keys", "Turn it round. If it is meant as it is, say so: mask."),
    "a hole in the cache": (
        "known form",
        "Take as many keys of a cache as were written, or hide the rest before softmax.",
    ),
    "a diagonal in between": ("rectangular causal", f"{TRIANGLE}."),
    "empty rows give zeros": ("dead rows, forward", 'If zeros are meant, say so: dead_rows="zero".'),
    "an empty row harms": ("dead rows, forward", "Let each row of weights rest on its own scores alone."),
    "refuses large scores": ("large scores", "Scores may be large: refuse none that are finite."),
    "from the last key": (
        "rectangular causal",
        'Write torch.ones(T, S, dtype=torch.bool).tril(). If bottom-right is meant, say so: alignment="bottom-right".',
    ),
}
