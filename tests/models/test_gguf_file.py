"""GGUF files written by the package gguf, and read by us; numbers unpacked as it unpacks them, to the last bit."""

import re

import gguf
import numpy as np
import pytest
import torch
from llama import ask, llama, their_config
from tokenizers import pre_tokenizers

from surgeon.models.decoder import Sizes
from surgeon.models.gguf_file import KINDS, read_head, unpack
from surgeon.models.language_model import load, untrained
from surgeon.models.language_model_files import find_model
from surgeon.models.language_model_reading import OF_GGUF, paired_as_halves

SIZES = Sizes(269, layers=2, heads=6, key_heads=2, d_k=16, width=96, inner=64, base=500.0, epsilon=1e-5, limit=64)
TEXT = [5, 0, 36, 7, 7, 11, 2, 30, 19, 23, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_unpacked_as_gguf_unpacks_them(tmp_path, kind):
    """Twice the same bits, of numbers large and small, and of blocks that are all one number."""
    kind = gguf.GGMLQuantizationType(kind)
    numbers = (
        np.random.default_rng(3).normal(size=(7, 96)).astype(np.float32) * np.float32(10.0) ** np.arange(-3, 4)[:, None]
    )
    numbers[0, :32], numbers[1, 32:64] = 0, 2.5
    packed = gguf.quantize(numbers, kind)
    file = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_tensor("first", np.ones((3, 5), np.float32))
    if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
        writer.add_tensor("numbers", packed)
    else:
        writer.add_tensor("numbers", packed, raw_dtype=kind)
    close(writer)
    found = read_head(file).tensors
    assert list(found) == ["first", "numbers"]
    assert KINDS[found["numbers"].kind].name == kind.name
    assert torch.equal(unpack(file, found["first"]), torch.ones(3, 5))
    ours = unpack(file, found["numbers"]).numpy()
    assert np.array_equal(ours, gguf.dequantize(packed, kind))
    assert np.abs(ours - numbers).max() < 0.2 * np.abs(numbers).max()


@pytest.mark.parametrize(
    "name", ["token_embd.weight", "blk.3.attn_k.weight", "blk.29.ffn_down.weight", "output_norm.weight"]
)
def test_the_models_own_numbers_too(name):
    path = find_model()
    packed = read_head(path).tensors[name]
    kind = gguf.GGMLQuantizationType(packed.kind)
    rows, ours = min(packed.shape[0], 300), unpack(path, packed)
    of_kind = KINDS[packed.kind]
    count = rows * ours[0].numel() // of_kind.block * of_kind.nbytes
    raw = np.fromfile(path, np.uint8, count, offset=packed.start)
    raw = raw.view(np.float32) if kind == 0 else raw.reshape(rows, -1)
    assert np.array_equal(ours[:rows].numpy(), gguf.dequantize(raw, kind).reshape(ours[:rows].shape))


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_head_says_all_that_was_written(tmp_path):
    """Every kind of value, and a tensor behind an odd number of bytes."""
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    values = {
        "uint8": 7, "int8": -7, "uint16": 777, "int16": -777, "uint32": 77777, "int32": -77777,
        "uint64": 2**60, "int64": -(2**60), "float32": 0.5, "float64": 1e-300, "bool": True, "string": "naïve 東京",
    }  # fmt: skip
    for name, value in values.items():
        getattr(writer, f"add_{name}")(f"a.{name}", value)
    writer.add_array("a.list", [1, 2, 3])
    writer.add_array("a.names", ["", "Ġthe", "é"])
    writer.add_tensor("x", np.arange(6, dtype=np.float32).reshape(2, 3))
    close(writer)
    head = read_head(tmp_path / "a.gguf")
    assert head.fields == {
        "general.architecture": "llama",
        **{f"a.{name}": value for name, value in values.items()},
        "a.list": [1, 2, 3],
        "a.names": ["", "Ġthe", "é"],
    }
    theirs = gguf.GGUFReader(tmp_path / "a.gguf").get_tensor(0)
    assert head.tensors["x"].start == theirs.data_offset
    assert unpack(tmp_path / "a.gguf", head.tensors["x"]).tolist() == theirs.data.tolist()


def model_file(file, model, **changes):
    """A model as llama.cpp keeps it: neighbours are rotated, and a tokenizer stands in the head."""
    sizes = model.sizes
    writer = gguf.GGUFWriter(file, changes.get("architecture", "llama"))
    writer.add_block_count(sizes.layers)
    writer.add_context_length(sizes.limit)
    writer.add_embedding_length(sizes.width)
    writer.add_feed_forward_length(sizes.inner)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.key_heads)
    writer.add_key_length(sizes.d_k)
    writer.add_value_length(sizes.d_k)
    writer.add_rope_dimension_count(sizes.d_k)
    writer.add_rope_freq_base(sizes.base)
    writer.add_layer_norm_rms_eps(sizes.epsilon)
    writer.add_vocab_size(sizes.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(changes.get("pre", "smollm"))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|end|>", *letters, "th", "the", "Ġthe", "in", "12", "an", "and", "Ġand", "on", "er", "re", "es"]
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["t h", "th e", "Ġ the", "i n", "1 2", "a n", "an d", "Ġ and", "o n", "e r", "r e", "e s"])
    writer.add_eos_token_id(0)
    names = {ours: theirs for theirs, ours in OF_GGUF.items()}
    for name, numbers in model.state_dict().items():
        if name == "unembed.weight":
            continue
        for part, heads in (("W_Q", sizes.heads), ("W_K", sizes.key_heads)):
            if part in name:
                numbers = numbers.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
        writer.add_tensor(".".join(names.get(part, part) for part in name.split(".")), numbers.numpy())
    close(writer)


