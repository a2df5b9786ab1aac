"""Attentions of the library transformers, small ones of random weights, by name and program."""

from importlib import import_module

import torch

GROUPED = {
    "hidden_size": 60,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "num_hidden_layers": 2,
    "intermediate_size": 16,
    "vocab_size": 11,
}
PLAIN = {"hidden_size": 28, "num_attention_heads": 4}
SLOWER = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# what it is called: (model, attention, configuration, what the configuration says, further arguments)
LAYERS = {
    "BERT": ("bert", "BertSelfAttention", "BertConfig", PLAIN, {}),
    "BERT, with its output": ("bert", "BertAttention", "BertConfig", PLAIN, {}),
    "BERT's layer": ("bert", "BertLayer", "BertConfig", {**PLAIN, "intermediate_size": 16}, {}),
    "BERT, across": ("bert", "BertCrossAttention", "BertConfig", PLAIN, {}),
    "RoBERTa": ("roberta", "RobertaSelfAttention", "RobertaConfig", PLAIN, {}),
    "DistilBERT": ("distilbert", "DistilBertSelfAttention", "DistilBertConfig", {"dim": 28, "n_heads": 4}, {}),
    "GPT-2": ("gpt2", "GPT2Attention", "GPT2Config", {"n_embd": 28, "n_head": 4}, {"layer_idx": 0}),
    "GPT-2's block": ("gpt2", "GPT2Block", "GPT2Config", {"n_embd": 28, "n_head": 4}, {"layer_idx": 0}),
    "GPT-NeoX": (
        "gpt_neox",
        "GPTNeoXAttention",
        "GPTNeoXConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "rotary_pct": 0.25},
        {"layer_idx": 0},
    ),
    "OPT": ("opt", "OPTAttention", "OPTConfig", PLAIN, {"layer_idx": 0}),
    "BLOOM": ("bloom", "BloomAttention", "BloomConfig", {"hidden_size": 30, "n_head": 3}, {"layer_idx": 0}),
    "Falcon": (
        "falcon",
        "FalconAttention",
        "FalconConfig",
        {"hidden_size": 60, "num_attention_heads": 6},
        {"layer_idx": 0},
    ),
    "Falcon, grouped": (
        "falcon",
        "FalconAttention",
        "FalconConfig",
        {"hidden_size": 60, "num_attention_heads": 6, "num_kv_heads": 2, "new_decoder_architecture": True},
        {"layer_idx": 0},
    ),
    "Falcon, ALiBi": (
        "falcon",
        "FalconAttention",
        "FalconConfig",
        {"hidden_size": 60, "num_attention_heads": 6, "alibi": True, "multi_query": False},
        {"layer_idx": 0},
    ),
    "Llama": ("llama", "LlamaAttention", "LlamaConfig", GROUPED, {"layer_idx": 0}),
    "Llama's block": ("llama", "LlamaDecoderLayer", "LlamaConfig", GROUPED, {"layer_idx": 0}),
    "Llama 3": ("llama", "LlamaAttention", "LlamaConfig", {**GROUPED, "rope_parameters": SLOWER}, {"layer_idx": 0}),
    "Mistral": ("mistral", "MistralAttention", "MistralConfig", GROUPED, {"layer_idx": 0}),
    "Qwen2": ("qwen2", "Qwen2Attention", "Qwen2Config", GROUPED, {"layer_idx": 0}),
    "Qwen3": ("qwen3", "Qwen3Attention", "Qwen3Config", GROUPED, {"layer_idx": 0}),
    "Gemma 2": ("gemma2", "Gemma2Attention", "Gemma2Config", GROUPED, {"layer_idx": 0}),
    "Gemma 3": (
        "gemma3",
        "Gemma3Attention",
        "Gemma3TextConfig",
        {**GROUPED, "query_pre_attn_scalar": 12},
        {"layer_idx": 0},
    ),
    "Phi": (
        "phi",
        "PhiAttention",
        "PhiConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "qk_layernorm": True},
        {"layer_idx": 0},
    ),
    "Phi-3": (
        "phi3",
        "Phi3Attention",
        "Phi3Config",
        {**GROUPED, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2},
        {"layer_idx": 0},
    ),
    "GPT-OSS": ("gpt_oss", "GptOssAttention", "GptOssConfig", GROUPED, {"layer_idx": 0}),
    "T5": (
        "t5",
        "T5Attention",
        "T5Config",
        {"d_model": 28, "d_kv": 10, "num_heads": 3},
        {"has_relative_attention_bias": True, "layer_idx": 0},
    ),
    "T5, no bias": ("t5", "T5Attention", "T5Config", {"d_model": 28, "d_kv": 10, "num_heads": 3}, {"layer_idx": 0}),
    "BART": ("bart", "BartAttention", "BartConfig", {"d_model": 28}, {"embed_dim": 28, "num_heads": 4, "layer_idx": 0}),
    "ViT": ("vit", "ViTAttention", "ViTConfig", PLAIN, {}),
    "CLIP": ("clip", "CLIPAttention", "CLIPVisionConfig", PLAIN, {}),
    "Whisper": (
        "whisper",
        "WhisperAttention",
        "WhisperConfig",
        {"d_model": 28},
        {"embed_dim": 28, "num_heads": 4, "layer_idx": 0},
    ),
}


def made(name, program):
    """The layer, its norms and sinks no longer what they start as."""
    model, kind, configuration, says, further = LAYERS[name]
    path = f"transformers.models.{model}"
    configured = getattr(import_module(f"{path}.configuration_{model}"), configuration)
    config = configured(**says, attn_implementation=program)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = getattr(import_module(f"{path}.modeling_{model}"), kind)(config=config, **further)
        for at, x in layer.named_parameters():
            if "norm" in at or "sink" in at:
                torch.nn.init.normal_(x, mean=0.3, std=0.5)
    return layer
