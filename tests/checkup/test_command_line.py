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
    assert "Nothing found." in capsys.readouterr().out
    assert main(["surgeon.zoo.scaling:unscaled"]) == 1
    out = capsys.readouterr().out
    assert "\nFault: scale\n" in out
    assert "\nAll of them: --details\n" in out
    assert main(["surgeon.zoo.scaling:unscaled", "--details"]) == 1
    assert "\nfault     scale " in capsys.readouterr().out
    assert main(["surgeon.zoo.masking:dead_rows_nan", "--dead-rows", "nan"]) == 0


def test_hazards_are_an_error_to_the_shell_if_it_is_strict_and_not_accepted(capsys):
    late, accept = "surgeon.zoo.scaling:scaled_too_late", "--accept=scale before overflow=we run in bfloat16"
    assert main([late]) == 0
    assert "\nHazard: scale before overflow\n" in capsys.readouterr().out
    assert main([late, "--strict"]) == 1
    capsys.readouterr()
    assert main([late, "--strict", accept]) == 0
    assert "\nAccepted: scale before overflow: we run in bfloat16\n" in capsys.readouterr().out
    assert main(["surgeon.zoo.masking:dead_rows_uniform", "--strict"]) == 0


@pytest.mark.parametrize(
    ("terminal", "variables", "painted"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_a_terminal_is_in_colour_unless_somebody_objects(terminal, variables, painted, monkeypatch, capsys):
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    if "NO_COLOR" not in variables:
        monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["surgeon.zoo.scaling:unscaled"]) == 1
    out = capsys.readouterr().out
    address = "https://attention-surgeon.github.io/attention-surgeon/book/anatomy/scaling.html"
    assert ("\x1b[1;31mFault: scale\x1b[0m\n" in out) == painted
    assert (f"  Page: \x1b]8;;{address}\x1b\\anatomy/scaling\x1b]8;;\x1b\\\n" in out) == painted
    assert ("\x1b" in out) == painted
    assert main(["surgeon:attention"]) == 0
    assert ("\x1b[1;32mNothing found.\x1b[0m\n" in capsys.readouterr().out) == painted


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
        (["surgeon:attention", "--accept", "scale"], "accept must be NAME=REASON, got 'scale'."),
        (["surgeon:attention", "--accept", "scale="], "accept must give a reason for 'scale', got ''."),
        (["surgeon:attention", "--accept", "size=x"], "accept must name findings, such as 'scale', got 'size'."),
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
    assert re.search("^Fault: mask polarity$", done.stdout, re.MULTILINE)
    assert done.stderr == ""
    done = subprocess.run([*command, "mine:build", "--build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
