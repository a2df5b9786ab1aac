"""The Attention Surgeon: scaled dot-product attention, wired by hand and taken apart."""

from surgeon.ablations.masking import MaskingComparison, compare_masking
from surgeon.ablations.scaling import experiment_scaling_factor, train_with_and_without_scale
from surgeon.cache import KeyValueCache
from surgeon.checkup.examination import examine
from surgeon.checkup.finding import Finding
from surgeon.checkup.report import Report
from surgeon.dot_product import Stages, attention, dissect
from surgeon.flash import flash_attention
from surgeon.groups import grouped_attention
from surgeon.heads import MultiHeadAttention, merge_heads, split_heads
from surgeon.influence import influence_map
from surgeon.masks import (
    as_additive,
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
    visible,
)
from surgeon.online import Partial, empty_partial, merge, partial_attention
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
from surgeon.rank import distance_to_rank_one, effective_rank, hull_distance, in_convex_hull
from surgeon.ring import ring_attention, shard, unshard
from surgeon.softmax import log_sum_exp, naive_softmax, stable_softmax
from surgeon.sparse import TopK, topk_attention, topk_mask, window_attention
from surgeon.tiled_entropy import attention_entropy

__all__ = [
    "Finding",
    "KeyValueCache",
    "MaskingComparison",
    "MultiHeadAttention",
    "Partial",
    "Report",
    "Stages",
    "TopK",
    "analyze_attention_patterns",
    "as_additive",
    "attention",
    "attention_entropy",
    "baseline_patterns",
    "combine_masks",
    "compare_masking",
    "create_causal_mask",
    "create_padding_mask",
    "create_reverse_mask",
    "create_window_mask",
    "describe_attention",
    "dissect",
    "distance_to_rank_one",
    "effective_rank",
    "empty_partial",
    "examine",
    "experiment_scaling_factor",
    "flash_attention",
    "grouped_attention",
    "hull_distance",
    "in_convex_hull",
    "influence_map",
    "log_sum_exp",
    "merge",
    "merge_heads",
    "naive_softmax",
    "normalized_entropy",
    "partial_attention",
    "plot_attention_heatmap",
    "plot_matrix",
    "plot_multihead_attention",
    "ring_attention",
    "row_entropy",
    "shard",
    "split_heads",
    "stable_softmax",
    "topk_attention",
    "topk_mask",
    "train_with_and_without_scale",
    "uniform_weights",
    "unshard",
    "visible",
    "window_attention",
]
