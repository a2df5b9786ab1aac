"""Models of transformers, captured: the weights are those that they tell themselves, and nothing else changes."""

from typing import Any

import pytest
import torch
from sound_models import ARCHITECTURES, WORDS, of_transformers
from torch import Tensor

from surgeon import capture

pytestmark = pytest.mark.long

ATTENDING = [name for name in ARCHITECTURES if name != "Mamba"]
# Those of which the library has no form with PyTorch's kernel
EAGER_ALONE = ("BLOOM", "Gemma 2", "GPT-OSS", "MPT")
# The precision of experts' products
SINGLE = ("GPT-OSS", "Mixtral")
PROGRAMS = [(name, way) for name in ATTENDING for way in ("eager", "sdpa") if way == "eager" or name not in EAGER_ALONE]


def asked(name: str) -> dict[str, Any]:
    """Two texts, one of which ends in padding; or two pictures."""
    generator = torch.Generator().manual_seed(0)
    if name == "ViT":
        return {"pixel_values": torch.randn(2, 3, 12, 12, generator=generator)}
    ids = torch.randint(3, WORDS, (2, 11), generator=generator)
    seen = torch.ones_like(ids)
    seen[1, 9:] = 0
    given = {"input_ids": ids, "attention_mask": seen}
    return given | {"decoder_input_ids": ids[:, :5]} if name in ("T5", "BART", "Marian") else given


def told(output: Any) -> list[Tensor]:
    """The weights that a model tells, in the order in which its layers attend."""
    if "encoder_attentions" not in output:
        return list(output.attentions)
    pairs = zip(output.decoder_attentions, output.cross_attentions, strict=True)
    return [*output.encoder_attentions, *(one for pair in pairs for one in pair)]


@pytest.mark.parametrize(("name", "way"), PROGRAMS, ids=lambda x: x)
def test_a_library_tells_what_is_recorded(name, way):
    """Its own eager form takes softmax in float32, whatever comes."""
    precision = torch.float32 if name in SINGLE else torch.float64
    model, own = (of_transformers(name, attn_implementation=x).to(precision).eval() for x in (way, "eager"))
    given = {n: x.to(precision) if x.is_floating_point() else x for n, x in asked(name).items()}
    with torch.no_grad():
        plain = model(**given)
        with capture(model) as recording:
            output = model(**given)
        truth = told(own(**given, output_attentions=True))
    assert recording.compared == 1
    torch.testing.assert_close(output[0], plain[0], rtol=0, atol=1e-5 if name in SINGLE else 1e-13)
    assert len(recording.weights) == len(truth)
    for (layer, weights), true in zip(recording.weights.items(), truth, strict=True):
        assert "attn" in layer.lower() or "attention" in layer.lower()
        assert weights.shape == true.shape
        for row, real in ((0, None), (1, 5 if "decoder" in layer or name == "ViT" else 9)):
            torch.testing.assert_close(weights[row, :, :real], true[row, :, :real], rtol=0, atol=1e-6)


def test_a_program_that_no_mode_sees_is_left_for_the_time_being():
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def elsewhere(module, query, key, value, attention_mask, **named):
        raise AssertionError("this kernel is on another machine")

    AttentionInterface.register("elsewhere", elsewhere)
    AttentionMaskInterface.register("elsewhere", sdpa_mask)
    model = of_transformers("GPT-2", attn_implementation="elsewhere").eval()
    with capture(model) as recording:
        model(**asked("GPT-2"))
    assert recording.stack().shape == (2, 4, 11, 11)
    assert model.config._attn_implementation == "elsewhere"
    with pytest.raises(AssertionError, match="another machine"):
        model(**asked("GPT-2"))


def test_words_are_written_while_it_is_captured():
    """With a cache, one query at a time: heads that are packed for it are unpacked."""
    model = of_transformers("Llama").eval()
    ids = asked("Llama")["input_ids"][:1]
    settings = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    plain = model.generate(ids, **settings)
    with capture(model) as recording:
        assert torch.equal(model.generate(ids, **settings), plain)
    assert recording.compared == 3
    assert recording.stack().shape == (2, 4, 1, 13)
