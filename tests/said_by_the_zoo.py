"""What the check-up must say of each fault of the zoo, word for word."""

SAID = {
    "half_precision_sums": ("bfloat16 loses more than rounding each stage once: a long sum is kept in half precision."),
    "detached_weights": "The output is right, but the gradient of Q, K is not.",
    "weights_before_the_mask": "The weights handed back are not those that multiplied the values.",
    "scales_in_place": "It writes into Q.",
    "assumes_contiguous": "Inputs that are not contiguous are read as if they were.",
    "blind_to_itself": "The causal mask hides the diagonal too: no token sees itself.",
    "sees_the_next": "The causal mask is one place too wide: each token sees the next one.",
    "top_left_causal": (
        "Aligned top-left: The first query sees the first key alone, and the last keys are seen by nobody."
    ),
    "CausalInTrainingOnly": "Outputs depend on later tokens, evaluating alone.",
    "CausalInEvaluationOnly": "Outputs depend on later tokens, training alone.",
    "ViewedHeads": "Heads are split by `view` without `transpose`, which mixes tokens and heads.",
    "ViewedMerge": "Heads are joined by `view` without `transpose`, which mixes tokens and heads.",
    "HeadsInTurns": "Key heads are in the order of repeat, 0 1 0 1, instead of that of repeat_interleave, 0 0 1 1.",
    "batch_for_sequence": (
        "Tokens attend to the same place in other sequences: batch and sequence axes are taken for each other."
        " If tokens come first by design, say so (layout)."
    ),
    "keys_from_the_other_end": "Values are taken in reverse order.",
    "values_one_late": "Values are one place away from their keys.",
    "inverted_mask": "What the mask hides is seen, and what it shows is hidden.",
    "two_conventions": "What the mask hides is seen, and what it shows is hidden.",
    "lost_mask": "The mask has no effect: everyone sees everything.",
    "added_ones": "The mask's zeros and ones are added to the scores, which hides nothing.",
    "masked_after_softmax": (
        "Weights are hidden after softmax: rows sum to less than one, and hidden scores still take their share."
    ),
    "multiplied_by_zero": "Hidden scores are multiplied by zero, and a score of 0 is not out: e⁰ = 1.",
    "minus_epsilon": "Hidden scores are set to -1e-12, which leaves them a share.",
    "minus_ten_thousand": (
        "A hidden score is a finite number between -1e3 and -1e4, not minus infinity: visible scores below it lose."
    ),
    "minus_ten_billion": (
        "A hidden score is a finite number between -1e9 and -1e10, not minus infinity: visible scores below it lose."
    ),
    "padding_on_queries": "The mask is read with queries and keys swapped: padding falls on the queries.",
    "batch_taken_for_queries": (
        "Padding of sequence i is applied to query i of all: a mask (batch, keys) is taken for (queries, keys)."
    ),
    "dead_rows_nan": "A row that may look at nothing gives NaN.",
    "dead_rows_uniform": "A row that may look at nothing looks at everything, evenly: hidden values leak.",
    "dead_rows_nan_backward": "The output is finite, but the gradients of Q, K are NaN.",
    "DropoutInEvaluation": "The answer depends on the random state: dropout is active outside training.",
    "DropoutBeforeSoftmax": (
        "No weight becomes zero: scores are dropped, before softmax, and a score of 0 still has a share."
    ),
    "SeedsEverything": "The global generator of PyTorch is drawn from or seeded.",
    "unscaled": "Scores are not scaled.",
    "no_root": "Scores are divided by d_k, not by its square root.",
    "width_of_the_model": "Scores are divided by √d_model, the width of all heads, not of one.",
    "scaled_the_wrong_way": "Scores are multiplied by √d_k.",
    "scaled_too_late": "Q is multiplied by K before it is scaled, and the product overflows float16.",
    "softmax_over_queries": "Softmax runs over the queries: that axis sums to one.",
    "softmax_over_heads": "Softmax runs over the heads: that axis sums to one.",
    "softmax_over_batch": "Softmax runs over the batch: that axis sums to one.",
    "undivided": (
        "Outputs lie outside the values: the weights are no shares of one."
        " Rows sum to 2.08: the division by the sum is missing."
    ),
    "no_maximum": "Scores far above zero give wrong numbers: the maximum of each row is not subtracted first.",
    "one_maximum_for_all": "Scores of very different rows give wrong numbers: they are cut off.",
    "clipped_scores": "Scores far above zero give wrong numbers: they are cut off.",
}
