"""`python -m surgeon.checkup --model`: a folder or a factory."""

import json
import sys

import pytest
from sound_models import of_transformers

from surgeon.checkup.__main__ import main

MINE = """
import torch
from surgeon import create_causal_mask
from surgeon.models.transformer import make_model
from surgeon.zoo.models.reader import Cache


def masked(T):
    return {"mask": create_causal_mask(T)}


def build():
    return make_model(11, 16)


def broken():
    raise RuntimeError("no weights here")


instance = make_model(11, 16)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_factory_is_called_and_its_model_examined(mine, capsys):
    assert main(["--model", "mine:build", "--declare", "options=mine:masked", "max_len=16"]) == 0
    assert "Check-up of TransformerLM" in capsys.readouterr().out


def test_a_fault_is_told_in_json(mine, capsys):
    assert main(["--model", "mine:instance", "--declare", "kind=decoder", "--format", "json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["subjects"]
    assert told["wrong"] == ["future, evaluating"]


def test_what_is_accepted_counts_no_more(mine):
    words = ["--model=mine:build", "--declare", "kind=decoder", "--accept", "future, evaluating=we know", "--details"]
    assert main([*words, "--memory", "1", "--output", "out.txt"]) == 0
    assert "accepted: we know" in (mine / "out.txt").read_text(encoding="utf8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "mine:nothing"], "address must name something in mine, got 'nothing'"),
        (["--model", "mine:broken"], "mine:broken must build a model, got RuntimeError: no weights here."),
        (["--model", "mine:build", "--declare", "depth=3"], "declare must be NAME=VALUE with a name of kind, vocab"),
        (["--model", "mine:build", "--declare", "kind"], "declare must be NAME=VALUE with a name of kind, vocab"),
        (["--model", "empty"], "model must be a folder with a config.json, got 'empty'"),
        (["--model", "pickled"], "model must be a folder with weights in safetensors"),
        (["--model", "armed"], "which brings some along: read it, and say --trust-code."),
        (["--model", "unknown"], "model must be of transformers' architectures, got 'NoSuchModel'"),
    ],
)
def test_what_is_refused(mine, capsys, words, said):
    for name, config in (("pickled", {}), ("armed", {"auto_map": {}}), ("unknown", {"architectures": ["NoSuchModel"]})):
        (mine / name).mkdir()
        (mine / name / "config.json").write_text(json.dumps(config), encoding="utf8")
    (mine / "empty").mkdir()
    for name in ("armed", "unknown"):
        (mine / name / "model.safetensors").write_bytes(b"")
    pytest.importorskip("transformers")
    assert main(words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_folder_in_safetensors_is_examined(mine, capsys):
    pytest.importorskip("transformers")
    of_transformers("Llama").save_pretrained("llama")
    assert main(["--model", "llama"]) == 0
    assert "LlamaForCausalLM of transformers" in " ".join(capsys.readouterr().out.split())
