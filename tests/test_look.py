"""A model's heads, from a shell: what is written, and what is in the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sound_models import of_transformers

from surgeon.look import main

WORDS = [f"w{n}" for n in range(47)] + ["the", "cat", "sat", ".", "[UNK]", "[PAD]"]


def saved(name: str, small: Path) -> Path:
    """A small model with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    of_transformers(name).save_pretrained(small)
    vocabulary = {word: n for n, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(small)
    return small


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return saved("GPT-2", tmp_path_factory.mktemp("models") / "small")


@pytest.mark.parametrize("name", ["GPT-2", "BERT", "T5"])
def test_the_file_is_written(name, tmp_path, capsys):
    """Of a model that reads and writes, what reads is shown."""
    model, out = saved(name, tmp_path / "model"), tmp_path / "heads.html"
    assert main([str(model), "the cat sat .", "the cat", "--out", str(out)]) == 0
    half = ", of its encoder alone" if name == "T5" else ""
    assert capsys.readouterr().out == f"{out}: 2 layers of 4 heads on 2 texts{half}\n"
    page = out.read_text(encoding="utf8")
    assert '"tokens":["the","cat","sat","."]' in page.replace(" ", "")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["heads.html"]


def test_one_text_is_one_text(small, tmp_path, capsys):
    assert main([str(small), "the cat", "--out", str(tmp_path / "heads.html")]) == 0
    assert capsys.readouterr().out.endswith("2 layers of 4 heads on 1 text\n")


def test_a_shell_runs_it(small, tmp_path):
    command = [sys.executable, "-W", "error", "-m", "surgeon.look", str(small), "the cat"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "heads.html").is_file()


def spoilt(small: Path, to: Path, **changes) -> str:
    """A copy of a model's folder in which files are replaced, or left out."""
    to.mkdir()
    for path in small.iterdir():
        text = changes.get(path.stem, ...)
        if text is not None:
            (to / path.name).write_bytes(path.read_bytes() if text is ... else text)
    return str(to)


def far(small: Path) -> bytes:
    """A tokenizer whose words are numbered beyond the model's."""
    told = json.loads((small / "tokenizer.json").read_text())
    told["model"]["vocab"] = {word: n + 10_000 for word, n in told["model"]["vocab"].items()}
    return json.dumps(told).encode()


def test_what_is_in_the_way_is_said_in_a_sentence(small, tmp_path, capsys):
    config = json.loads((small / "config.json").read_text())
    coded = json.dumps(config | {"auto_map": {"AutoModel": "theirs.Model"}}).encode()
    cases = {
        "model must be a folder with a config.json, got ": [str(tmp_path / "none"), "the cat"],
        "model must be a folder with weights in safetensors, ": [spoilt(small, tmp_path / "a", model=None), "the cat"],
        "model must run without code of its own, got ": [spoilt(small, tmp_path / "b", config=coded), "the cat"],
        "model must be a folder with a tokenizer, got ": [
            spoilt(small, tmp_path / "c", tokenizer=None, tokenizer_config=None),
            "the cat",
        ],
        "model must be a folder that transformers can load, got ": [
            spoilt(small, tmp_path / "d", model=b"nothing"),
            "the cat",
        ],
        "sentence must hold a token, got none.": [str(small), " "],
        "sentence must be of at most 64 tokens, which is how many": [str(small), "the " * 65],
        "model must take the words of its tokenizer, got ": [
            spoilt(small, tmp_path / "e", tokenizer=far(small)),
            "cat",
        ],
        "out must be in a folder that is there, got ": [str(small), "the", "--out", str(tmp_path / "x" / "y.html")],
        "out must be a file that can be written, got ": [str(small), "the", "--out", str(tmp_path / "a")],
    }
    here = sorted(tmp_path.iterdir())
    for said, words in cases.items():
        assert main([*words, *([] if "--out" in words else ["--out", str(tmp_path / "heads.html")])]) == 2
        told = capsys.readouterr()
        assert told.err.startswith(said), told.err
        assert told.err.count("\n") == 1
        assert told.out == ""
        assert sorted(tmp_path.iterdir()) == here


def test_code_of_the_models_own_does_not_run(small, tmp_path):
    """Neither its class nor its tokenizer's."""
    config = json.loads((small / "tokenizer_config.json").read_text())
    named = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    copy = Path(spoilt(small, tmp_path / "m", tokenizer_config=json.dumps(config | named).encode()))
    (copy / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Theirs: pass\n")
    main([str(copy), "the cat", "--out", str(tmp_path / "heads.html")])
    assert not (tmp_path / "ran").exists()


def test_half_precision_is_looked_at(tmp_path):
    model = of_transformers("Llama").to(torch.bfloat16)
    small = saved("Llama", tmp_path / "m")
    model.save_pretrained(small)
    assert main([str(small), "the cat sat", "--out", str(tmp_path / "heads.html")]) == 0
