"""A language model read from its files: sizes, numbers and tokenizer.

Two kinds of file hold the same: a GGUF file, and a folder as Hugging Face
keeps models. They differ in the names of the tensors, and in which rows of
the queries' and keys' matrices are rotated as a pair.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from surgeon.extras import needed_by
from surgeon.models.decoder import Sizes
from surgeon.models.gguf_file import GGUF, read_head, unpack

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OF_GGUF = {
    "token_embd": "word",
    "output_norm": "norm",
    "output": "unembed",
    "blk": "layers",
    "attn_norm": "norm_1",
    "attn_q": "W_Q",
    "attn_k": "W_K",
    "attn_v": "W_V",
    "attn_output": "W_O",
    "ffn_norm": "norm_2",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
}
OF_HUGGING_FACE = {
    "embed_tokens": "word",
    "lm_head": "unembed",
    "input_layernorm": "norm_1",
    "q_proj": "W_Q",
    "k_proj": "W_K",
    "v_proj": "W_V",
    "o_proj": "W_O",
    "post_attention_layernorm": "norm_2",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
}
BETWEEN = ("model", "self_attn", "mlp")  # parts of names that ours lack
CONTROL = 3  # in a GGUF file, the kind of a token that is no text


class Contents(NamedTuple):
    """What a model's files hold."""

    sizes: Sizes
    state: dict[str, Tensor]  #: by the names of `Decoder`
    tokenizer: "Tokenizer"
    end: int | None  #: the token that ends a text


def read_model(path: Path) -> Contents:
    """A model of Llama's kind, of either kind of file.

    Parameters
    ----------
    path : Path
        A GGUF file, or a folder with config.json, tokenizer.json and
        model.safetensors, or with the index of several shards.

    Returns
    -------
    Contents
        Its numbers in float32, its rotation in halves.

    Raises
    ------
    ValueError
        If a file is missing or cannot be read, or if the model is of another
        kind.
    """
    contents = _read_folder(path) if path.is_dir() else _read_gguf(path)
    contents.state.setdefault("unembed.weight", contents.state["word.weight"])
    return contents


def paired_as_halves(weight: Tensor, heads: int) -> Tensor:
    """Rows for a rotation of neighbours, in the order of one of halves.

    The first of each pair, then the second of each, head by head, [H * d, D].
    """
    rows = weight.unflatten(0, (heads, -1, 2))  # [H, d / 2, 2, D]
    return rows.transpose(1, 2).flatten(0, 2)


# GGUF


def _read_gguf(path: Path) -> Contents:
    head = read_head(path)
    fields = head.fields
    kind = fields.get("general.architecture")
    if kind != "llama":
        raise ValueError(
            f"{path} must hold a model of the kind llama, got {kind}."
        )
    sizes = _gguf_sizes(fields)
    state = {}
    for name, packed in head.tensors.items():
        ours = _renamed(name, OF_GGUF)
        numbers = unpack(path, packed)
        if ours.endswith("W_Q.weight"):
            numbers = paired_as_halves(numbers, sizes.heads)
        if ours.endswith("W_K.weight"):
            numbers = paired_as_halves(numbers, sizes.key_heads)
        state[ours] = numbers
    end = fields.get("tokenizer.ggml.eos_token_id")
    return Contents(sizes, state, _gguf_tokenizer(head, path), end)


