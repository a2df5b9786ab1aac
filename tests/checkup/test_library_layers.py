"""The library's attentions, each in both programs, and nothing said: what is found is true."""

import re

import pytest
import torch
from examined import names
from library_layers import LAYERS, made

from surgeon import examine
from surgeon.checkup.subjects.declaration import Declaration
from surgeon.checkup.subjects.library import with_masks

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

# Of an eager program: a row that sees nothing looks at all (the library hides with the lowest finite number), and
# products that are scaled once they exist. These scale the queries first, or not by the root of the width,
SCALED_FIRST = {"OPT", "Whisper", "Gemma 2", "Gemma 3", "GPT-OSS", "T5", "T5, no bias", "BLOOM"}
# or have lengths of one.
NORMED = {"Qwen3", "Gemma 3", "Phi"}
EAGER_ALWAYS = {"BLOOM"}  # whatever program is asked for
ADDED_BIAS = {"T5", "T5, no bias"}  # the mask becomes the lowest number on either program
DECLARED = {
    "positions": {
        *("GPT-NeoX", "Falcon", "Falcon, grouped", "Falcon, ALiBi", "Llama", "Llama 3", "Llama's block", "Mistral"),
        *("Qwen2", "Qwen3", "Gemma 2", "Gemma 3", "Phi", "Phi-3", "GPT-OSS", "T5", "BLOOM"),
    },
    "norm of queries and keys": NORMED,
    "soft cap": {"Gemma 2"},
    "sink": {"GPT-OSS"},
}
# Asked for its weights, Falcon leaves sdpa for a road that adds a boolean mask to the scores, which hides nothing, and
# does so in the whole model. With ALiBi, the bias is added twice there, once by the mask.
LOST = {"same by every road": "With output_attentions=True, outputs depend on later tokens: its mask is lost."}
EXPECTED = {
    ("Falcon", "sdpa"): LOST,
    ("Falcon, grouped", "sdpa"): LOST,
    ("Falcon, ALiBi", "sdpa"): {"same by every road": "With output_attentions=True, the output is another."},
    ("GPT-OSS", "sdpa"): {"sink": "The sink takes nothing: rows sum to one."},
    ("Gemma 2", "sdpa"): {
        "answers": "It raises an error, or returns something else: ValueError: `sdpa` attention does not support"
        " `softcap`. Try using `eager`, `flex_attention`, or the few FA kernels supporting it"
    },
}


def expected(name, program):
    """What is broken, and what it weighs."""
    if (name, program) in EXPECTED:
        return dict.fromkeys(EXPECTED[name, program], "fault")
    found = {}
    by_number = program == "eager" or name in EAGER_ALWAYS | ADDED_BIAS
    if by_number and name != "GPT-OSS":
        found["dead rows, forward"] = "choice"
    if program == "eager" and name not in SCALED_FIRST | NORMED:
        found["scale before overflow"] = "hazard"
    return found


@pytest.mark.long
@pytest.mark.parametrize("program", ["eager", "sdpa"])
@pytest.mark.parametrize("name", LAYERS)
def test_an_attention_of_the_library_needs_nothing_said(name, program):
    report = examine(made(name, program))
    assert {finding.name: finding.weight for finding in report.failed} == expected(name, program), report.diagnosis
    for law, meaning in EXPECTED.get((name, program), {}).items():
        assert report[law].meaning == meaning
    kind, program = LAYERS[name][1], "eager" if name in EAGER_ALWAYS else program
    said = f"{kind} of transformers {transformers.__version__}, {program}: declared from its configuration."
    assert said in report.portrait
    if ("answers", "fault") in expected(name, program).items():
        return
    for law in ("known form", "scale", "heads apart", "mask obeyed", "future, training", "future, evaluating"):
        assert report[law].passed, law
    in_the_mask = (name, program) == ("Falcon, ALiBi", "sdpa")
    for law, whose in DECLARED.items():
        told = {finding.name: finding.passed for finding in report}
        if name in whose and not in_the_mask and law not in expected(name, program):
            assert told[law], law
        if name not in whose:
            assert told.get(law) is None, law


def test_a_layer_with_two_attentions_is_asked_from_outside_with_the_librarys_masks():
    modeling = pytest.importorskip("transformers.models.bart.modeling_bart")
    for program in ("eager", "sdpa"):
        config = transformers.BartConfig(
            d_model=28, decoder_attention_heads=4, decoder_ffn_dim=16, attn_implementation=program
        )
        report = examine(modeling.BartDecoderLayer(config, layer_idx=0))
        assert "from outside" in report.subject
        assert {finding.name for finding in report.failed} <= {"dead rows, forward"}
        for law in ("answers", "mask obeyed", "mask polarity", "future, training", "future, evaluating"):
            assert report[law].passed, law


def test_how_the_library_shapes_its_masks_is_known_and_need_not_be_tried():
    layer = made("Llama", "sdpa")
    known = with_masks(layer, Declaration())
    assert (known.mask, known.mask_shape) == ("True attends", "B 1 T S")
    declared = Declaration(mask="additive", mask_shape="T S")
    assert with_masks(layer, declared) == declared
    assert with_masks(torch.nn.Linear(28, 28), Declaration()) == Declaration()


def test_a_model_of_the_library_is_told_what_to_hand_in():
    small = {"n_embd": 28, "n_head": 4, "n_layer": 3, "vocab_size": 11, "bos_token_id": 0, "eos_token_id": 0}
    said = "GPT2LMHeadModel, which takes integers, as a language model does: hand in one of its attention layers"
    said += " (model.transformer.h[0].attn, model.transformer.h[1].attn and 1 more), as in"
    with pytest.raises(ValueError, match=re.escape(said)):
        examine(transformers.GPT2LMHeadModel(transformers.GPT2Config(**small)))
    small = {"num_layers": 1, "d_model": 28, "d_kv": 7, "num_heads": 4, "d_ff": 16, "vocab_size": 11}
    with pytest.raises(ValueError, match=re.escape("as in examine(model.encoder.block[0].layer[0])")):
        examine(transformers.T5ForConditionalGeneration(transformers.T5Config(**small)))


def test_angles_that_the_caller_brings_are_his_own():
    """Their angles are of zero: nothing turns, and nobody says that it should."""
    still = lambda n: {"position_embeddings": (torch.ones(1, n, 10), torch.zeros(1, n, 10))}
    report = examine(made("Llama", "sdpa"), options=still)
    assert names(report) == []
    assert report["known form"].passed


def test_what_the_caller_says_comes_first():
    report = examine(made("Llama", "eager"), mask="additive", dead_rows="nan")
    assert "mask additive [" in report.subject
    assert names(report) == ["scale before overflow"]


def test_a_wrong_configuration_is_found():
    """Angles of another base, and a factor of another width."""
    layer = made("Llama", "sdpa")
    assert names(examine(layer, positions="rotary base=500")) == ["positions"]
    layer.scaling = 0.1
    assert names(examine(layer, scale=10**-0.5)) == ["scale"]
