"""Layers that are right, as people have them: this package's own in its options, PyTorch's and transformers'."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from surgeon import MultiHeadAttention
from surgeon.anatomy.positions import Alibi, DistanceBias, Rotary

Made = tuple[Callable[[], Any], dict[str, Any]]


def layer(kind, *sizes, **options):
    """A layer whose weights depend on nothing but its sizes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*sizes, **options)


def ours(*sizes, **options):
    return partial(layer, MultiHeadAttention, *sizes, **options)


OURS: dict[str, Made] = {
    "ours": (ours(21, 3), {}),
    "ours, with dropout": (ours(21, 3, dropout=0.25), {}),
    "ours, one head": (ours(7, 1), {}),
    "ours, grouped": (ours(42, 6, num_kv_heads=2), {}),
    "ours, multi-query": (ours(42, 6, num_kv_heads=1), {}),
    "ours, unscaled": (ours(21, 3, scale=False), {"scale": 1.0}),
    "ours, from outside": (ours(21, 3), {"projections": False}),
    "ours, capped": (ours(21, 3, softcap=2.0), {"softcap": 2.0}),
    "ours, with a sink": (ours(21, 3, sink=True), {"sink": True}),
    "ours, softmax plus one": (ours(21, 3, sink=0.0), {"sink": 0.0}),
    "ours, rotary": (ours(24, 3, positions=Rotary()), {"positions": "rotary"}),
    "ours, rotary in part": (ours(24, 3, positions=Rotary(share=0.5)), {"positions": "rotary share=0.5"}),
    "ours, alibi": (ours(28, 4, positions=Alibi(4)), {"positions": "alibi"}),
    "ours, normed": (ours(21, 3, qk_norm="rms"), {"qk_norm": "rms"}),
    "ours, distances": (ours(21, 3, positions=DistanceBias(3)), {"positions": "distance"}),
}


def theirs(kind, *sizes, **options):
    return partial(layer, kind, *sizes, **options)


PYTORCH: dict[str, Made] = {
    "MultiheadAttention": (theirs(nn.MultiheadAttention, 21, 3, batch_first=True), {"dead_rows": "nan"}),
    "MultiheadAttention, dropout": (
        theirs(nn.MultiheadAttention, 21, 3, dropout=0.25, batch_first=True),
        {"dead_rows": "nan"},
    ),
    "MultiheadAttention, sequence first": (
        theirs(nn.MultiheadAttention, 21, 3),
        {"options": {"need_weights": False}},
    ),
    "TransformerEncoderLayer": (theirs(nn.TransformerEncoderLayer, 28, 4, 56, 0.1, batch_first=True), {}),
    "TransformerEncoderLayer, no dropout": (
        theirs(nn.TransformerEncoderLayer, 28, 4, 56, 0.0, batch_first=True),
        {},
    ),
    "TransformerDecoderLayer": (theirs(nn.TransformerDecoderLayer, 28, 4, 56, 0.1, batch_first=True), {}),
}

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8}


def of_transformers(family: str, config: str, attention: str, implementation: str, **more: Any) -> Any:
    """An attention layer of transformers, of a small configuration."""
    import importlib

    import transformers

    transformers.logging.set_verbosity_error()
    configuration = getattr(transformers, config)(**more)
    configuration._attn_implementation = implementation
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    extra = {"is_decoder": True} if attention == "BartAttention" else {}
    kind = getattr(module, attention)
    if attention in ("BartAttention", "WhisperAttention"):
        return layer(kind, 32, 4, layer_idx=0, config=configuration, **extra)
    if attention == "OPTAttention":
        return layer(kind, configuration, layer_idx=0)
    if attention in ("ViTAttention", "CLIPAttention", "MultiHeadSelfAttention", "DistilBertSelfAttention"):
        return layer(kind, configuration)
    if attention == "T5Attention":
        return layer(kind, configuration, has_relative_attention_bias=True, layer_idx=0)
    made = layer(kind, configuration, layer_idx=0)
    if attention == "GptOssAttention":  # made without numbers: whatever lay in memory
        torch.nn.init.normal_(made.sinks)
    return made


# family, its configuration, its attention, and how small
LIBRARY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertConfig", "BertSelfAttention", SMALL),
    "roberta": ("RobertaConfig", "RobertaSelfAttention", SMALL),
    "distilbert": ("DistilBertConfig", "DistilBertSelfAttention", {"dim": 32, "n_heads": 4, "hidden_dim": 64}),
    "gpt2": ("GPT2Config", "GPT2Attention", {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": 50}),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXAttention", SMALL),
    "opt": ("OPTConfig", "OPTAttention", {"hidden_size": 32, "num_attention_heads": 4, "ffn_dim": 64}),
    "bloom": ("BloomConfig", "BloomAttention", {"hidden_size": 32, "n_head": 4, "n_layer": 2, "vocab_size": 50}),
    "falcon": ("FalconConfig", "FalconAttention", SMALL),
    "llama": ("LlamaConfig", "LlamaAttention", GROUPED),
    "mistral": ("MistralConfig", "MistralAttention", GROUPED | {"sliding_window": 3}),
    "qwen2": ("Qwen2Config", "Qwen2Attention", GROUPED),
    "qwen3": ("Qwen3Config", "Qwen3Attention", GROUPED),
    "gemma2": ("Gemma2Config", "Gemma2Attention", GROUPED | {"query_pre_attn_scalar": 8}),
    "gemma3": (
        "Gemma3TextConfig",
        "Gemma3Attention",
        GROUPED
        | {"query_pre_attn_scalar": 8, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "phi": ("PhiConfig", "PhiAttention", SMALL),
    "gpt_oss": ("GptOssConfig", "GptOssAttention", GROUPED),
    "t5": ("T5Config", "T5Attention", {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "vocab_size": 50}),
    "bart": ("BartConfig", "BartAttention", {"d_model": 32}),
    "vit": ("ViTConfig", "ViTAttention", SMALL),
    "clip": ("CLIPVisionConfig", "CLIPAttention", SMALL),
    "whisper": ("WhisperConfig", "WhisperAttention", {"d_model": 32}),
}
# they have one implementation, whose sinks or biases no other takes
EAGER = {"gpt_oss", "gemma2", "bloom", "t5"}

TRANSFORMERS: dict[str, Made] = {
    f"transformers: {attention}, {implementation}": (
        partial(of_transformers, family, config, attention, implementation, **sizes),
        {},
    )
    for family, (config, attention, sizes) in LIBRARY.items()
    for implementation in ("eager", "sdpa")
    if implementation == "eager" or family not in EAGER
}

LAYERS = OURS | PYTORCH | TRANSFORMERS
# a hazard and a choice that are true of transformers' plain road, and no fault of it
HAZARDS = {"scale before overflow", "dead rows, forward"}
# and a fault that is true: asked for its weights, it leaves sdpa for a road that loses its mask
TRUE_OF_LAYERS = {"transformers: FalconAttention, sdpa": ["same by every road"]}
