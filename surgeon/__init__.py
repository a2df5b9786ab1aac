"""The Attention Surgeon: scaled dot-product attention, wired by hand and taken apart."""

from surgeon.ablations.masking import MaskingComparison, compare_masking
from surgeon.ablations.scaling import experiment_scaling_factor, train_with_and_without_scale
from surgeon.dot_product import Stages, attention, dissect
from surgeon.heads import MultiHeadAttention, merge_heads, split_heads
from surgeon.masks import (
    as_additive,
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
    visible,
)
from surgeon.patterns import (
    analyze_attention_patterns,
    baseline_patterns,
    normalized_entropy,
    row_entropy,
    uniform_weights,
)
from surgeon.plots import (
    describe_attention,
    plot_attention_heatmap,
    plot_matrix,
    plot_multihead_attention,
)
from surgeon.softmax import log_sum_exp, naive_softmax, stable_softmax

__all__ = [
    "MaskingComparison",
    "MultiHeadAttention",
    "Stages",
    "analyze_attention_patterns",
    "as_additive",
    "attention",
    "baseline_patterns",
    "combine_masks",
    "compare_masking",
    "create_causal_mask",
    "create_padding_mask",
    "create_reverse_mask",
    "create_window_mask",
    "describe_attention",
    "dissect",
    "experiment_scaling_factor",
    "log_sum_exp",
    "merge_heads",
    "naive_softmax",
    "normalized_entropy",
    "plot_attention_heatmap",
    "plot_matrix",
    "plot_multihead_attention",
    "row_entropy",
    "split_heads",
    "stable_softmax",
    "train_with_and_without_scale",
    "uniform_weights",
    "visible",
]
