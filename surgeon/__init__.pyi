# The public names, each by the module that defines it.
# Type checkers and completion read this, and so does `import surgeon`.

from .ablations.no_mask import MaskingComparison, compare_masking
from .ablations.no_scale import (
    experiment_scaling_factor,
    train_with_and_without_scale,
)
from .anatomy.cache import KeyValueCache, WindowCache
from .anatomy.document_masks import create_document_mask, number_documents
from .anatomy.dot_product import Stages, attention, dissect
from .anatomy.groups import grouped_attention
from .anatomy.heads import (
    MultiHeadAttention,
    merge_heads,
    split_heads,
)
from .anatomy.latent import LatentAttention
from .anatomy.mask_reading import as_additive, visible
from .anatomy.mask_rules import mask_of
from .anatomy.masks import (
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
)
from .anatomy.positions import (
    Alibi,
    DistanceBias,
    Rotary,
    Sinusoidal,
    alibi,
    count_places,
    rotary,
    sinusoidal,
)
from .anatomy.qk_clip import clip_heads
from .anatomy.score_bounds import rms_norm, soft_cap, unit_length
from .anatomy.softmax import (
    log_sum_exp,
    naive_softmax,
    stable_softmax,
)
from .checkup.examination import examine
from .checkup.finding import Finding
from .checkup.models.examination import examine_model
from .checkup.report import Report
from .imaging.heatmaps import (
    plot_attention_heatmap,
    plot_matrix,
    plot_multihead_attention,
)
from .imaging.hull import hull_distance, in_convex_hull
from .imaging.influence import influence_map
from .imaging.patterns import (
    analyze_attention_patterns,
    baseline_patterns,
    normalized_entropy,
    row_entropy,
    uniform_weights,
)
from .imaging.rank import (
    distance_to_rank_one,
    effective_rank,
)
from .imaging.words import describe_attention
from .instruments.explorer import Explorer, explore
from .instruments.table_widget import OperatingTable
from .practice.exercises.asking import check
from .practice.findings import findings
from .practice.judging import judge
from .practice.patients import Patient, diagnose, patients
from .practice.verdict import Diagnosis, Judged, Verdict
from .procedures.entropy import attention_entropy
from .procedures.flash import flash_attention
from .procedures.largest import largest_scores
from .procedures.online import (
    Partial,
    empty_partial,
    merge,
    partial_attention,
)
from .procedures.ring import ring_attention, shard, unshard
from .procedures.rule_tiles import RuleTiles, tiles_of
from .procedures.topk import TopK, topk_attention, topk_mask
from .procedures.window import window_attention
from .recording.capturing import capture
from .recording.recording import Change, Recording

__version__: str

__all__ = [
    "Alibi",
    "Change",
    "Diagnosis",
    "DistanceBias",
    "Explorer",
    "Finding",
    "Judged",
    "KeyValueCache",
    "LatentAttention",
    "MaskingComparison",
    "MultiHeadAttention",
    "OperatingTable",
    "Partial",
    "Patient",
    "Recording",
    "Report",
    "Rotary",
    "RuleTiles",
    "Sinusoidal",
    "Stages",
    "TopK",
    "Verdict",
    "WindowCache",
    "alibi",
    "analyze_attention_patterns",
    "as_additive",
    "attention",
    "attention_entropy",
    "baseline_patterns",
    "capture",
    "check",
    "clip_heads",
    "combine_masks",
    "compare_masking",
    "count_places",
    "create_causal_mask",
    "create_document_mask",
    "create_padding_mask",
    "create_reverse_mask",
    "create_window_mask",
    "describe_attention",
    "diagnose",
    "dissect",
    "distance_to_rank_one",
    "effective_rank",
    "empty_partial",
    "examine",
    "examine_model",
    "experiment_scaling_factor",
    "explore",
    "findings",
    "flash_attention",
    "grouped_attention",
    "hull_distance",
    "in_convex_hull",
    "influence_map",
    "judge",
    "largest_scores",
    "log_sum_exp",
    "mask_of",
    "merge",
    "merge_heads",
    "naive_softmax",
    "normalized_entropy",
    "number_documents",
    "partial_attention",
    "patients",
    "plot_attention_heatmap",
    "plot_matrix",
    "plot_multihead_attention",
    "ring_attention",
    "rms_norm",
    "rotary",
    "row_entropy",
    "shard",
    "sinusoidal",
    "soft_cap",
    "split_heads",
    "stable_softmax",
    "tiles_of",
    "topk_attention",
    "topk_mask",
    "train_with_and_without_scale",
    "uniform_weights",
    "unit_length",
    "unshard",
    "visible",
    "window_attention",
]
