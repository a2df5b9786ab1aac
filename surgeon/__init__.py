"""The Attention Surgeon: scaled dot-product attention, wired by hand and taken apart."""

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
from surgeon.softmax import log_sum_exp, naive_softmax, stable_softmax

__all__ = [
    "MultiHeadAttention",
    "Stages",
    "as_additive",
    "attention",
    "combine_masks",
    "create_causal_mask",
    "create_padding_mask",
    "create_reverse_mask",
    "create_window_mask",
    "dissect",
    "log_sum_exp",
    "merge_heads",
    "naive_softmax",
    "split_heads",
    "stable_softmax",
    "visible",
]
