"""What the page on positions recommends to write is what transformers' Llama does."""

import math
import re

import pytest
import torch
from small_book import ROOT

PAGE = (ROOT / "book/anatomy/positions.md").read_text(encoding="utf8")


@pytest.fixture(scope="module")
def code():
    """The functions of the page's cells that need nothing else of it."""
    names = {"math": math, "torch": torch}
    for cell in re.findall(r"^```\{code-cell\} ipython3\n(def .*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if re.match(r"def (rope_table|by_wavelength|to_halves)\(", cell):
            exec(cell, names)
    return names


def config(**rope):
    from transformers import LlamaConfig

    parameters = {"rope_type": "default", "rope_theta": 10_000.0} | rope
    return LlamaConfig(hidden_size=3 * 16, num_attention_heads=3, rope_parameters=parameters)


def test_queries_and_keys_are_turned_as_llama_turns_them(code):
    from transformers.models.llama import modeling_llama as llama

    x = torch.randn(2, 3, 7, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    places = torch.tensor([[0, 0, 0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11]])
    theirs, _ = llama.apply_rotary_pos_emb(x, x, *llama.LlamaRotaryEmbedding(config())(x, places))
    ours = code["rope"](x, *code["rope_table"](places[:, None], 16))
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    (a,), (b,) = (torch.autograd.grad(y, x, upstream) for y in (ours, theirs))
    torch.testing.assert_close(a, b)


def test_half_precision_goes_in_and_comes_out_and_angles_do_not_suffer(code):
    x = torch.randn(1, 1, 3, 16, generator=torch.Generator().manual_seed(0))
    table = code["rope_table"](torch.tensor([9_999, 10_000, 10_001]), 16)
    turned = code["rope"](x.bfloat16(), *table)
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float(), code["rope"](x.bfloat16().float(), *table), rtol=2**-8, atol=2**-8)


@pytest.mark.parametrize(("factor", "slow", "fast", "words"), [(8.0, 1.0, 4.0, 8192), (32.0, 2.0, 3.0, 4096)])
def test_frequencies_by_wavelength_are_those_of_llama_3_1(code, factor, slow, fast, words):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled = config(
        rope_type="llama3",
        rope_theta=500_000.0,
        factor=factor,
        low_freq_factor=slow,
        high_freq_factor=fast,
        original_max_position_embeddings=words,
    )
    theirs, scale = ROPE_INIT_FUNCTIONS["llama3"](scaled, device="cpu")
    plain = 500_000.0 ** (-torch.arange(0, 16, 2) / 16)
    assert scale == 1
    torch.testing.assert_close(code["by_wavelength"](plain, factor, slow, fast, words), theirs)