def _gguf_sizes(fields: dict[str, Any]) -> Sizes:
    said = {
        name.removeprefix("llama."): value
        for name, value in fields.items()
        if name.startswith("llama.")
    }
    heads, width = said["attention.head_count"], said["embedding_length"]
    return Sizes(
        vocabulary=len(fields["tokenizer.ggml.tokens"]),
        layers=said["block_count"],
        heads=heads,
        key_heads=said.get("attention.head_count_kv", heads),
        d_k=said.get("attention.key_length", width // heads),
        width=width,
        inner=said["feed_forward_length"],
        base=said.get("rope.freq_base", 10_000.0),
        # written in 32 bits, of which 1e-5 is what was meant
        epsilon=float(f"{said['attention.layer_norm_rms_epsilon']:.6g}"),
        limit=said["context_length"],
    )


def _gguf_tokenizer(head: GGUF, path: Path) -> "Tokenizer":
    """Byte pairs over bytes, and digits one by one, as the file says."""
    # here, so that only those who load the model need it
    with needed_by("The language model"):
        from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
        from tokenizers.models import BPE

    said = {
        name.removeprefix("tokenizer.ggml."): value
        for name, value in head.fields.items()
        if name.startswith("tokenizer.ggml.")
    }
    kinds = said.get("model"), said.get("pre")
    if kinds != ("gpt2", "smollm"):
        raise ValueError(
            f"{path} must have a tokenizer of the kind gpt2 and smollm, got"
            f" {kinds[0]} and {kinds[1]}; name a folder with tokenizer.json."
        )
    names = said["tokens"]
    merges = [tuple(pair.split(" ")) for pair in said["merges"]]
    tokenizer = Tokenizer(BPE({t: n for n, t in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds_of = said["token_type"]
    special = [
        t for t, of in zip(names, kinds_of, strict=True) if of == CONTROL
    ]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in special]
    )
    return tokenizer


# Hugging Face


def _read_folder(folder: Path) -> Contents:
    with needed_by("A model in a folder"):
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

    config = json.loads(_text(folder, "config.json"))
    _check_config(config, folder)
    state = {}
    for name in _shards(folder):
        for theirs, numbers in load_file(folder / name).items():
            if not theirs.endswith("rotary_emb.inv_freq"):
                state[_renamed(theirs, OF_HUGGING_FACE)] = numbers.float()
    tokenizer = Tokenizer.from_str(_text(folder, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) else end
    return Contents(_folder_sizes(config), state, tokenizer, end)


def _folder_sizes(config: dict[str, Any]) -> Sizes:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    rotation = config.get("rope_parameters") or config
    return Sizes(
        vocabulary=config["vocab_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        key_heads=config.get("num_key_value_heads") or heads,
        d_k=config.get("head_dim") or width // heads,
        width=width,
        inner=config["intermediate_size"],
        base=rotation.get("rope_theta", 10_000.0),
        epsilon=config["rms_norm_eps"],
        limit=config["max_position_embeddings"],
    )


def _check_config(config: dict[str, Any], folder: Path) -> None:
    """Raise a ValueError for what `Decoder` does not compute."""
    rotation = config.get("rope_parameters") or config.get("rope_scaling")
    how = rotation or {}
    scaling = how.get("rope_type", how.get("type", "default"))
    found = {
        "model_type": config.get("model_type"),
        "hidden_act": config.get("hidden_act", "silu"),
        "attention_bias": config.get("attention_bias", False),
        "mlp_bias": config.get("mlp_bias", False),
        "rope_type": scaling,
    }
    expected = ("llama", "silu", False, False, "default")
    for (name, got), right in zip(found.items(), expected, strict=True):
        if got != right:
            raise ValueError(
                f"{folder / 'config.json'} must say {name} = {right!r} for"
                f" this model's layers, got {got!r}."
            )


def _shards(folder: Path) -> list[str]:
    """The files that hold the tensors."""
    index = "model.safetensors.index.json"
    if (folder / index).is_file():
        places = json.loads(_text(folder, index))["weight_map"]
        names = sorted(set(places.values()))
    else:
        names = ["model.safetensors"]
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(f"{name} must be in {folder}, got no such file.")
    return names


def _text(folder: Path, name: str) -> str:
    if not (folder / name).is_file():
        raise ValueError(f"{name} must be in {folder}, got no such file.")
    return (folder / name).read_text(encoding="utf8")


def _renamed(theirs: str, names: dict[str, str]) -> str:
    parts = [part for part in theirs.split(".") if part not in BETWEEN]
    return ".".join(names.get(part, part) for part in parts)