def test_a_whole_model_is_read_as_it_was(tmp_path):
    model = untrained(SIZES, seed=3, spread=0.3)
    model_file(tmp_path / "small.gguf", model)
    for place in (tmp_path, tmp_path / "small.gguf", str(tmp_path)):
        found = load(place)
        assert found.sizes == SIZES
        assert found.end == 0
        assert torch.equal(found.logits(TEXT), model.logits(TEXT))
    assert found.tokenize("the 12 and<|end|>")[1] == ["the", " ", "1", "2", " and", "<|end|>"]


def test_transformers_reads_the_same_of_it(tmp_path):
    """Its own reader of GGUF turns the rows back as well. (Its `from_pretrained` wants one more library for it.)"""
    from transformers import LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    model = untrained(SIZES, seed=5, spread=0.3)
    model_file(tmp_path / "small.gguf", model)
    theirs = LlamaForCausalLM(their_config(SIZES)).eval()
    read = load_gguf_checkpoint(tmp_path / "small.gguf", return_tensors=True, model_to_load=theirs)
    left = theirs.load_state_dict(read["tensors"], strict=False)
    assert left.missing_keys == ["lm_head.weight"]
    expected = ask(theirs, torch.tensor([TEXT])).logits[0]
    assert (load(tmp_path).logits(TEXT) - expected).abs().max() < 1e-4 * expected.std()
    assert (ask(llama(model), torch.tensor([TEXT])).logits[0] - expected).abs().max() < 1e-4 * expected.std()


def test_rows_of_pairs_are_put_in_halves():
    rows = torch.arange(12.0)[:, None]  # of two heads, three pairs each
    assert paired_as_halves(rows, 2)[:, 0].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


def test_files_say_what_is_wrong_with_them(tmp_path):
    file = tmp_path / "a.gguf"

    def refused(content, message):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(file)

    named = re.escape(str(file))
    refused(b"", rf"^{named} must be a GGUF file, got another kind\.$")
    refused(b"PK\x03\x04 and more", rf"^{named} must be a GGUF file, got another kind\.$")
    refused(b"GGUF\x01\0\0\0" + b"\0" * 16, r"^a GGUF file must be of version 2 or 3, got 1\.$")
    model = untrained(SIZES, seed=3)
    model_file(file, model)
    whole = file.read_bytes()
    for size in (5, 200, 4000):
        refused(whole[:size], rf"^{named} must be whole, got {size} bytes, which end in its head\.$")
    refused(whole[:-1000], rf"^{named} must be whole, got {len(whole) - 1000} bytes, which end before \S+\.$")
    file.unlink()
    model_file(file, model, architecture="qwen2")
    refused(file.read_bytes(), rf"^{named} must hold a model of the kind llama, got qwen2\.$")
    file.unlink()
    model_file(file, model, pre="qwen2")
    refused(file.read_bytes(), r"must have a tokenizer of the kind gpt2 and smollm, got gpt2 and qwen2; name a folder")


def test_numbers_that_are_packed_otherwise_are_refused(tmp_path):
    packed = gguf.quantize(np.ones((2, 32), np.float32), gguf.GGMLQuantizationType.Q5_0)
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("x", packed, raw_dtype=gguf.GGMLQuantizationType.Q5_0)
    close(writer)
    message = r"^numbers must be packed as one of F32, F16, Q4_0, Q4_1, Q8_0, BF16, got the kind number 6 of GGUF\.$"
    with pytest.raises(ValueError, match=message):
        unpack(tmp_path / "a.gguf", read_head(tmp_path / "a.gguf").tensors["x"])
