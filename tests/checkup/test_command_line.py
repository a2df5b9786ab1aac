"""The command line."""

import os
import re
import subprocess
import sys

import pytest

from surgeon.checkup.__main__ import give_up, main


def test_the_command_line_gives_up(tmp_path, monkeypatch, capsys):
    (tmp_path / "endless.py").write_text("def f(Q, K, V):\n    while True:\n        pass\n", encoding="utf8")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["endless:f", "--patience", "0.3"]) == 1
    assert "given up after 0.3 s, while “answers” was" in capsys.readouterr().out
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    give_up("endless:f", 70.0)
    assert codes == [2]
    said = "address must name something that answers, got 'endless:f': nothing within 70 s.\n"
    assert capsys.readouterr().err == said


def test_the_command_line_says_what_it_found(capsys):
    assert main(["surgeon:attention"]) == 0
    assert "Nothing found: " in capsys.readouterr().out
    assert main(["surgeon.zoo.scaling:unscaled"]) == 1
    assert "FAIL  scale" in capsys.readouterr().out
    assert main(["surgeon.zoo.masking:dead_rows_nan", "--dead-rows", "nan"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["surgeon"], "address must be package.module:function, got 'surgeon'."),
        (
            ["surgeonn:attention"],
            "address must name a module that can be imported, got 'surgeonn': No module named 'surgeonn'.",
        ),
        (["surgeon:attend"], "address must name something in surgeon, got 'attend', which it lacks."),
        (
            ["surgeon:MultiHeadAttention"],
            "subject must be a function or an instance, got the class MultiHeadAttention.",
        ),
        (
            ["surgeon:attention", "--patience", "-11"],
            "patience must be a positive number of seconds or None, got -11.0.",
        ),
        (["surgeon:attention", "--seed", "-1"], "seed must be an integer from 0 to 2**32 - 1, got -1."),
    ],
)
def test_a_bad_address_is_one_sentence_and_a_two(arguments, said, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.err == f"{said}\n"
    assert output.out == ""


def test_the_command_line_finds_a_module_in_the_folder_it_stands_in(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from surgeon import MultiHeadAttention, attention\n"
        "def upside_down(Q, K, V, mask=None):\n"
        "    return attention(Q, K, V, None if mask is None else ~mask)\n"
        "def build():\n"
        "    return MultiHeadAttention(28, 4)\n",
        encoding="utf8",
    )
    command = [sys.executable, "-m", "surgeon.checkup"]
    done = subprocess.run([*command, "mine:upside_down"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert re.search("^FAIL  mask polarity", done.stdout, re.MULTILINE)
    assert done.stderr == ""
    done = subprocess.run([*command, "mine:build", "--build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
