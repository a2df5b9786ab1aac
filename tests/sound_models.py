"""Whole models that are right, as people have them: this book's own, and transformers' at a small, random size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from surgeon import create_causal_mask
from surgeon.anatomy.positions import Alibi, Rotary
from surgeon.models.transformer import make_model

Made = tuple[Callable[[], Any], dict[str, Any]]

WORDS = 53
MASKED = {"options": lambda T: {"mask": create_causal_mask(T)}, "kind": "decoder"}
OURS: dict[str, Made] = {
    "ours": (partial(make_model, 11, 16), MASKED | {"positions": "absolute", "max_len": 16}),
    "ours, rotary": (partial(make_model, 11, 16, positions=Rotary()), MASKED),
    "ours, alibi": (partial(make_model, 11, 16, positions=Alibi(4)), MASKED),
    "ours, without a mask": (partial(make_model, 11, 16), {"kind": "encoder"}),
}

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
}
GROUPED = SMALL | {"num_key_value_heads": 2, "head_dim": 8}
PADLESS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
BOTH: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
}
EIGHTH = {"query_pre_attn_scalar": 8, "sliding_window": 4}
MOST = {"layer_types": ["sliding_attention", "full_attention"]}

# name: the model, its configuration, and how small
ARCHITECTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GPT-2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        PADLESS | {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": WORDS, "n_positions": 64},
    ),
    "GPT-NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SMALL | PADLESS),
    "OPT": (
        "OPTForCausalLM",
        "OPTConfig",
        PADLESS
        | {"hidden_size": 32, "num_attention_heads": 4, "ffn_dim": 64, "num_hidden_layers": 2, "vocab_size": WORDS}
        | {"max_position_embeddings": 64, "word_embed_proj_dim": 32},
    ),
    "BLOOM": (
        "BloomForCausalLM",
        "BloomConfig",
        PADLESS | {"hidden_size": 32, "n_head": 4, "n_layer": 2, "vocab_size": WORDS},
    ),
    "Falcon": ("FalconForCausalLM", "FalconConfig", SMALL | PADLESS),
    "MPT": (
        "MptForCausalLM",
        "MptConfig",
        PADLESS | {"d_model": 32, "n_heads": 4, "n_layers": 2, "vocab_size": WORDS, "max_seq_len": 64},
    ),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", GROUPED | PADLESS),
    "Mistral": ("MistralForCausalLM", "MistralConfig", GROUPED | PADLESS | {"sliding_window": 4}),
    "Mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        GROUPED | PADLESS | {"num_local_experts": 4, "sliding_window": None},
    ),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", GROUPED | PADLESS),
    "Qwen3": ("Qwen3ForCausalLM", "Qwen3Config", GROUPED | PADLESS),
    "Gemma 2": ("Gemma2ForCausalLM", "Gemma2Config", GROUPED | PADLESS | EIGHTH),
    "Gemma 3": ("Gemma3ForCausalLM", "Gemma3TextConfig", GROUPED | PADLESS | EIGHTH | MOST),
    "Phi-3": (
        "Phi3ForCausalLM",
        "Phi3Config",
        SMALL | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "GPT-OSS": (
        "GptOssForCausalLM",
        "GptOssConfig",
        GROUPED | PADLESS | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4},
    ),
    "StarCoder2": (
        "Starcoder2ForCausalLM",
        "Starcoder2Config",
        SMALL | PADLESS | {"num_key_value_heads": 2, "sliding_window": 4},
    ),
    "Mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": WORDS, "state_size": 4},
    ),
    "BERT": ("BertModel", "BertConfig", SMALL),
    "RoBERTa": ("RobertaModel", "RobertaConfig", SMALL),
    "DistilBERT": (
        "DistilBertModel",
        "DistilBertConfig",
        {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 2, "vocab_size": WORDS, "max_position_embeddings": 64},
    ),
    "ALBERT": ("AlbertModel", "AlbertConfig", SMALL | {"embedding_size": 16}),
    "T5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 2, "vocab_size": WORDS},
    ),
    "BART": ("BartForConditionalGeneration", "BartConfig", BOTH),
    "Marian": (
        "MarianMTModel",
        "MarianConfig",
        BOTH | {"pad_token_id": 0, "eos_token_id": 1, "forced_eos_token_id": 1, "decoder_start_token_id": 0},
    ),
    "ViT": (
        "ViTModel",
        "ViTConfig",
        {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64}
        | {"image_size": 12, "patch_size": 4},
    ),
}


def of_transformers(name: str, **more: Any) -> Any:
    """A model of transformers with small random weights, which depend on nothing but its sizes."""
    import transformers

    transformers.logging.set_verbosity_error()
    kind, config, sizes = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, kind)(getattr(transformers, config)(**sizes, **more))
        if name == "GPT-OSS":  # made empty by the library
            for layer in model.model.layers:
                torch.nn.init.normal_(layer.self_attn.sinks)
    return model


TRANSFORMERS: dict[str, Made] = {name: (partial(of_transformers, name), {}) for name in ARCHITECTURES}
MODELS = OURS | TRANSFORMERS

COUNTS = "Padded in front, and told no positions, it counts the padding"
PLACES = "What stands in the padding does not count, and how much of it there is does: positions"
SOURCE = "With padding in front of its source, the decoder answers otherwise: positions count the padding."
# What is found and is true, with transformers 5.23: law, what it weighs, and how its sentence begins
TRUE: dict[str, dict[str, tuple[str, str]]] = {
    "GPT-2": {"positions from the mask": ("hazard", COUNTS)},
    "BERT": {"positions from the mask": ("hazard", COUNTS)},
    "DistilBERT": {"positions from the mask": ("hazard", COUNTS)},
    "ALBERT": {"positions from the mask": ("hazard", COUNTS)},
    "BART": {"padding on the left": ("hazard", PLACES), "source padding": ("hazard", SOURCE)},
    "Marian": {"padding on the left": ("hazard", PLACES), "source padding": ("hazard", SOURCE)},
    # a scan behind a cache begins with an empty state
    "Mamba": {"cache, in chunks": ("fault", "Several tokens behind a cache are answered otherwise than in the whole")},
}
