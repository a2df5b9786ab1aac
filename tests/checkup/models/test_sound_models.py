"""Models that are right: nothing is said against them but what is true."""

import random
from functools import cache

import numpy as np
import pytest
import torch
from sound_models import ARCHITECTURES, MODELS, OURS, TRANSFORMERS, TRUE, of_transformers

from surgeon import examine_model
from surgeon.checkup.models import library
from surgeon.checkup.models.adapter import Adapter
from surgeon.checkup.models.laws import MODEL_LAWS

pytestmark = pytest.mark.long

# What must be told, whatever else cannot be
DECODERS = ("alone or in company", "future, evaluating", "future, training", "the past is seen", "gradients")


@pytest.fixture(scope="module")
def examined():
    """From a name to its report, which several tests read."""

    @cache
    def examined(name):
        make, held = MODELS[name]
        return examine_model(make(), **held)

    return examined


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_said_against_a_sound_model_but_what_is_true(name, examined):
    if name in TRANSFORMERS:
        pytest.importorskip("transformers")
    report = examined(name)
    told = {f.name: (f.weight, f.meaning) for f in report.broken}
    expected = TRUE.get(name, {})
    assert set(told) == set(expected), report.details
    for law, (weight, meaning) in expected.items():
        assert told[law][0] == weight
        assert told[law][1].startswith(meaning)
    assert [f.name for f in report] == list(MODEL_LAWS)
    assert report["alone or in company"].passed
    assert report["gradients"].passed
    if report["future, training"].passed is not None:
        assert all(report[law].passed for law in DECODERS)


@pytest.mark.parametrize("name", ["Llama", "BLOOM", "Mixtral"])
def test_of_a_decoder_of_the_library_nearly_everything_is_told(name, examined):
    pytest.importorskip("transformers")
    report = examined(name)
    untold = {f.name for f in report.untold}
    beside = {"documents apart", "moving along", "positions from the mask"} if name == "BLOOM" else set()
    assert untold <= beside | {
        "reach",  # without a window
        "cache, beyond the window",
        "beyond the table",  # of relative positions
        "source padding",  # of a decoder alone
        "source read whole",
    }


def test_a_window_is_read_off_the_configuration(examined):
    pytest.importorskip("transformers")
    report = examined("Mistral")
    assert report["reach"].measured == report["reach"].bound == 6
    assert report["cache, beyond the window"].passed


def test_a_model_is_left_as_it_was():
    model = OURS["ours"][0]().train()
    model.blocks[1].eval()
    modes = [m.training for m in model.modules()]
    kept = {name: x.clone() for name, x in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    dtype = torch.get_default_dtype()
    examine_model(model, **OURS["ours"][1])
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(x, kept[name]) and x.dtype == kept[name].dtype for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert torch.get_default_dtype() == dtype


def test_a_function_is_asked_in_its_own_precision():
    model = OURS["ours"][0]()
    mask = OURS["ours"][1]["options"]
    report = examine_model(lambda ids: model(ids, **mask(ids.shape[1])), vocab=11, kind="decoder", max_len=16)
    assert report.failed == []
    assert 1e-6 < report["alone or in company"].bound < 1e-3
    half = model.to(torch.bfloat16)
    report = examine_model(lambda ids: half(ids, **mask(ids.shape[1])), vocab=11)
    assert report.failed == []
    assert report.blind
    assert "rounding may make" in report["alone or in company"].meaning


def test_what_somebody_says_of_a_model_of_the_library_comes_before_its_configuration():
    pytest.importorskip("transformers")
    model = of_transformers("Llama")
    said = {
        "vocab": 13,
        "max_len": 17,
        "window": 3,
        "layers": 5,
        "pad": 0,
        "special": (1, 2),
        "positions": "relative",
        "programs": {"eager": print},
        "generate": print,
        "checkpointing": print,
    }
    known, heard = (library.of_transformers(model, Adapter(**each)) for each in ({}, said))
    assert {name: getattr(heard, name) for name in said} == said
    assert (known.vocab, known.pad, known.kind) == (model.config.vocab_size, model.config.pad_token_id, "decoder")
    assert heard.unasked == ""
    assert known.checkpointing
    model.activation_checkpointing_enable = lambda: "of later releases"
    assert library.of_transformers(model, Adapter()).checkpointing(model) == "of later releases"
    assert known.unasked


def test_the_library_is_known_by_its_programs(examined):
    pytest.importorskip("transformers")
    report = examined("Llama")
    assert report["back ends agree"].meaning.startswith("Tried: eager, sdpa, math, sdpa, flash.")
    assert len(ARCHITECTURES) >= 24


@pytest.mark.parametrize(("name", "seed"), [("Llama", 1), ("Gemma 3", 2)])
def test_every_word_may_be_written_and_read(name, seed):
    """From these seeds the likeliest is the last, and a prompt holds the first, by which texts are padded."""
    pytest.importorskip("transformers")
    writing = examine_model(of_transformers(name), seed=seed)["writing"]
    assert (writing.passed, writing.measured) == (True, "4 of 4 ways")


def test_a_mask_of_blocks_is_read_as_the_library_says():
    """Eager attention adds its mask, and reads floats alone."""
    pytest.importorskip("transformers")
    eager = of_transformers("Llama", attn_implementation="eager")
    said = examine_model(eager)["documents apart"].meaning
    assert "of booleans" not in said
    assert "an additive mask" in said
