"""What is said of each faulty model of the zoo: what it means, and what to write instead."""

SAID = {
    "CacheStartsAnew": (
        "With a cache, positions start anew: told the position of each token, it answers as to the whole.",
        "Begin positions at the cache's length.",
    ),
    "PromptSeesItsFuture": (
        ("A prompt that is read into a cache sees its own future: its earlier outputs move with its last token."),
        "Draw the mask with a cache, too: tril(S - T).",
    ),
    "ChunkFromTheTopLeft": (
        (
            "Several tokens behind a cache are answered otherwise than in the whole: a mask, positions or a state"
            " begin anew with them."
        ),
        "Align the mask with the last key: tril(S - T), not tril().",
    ),
    "ChunkSeesItsFuture": (
        "Of several tokens behind a cache, the first sees the later ones: no mask is drawn for them.",
        "Align the mask with the last key: tril(S - T), not tril().",
    ),
    "OnePositionForAll": (
        (
            "In a batch padded in front, and read through a cache, rows are answered otherwise than alone, though"
            " without a cache, and without padding, all is well."
        ),
        "Hand the mask of all keys on at each step, and count positions by it.",
    ),
    "BeamsKeepTheirValues": (
        (
            "After its rows changed places, as in a search with beams, the cache is not that of the new rows:"
            " something in it stayed."
        ),
        "Reorder keys and values of every layer, and what is beside.",
    ),
    "CropForgetsTheLength": (
        (
            "After two tokens were taken out of its cache, the next ones are answered otherwise than in a text"
            " without them."
        ),
        "Crop every layer, and the length that positions begin at.",
    ),
    "PromptOverflowsItsRing": (
        (
            "A text longer than the window, read behind a prompt through the cache, is answered otherwise than"
            " the whole."
        ),
        "Drop the oldest key, and count positions on.",
    ),
    "WritesForAnother": (
        "What it writes with a cache, in a padded batch is not the argmax of the whole text.",
        "Compare the cache's laws; positions come first.",
    ),
    "AnswersNothing": (
        "Random tokens, no padding among them, are answered with numbers that are none: NaN, or infinite.",
        "Look for rows that see no key.",
    ),
    "DropsInEvaluation": (
        (
            "Asked twice, it answers otherwise, and alike if the generators are seeded alike: dropout, or another"
            " draw, is active in evaluation."
        ),
        "Write F.dropout(x, p, self.training), or p = 0 in use.",
    ),
    "KeepsTheLastText": (
        (
            "A question is answered otherwise after others than at first: the model keeps something from one call"
            " to the next."
        ),
        (
            "Keep nothing from one call to the next, or keep it under all that it depends on: rows, tokens,"
            " precision, device."
        ),
    ),
    "SeedsEverything": (
        (
            "In evaluation a global generator is drawn from or seeded: what others draw is another's, or always"
            " the same."
        ),
        "Draw only in training, and seed nothing.",
    ),
    "WritesIntoTokens": (
        "The tokens that were handed in are changed by the call.",
        "Write masked = x.masked_fill(…), not masked_fill_.",
    ),
    "NormsOverTheBatch": (
        (
            "A row's answer moves when other rows of its batch change: they are mixed somewhere, as by a norm or"
            " a mean over the batch."
        ),
        "Average, sort and normalise within a row, never over a batch.",
    ),
    "CountsRows": (
        (
            "A row is answered otherwise in a batch than alone, whoever was tried beside it: something depends on"
            " its place, or on their number."
        ),
        "Average, sort and normalise within a row, never over a batch.",
    ),
    "ReadsItsPadding": (
        (
            "The padding is read: with other words in its place, the answer to the tokens is another, whatever"
            " the mask says."
        ),
        "Hide padded keys in each layer: mask[:, None, None].",
    ),
    "OneMaskForAll": (
        (
            "A padded row is answered as alone in a batch of one, and not in a batch: the mask of another row is"
            " applied. It is that of the first row, for all."
        ),
        "Give each row its own mask: mask[:, None, None, :].",
    ),
    "DividesByTheLength": (
        (
            "What stands in the padding does not count, and how much of it there is does: positions, or a sum,"
            " count the padding."
        ),
        "Let no sum, mean or length count the padding.",
    ),
    "CountsPadding": (
        (
            "What stands in the padding does not count, and how much of it there is does: positions, or a sum,"
            " count the padding."
        ),
        "Count tokens, not places: mask.cumsum(-1) - 1, at least 0.",
    ),
    "CountsPaddingUnlessTold": (
        ("Padded in front, and told no positions, it counts the padding: a row's answer depends on how much there is."),
        "Hand in positions with padding in front: (mask.cumsum(-1) - 1).clamp(min=0).",
    ),
    "MaskForgotten": (
        (
            "The padding is read: with other words in its place, the answer to the tokens is another, whatever"
            " the mask says."
        ),
        "Hide padded keys in each layer: mask[:, None, None].",
    ),
    "EmptyRowIsNaN": (
        "A row without a token is answered with NaN; a mean over the batch is NaN, too.",
        "Let a query that sees no key give zeros.",
    ),
    "MendedTooLate": (
        "With padded rows, the gradient of word.weight is NaN, and that of 22 of 38 parameters.",
        "Hide with torch.finfo(scores.dtype).min, or mend empty rows.",
    ),
    "DocumentsByPlacesAlone": (
        "A document is answered otherwise if the one before it, in the same row, has other words: it is read.",
        "Hide other documents, and count positions anew in each.",
    ),
    "DocumentsCountOn": (
        ("No document reads another, and each is answered otherwise than alone: its positions do not start anew."),
        "Hide other documents, and count positions anew in each.",
    ),
    "BlocksAreAdded": (
        (
            "Told by a mask [B, 1, T, T] of booleans: A document is answered otherwise if the one before it, in the"
            " same row, has other words: it is read."
        ),
        "Read both: masked_fill(~mask, -inf) where it is of booleans, and add it where it is a float.",
    ),
    "TurnsQueriesAlone": (
        "With all positions 5 further on, the answer is another, though only distances should count.",
        "Let the angle, or the bias, depend on i - j alone.",
    ),
    "WrapsItsPlaces": (
        ("A text of 25 tokens is answered, though the table ends at 24: positions are wrapped, cut off, or another's."),
        "Raise an error where a text is longer than the table.",
    ),
    "SinkOnOneRoad": (
        "By its program fused, the logits are others than by that which it was given with.",
        "Hand everything to each program, or refuse what it lacks.",
    ),
    "FusedForgetsThePadding": (
        "By its program fused, the answers to padded rows are others than by that which it was given with.",
        "Hand the mask to each program, in its own convention.",
    ),
    "FusedEmptyRowIsNaN": (
        "By its program fused, a row without a token is answered with NaN.",
        "Let a query that sees no key give zeros, in each program.",
    ),
    "FusedStopsGradients": (
        "By its program fused, the gradients are others than by that which it was given with.",
        "Compare both with float64, and mend the one that is off.",
    ),
    "DetachedKeys": (
        (
            "layers.1.W_K.weight gets no gradient, though the output depends on it: it is lost on the way. In"
            " all, 19 of 38 gradients are not the slope."
        ),
        "Look for detach, .data, no_grad and copies on its way.",
    ),
    "CheckpointDropsGradients": (
        "With checkpointing, in training, the gradient of layers.1.W_O.bias is lost.",
        "Write checkpoint(f, *all_inputs, use_reentrant=False), and keep the random state.",
    ),
    "OffsetInHalf": (
        (
            "In bfloat16 it loses 276 times what one rounding a stage costs: something that wants float32 is"
            " computed in half precision. The largest score, of 2 products of queries and keys, was 0.926: 2.7e-39 of"
            " the largest number of bfloat16, 3.38953e+38."
        ),
        "Keep positions, norms and sums in float32.",
    ),
    "ScaledTooLate": (
        (
            "In float16 it gives NaN, or infinite numbers: something overflows. The largest score, of 2 products of"
            " queries and keys, was 8.77e+05: 13 of the largest number of float16, 65504."
        ),
        "Scale before the product, and sum in float32.",
    ),
    "SeesItsFuture": (
        "Outputs depend on later tokens, as far as the end of the text; the first to do so is 0.",
        "Hide later tokens in every mixing of tokens, in both modes.",
    ),
    "CausalInEvaluationOnly": (
        ("Outputs depend on later tokens, as far as the end of the text, training alone; the first to do so is 0."),
        "Hide later tokens in every mixing of tokens, in both modes.",
    ),
    "AveragesTheText": (
        "Outputs depend on later tokens, as far as the end of the text; the first to do so is 0.",
        "Hide later tokens in every mixing of tokens, in both modes.",
    ),
    "NormsOverTime": (
        "Outputs depend on later tokens, as far as the end of the text; the first to do so is 0.",
        "Hide later tokens in every mixing of tokens, in both modes.",
    ),
    "SeesTheNext": (
        "Outputs depend on later tokens, by up to 2; the first to do so is 0.",
        "Hide later tokens in every mixing of tokens, in both modes.",
    ),
    "LosesTheFirst": (
        "Output 1 does not depend on token 0, which it may see.",
        "Write torch.ones(T, S, dtype=torch.bool).tril(S - T).",
    ),
    "WindowTooWide": (
        "It looks 8 tokens back, further than the 6 of 2 layers of a window of 4: a window of 5 would.",
        "A window of w shows w keys, the query's own among them: i - j < w.",
    ),
    "WindowLosesItsSinks": (
        "The first tokens, which should stay in sight, are lost behind the window.",
        "Write torch.ones(T, S, dtype=torch.bool).tril(S - T).",
    ),
    "SourceMaskForgotten": (
        "With padding behind its source, the decoder answers otherwise: the padding is read.",
        "Hand the source's mask to the encoder and to each cross-attention.",
    ),
    "SourceReadByHalves": (
        "Output 0 does not depend on token 1 of the source.",
        "Let every layer of the decoder look at the whole source.",
    ),
}
