"""transformers' own Llama with the numbers of one of our language models: the oracle of several files."""

import os

import torch

from surgeon.models.decoder import Sizes
from surgeon.models.language_model import LanguageModel

OURS = {"word": "model.embed_tokens", "norm": "model.norm", "unembed": "lm_head"}
IN_LAYERS = {
    "norm_1": "input_layernorm",
    "W_Q": "self_attn.q_proj",
    "W_K": "self_attn.k_proj",
    "W_V": "self_attn.v_proj",
    "W_O": "self_attn.o_proj",
    "norm_2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def their_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "layers":
        return f"model.layers.{parts[1]}.{IN_LAYERS[parts[2]]}.{parts[3]}"
    return f"{OURS[parts[0]]}.{parts[1]}"


def their_config(sizes: Sizes):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_heads,
        head_dim=sizes.d_k,
        max_position_embeddings=sizes.limit,
        rms_norm_eps=sizes.epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.base},
        tie_word_embeddings=True,
        attn_implementation="eager",
    )


def llama(model: LanguageModel):
    """LlamaForCausalLM on the same memory. Its norms and its angles are float32, whatever the rest is."""
    config = their_config(model.sizes)
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        theirs = LlamaForCausalLM(config)
    theirs.load_state_dict({their_name(name): x for name, x in model.state_dict().items()}, assign=True)
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config)
    return theirs.eval()


def ask(theirs, ids: torch.Tensor, **options):
    """Of numbers [B, T]."""
    with torch.no_grad():
        return theirs(ids, output_hidden_states=True, output_attentions=True, **options)
