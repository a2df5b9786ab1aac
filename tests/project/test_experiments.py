"""The long runs take minutes; that they measure and keep what they say is seen in no time."""

import json
import platform
import re

import pytest
import torch
from small_book import ROOT

import experiments
from experiments import longer
from experiments.zoo import over_starts
from surgeon.ablations.bug_zoo import compare_bugs
from surgeon.ablations.longer_texts import in_blocks, lengthen

TINY = {"steps": 3, "last": 2, "batch_size": 5, "length": 7, "d_model": 12, "num_heads": 4, "held_out": 3}


def test_a_start_is_a_comparison_of_its_seed():
    names = ["lost_mask", "padding_on_queries"]
    found = over_starts(names, [8, 9], **TINY)
    for n, seed in enumerate((8, 9)):
        one = compare_bugs(names, seed=seed, **TINY)
        lost = one.summary.iloc[0]
        assert (found["source"][n], found["sound"][n]) == (one.source_loss, one.sound_loss)
        assert {name: values[n] for name, values in found["bugs"]["lost_mask"].items()} == {
            name: lost[name] for name in ("changes", "loss", "gap", "use_gap", "whole_gap")
        }
    assert found["bugs"]["padding_on_queries"]["gap"] == [None, None]
    assert found["source"][0] != found["source"][1]


def test_a_start_on_longer_texts_is_a_training_of_its_seed():
    tiny = {"steps": 2, "batch_size": 3, "length": 8, "longest": 16, "d_model": 12, "num_heads": 3, "held_out": 2}
    found = longer.over_starts([8, 9], **tiny)
    for n, seed in enumerate((8, 9)):
        alone = lengthen("rotary", task="recall", seed=seed, **tiny)
        assert found["recall"]["rotary"][n] == in_blocks(alone.excess)
    assert found["grammar"]["none"][0] != found["grammar"]["none"][1]


def test_what_is_kept_says_its_versions_and_is_read_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "ROOT", tmp_path)
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")  # the wheel is called 2.13.0
    found = {"seeds": [1, 2], "bugs": {"x": {"gap": [1 / 3, None], "says": ["a ‘b’", "c"]}, "y": {}}}
    text = experiments.keep("kept.json", found).read_text(encoding="utf8")
    kept = json.loads(text)
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["versions"]["python"] == platform.python_version()
    assert kept["bugs"] == {"x": {"gap": [0.333333, None], "says": ["a ‘b’", "c"]}, "y": {}}
    assert '  "says": ["a ‘b’", "c"]' in text  # a line a list


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py")))
def test_make_runs_each_by_a_command_that_it_says(name):
    code = (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf8")
    assert f"\npython -m experiments.{name}" in code
    assert 'if __name__ == "__main__":' in code
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert re.search(r"^EXPERIMENTS := \$\(filter-out __init__,.*\$\(wildcard experiments/\*\.py\)", makefile, re.M)
