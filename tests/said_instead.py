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

# Of the attention that tests make: of each advice, one that it is given to.
OF_DESIGNS = {
    "pairs mixed": (
        "Lay angles out as pairs are: torch.cat([a, a], -1) for halves, a.repeat_interleave(2, -1) for neighbours."
    ),
    "other pairs": "Write what was declared, or declare what is there: positions.",
    "turned along the heads": (
        "Let angles grow along the tokens: [tokens, 1] times frequencies, the same for each sequence and head."
    ),
    "keys of the next query": "Declare what is there, or write what was declared.",
    "one place late": "Let queries begin at place S - T, beside a cache of as many tokens, and keys at 0.",
    "lost for one query": (
        "Take distances from places, torch.arange(S - T, S) for the queries, and not from how many there are."
    ),
    "one key too many behind": (
        "Hide keys more than `back` behind or `ahead` ahead of the query: window does not count its own, "
        "sliding_window does."
    ),
    "angles of an earlier call": (
        "Keep nothing from one call to the next, or keep it under all that it depends on: both lengths, "
        "precision, device."
    ),
    "no sink": "Append each head's sink to its rows of scores, take softmax, and drop that column.",
    "one added after the shift": (
        "Divide by torch.exp(sink - m) + powers.sum(-1, keepdim=True): the sink is shifted by the maximum m, too."
    ),
    "capped late": "Cap first, and hide afterwards: (cap * torch.tanh(scores / cap)).masked_fill(hidden, -inf).",
    "not capped": "Write cap * torch.tanh(scores / cap), of scaled scores.",
    "no norm": (
        "Divide Q and K each by the lengths of its own rows, before they meet: x / x.norm(dim=-1, keepdim=True)."
    ),
    "a norm over the tokens": (
        "Take the length of each row of a head, over its last axis: x.square().mean(-1, keepdim=True).sqrt()."
    ),
    "a norm of keys and values": "Normalise queries and keys, and leave values as they are.",
    "a declared norm without its weights": "Multiply by the weights of the norm.",
    "other pairs of columns": "Cut off the columns that are turned, and pair them among themselves.",
    "frequencies one pair late": "Write base ** (-2 * i / columns), i from 0, of the columns that are turned.",
    "numbers of other distances": "Look numbers up by keys minus queries, in every row alike.",
    "lost for the last query": "Do the same for every query, every head and every sequence.",
    "lost in a head": "Do the same for every query, every head and every sequence.",
    "lost in a sequence": "Do the same for every query, every head and every sequence.",
    "sinks that are scaled": "Put the sink beside scores that are scaled: it is one already.",
    "a norm after the rotation": (
        'Normalise where the model was trained to; if that is as it is, say so: qk_norm="rms after", or '
        "without the word."
    ),
    "rotary, unscaled": "Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5, or what you declare by scale.",
    "no features": "Divide f(Q) @ (f(K).mT @ V) by f(Q) @ f(K).sum(-2, True).mT, f being the features.",
    "a sum over hidden keys": "Hide keys before both sums, of values and of features alone.",
    "windows that are filled up": "Hide what fills up a window: its keys are no pixels.",
    "a picture read by columns": "Cut row by row: number // columns // height, number % columns // width.",
    "windows round each pixel for blocks": (
        "Compare rows with rows and columns with columns: abs(row - row_k) <= height // 2, and so for columns."
    ),
    "windows round each pixel, wrapped": (
        "Clamp where a window begins for one that stays whole: (row - height // 2).clamp(0, rows - "
        "height). For one that is cut, hide what lies outside the picture."
    ),
    "documents that see each other": "Hide keys of other documents: numbers[:, :, None] == numbers[:, None].",
}
OF_KINDS = {
    "rotary, pairs mixed": (
        "Lay angles out as pairs are: torch.cat([a, a], -1) for halves, a.repeat_interleave(2, -1) for neighbours."
    ),
    "cosines, norm of the row": "Let a score rest on its own query, its own key and their distance alone.",
    "all but the last two keys dropped": "Let every query see its own key.",
    "one added after the shift": (
        "Divide by torch.exp(-m) + powers.sum(-1, keepdim=True): the one is shifted by the maximum m, too."
    ),
    "capped after the mask": "Write scores.masked_fill(hidden, -inf), before softmax: minus infinity itself.",
    "empty keys of a block": "Hide what fills up the last block, before softmax.",
    "a sink, unscaled": "Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5, or what you declare by scale.",
}
