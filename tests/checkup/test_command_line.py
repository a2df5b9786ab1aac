"""The command line."""

import inspect
import io
import math
import os
import re
import subprocess
import sys

import pytest

from surgeon import examine
from surgeon.checkup.__main__ import give_up, main, parser
from surgeon.checkup.asked import value_of, with_functions


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
            "patience must be a positive number of seconds or None, got -11.",
        ),
        (["surgeon:attention", "--accept", "scale"], "accept must be NAME=REASON, got 'scale'."),
        (["surgeon:attention", "--accept", "scale="], "accept must give a reason for 'scale', got ''."),
        (["surgeon:attention", "--accept", "size=x"], "accept must name findings, such as 'scale', got 'size'."),
        (["surgeon:attention", "--seed", "-1"], "seed must be an integer from 0 to 2**32 - 1, got -1."),
        ([], "address or subjects must be given."),
        (["surgeon:attention", "--declare", "heads"], "declare must be NAME=VALUE, got 'heads'."),
        (
            ["surgeon:attention", "--names", "query"],
            "names must be texts by name, as in Q=query,mask=attn_mask, got 'query'.",
        ),
        (["surgeon:attention", "--widths", "7"], "widths must be two numbers, as in 64,64, got 7."),
        (["surgeon:attention", "--widths", "7,0"], "widths must be an integer of at least 1, got 0."),
        (["surgeon:attention", "--scale", "big"], "scale must be a number, or a function's address, got 'big'."),
        (["surgeon:attention", "--padding", "5"], "padding must be an argument's name, got 5."),
        (["surgeon:attention", "--causal", "5"], "causal must be an argument's name, or true or false, got 5."),
        (["surgeon:attention", "--patience", "long"], "patience must be a number of seconds, got 'long'."),
        (
            ["surgeon:attention", "--options", "weights"],
            "options must be values by name, as in need_weights=False, or a function's address, got 'weights'.",
        ),
        (
            ["surgeon:attention", "--projections", "5"],
            "projections must be names, as in q_proj,k_proj,v_proj,o_proj, or False, got 5.",
        ),
        (
            ["surgeon:attention", "--output", "nowhere/at/all.txt"],
            "output must be in a folder that is there, got 'nowhere/at/all.txt'.",
        ),
        (
            ["surgeon:examine", "--build"],
            "surgeon:examine must build something to examine, got TypeError: examine() missing 1 required positional"
            " argument: 'subject'.",
        ),
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


def test_an_unknown_argument_is_told_which_there_are(capsys):
    assert main(["surgeon:attention", "--declare", "head=3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("an argument must be one of layout, names, mask, ")
    assert said.endswith("got 'head'.\n")


DECLARED = [
    ["--layout", "B H T d", "--heads", "6", "--kv-heads", "2"],
    ["--declare", "layout=B H T d", "heads=6", "--declare", "kv-heads=2"],
    ["--declare", "layout='B H T d'", "heads=6", "kv_heads=2", "widths=(7, 11)"],
]


@pytest.mark.parametrize("told", DECLARED, ids=["options", "declared", "literals"])
def test_what_a_subject_is_can_be_said_in_two_ways(told, capsys):
    assert main(["surgeon:grouped_attention", *told]) == 0
    assert "(B H T d, mask True attends" in capsys.readouterr().out


def test_values_are_literals_or_texts():
    assert value_of("widths", "64,64") == (64, 64)
    assert value_of("names", "Q=query, mask=attn_mask") == {"Q": "query", "mask": "attn_mask"}
    assert value_of("options", '{"use_cache": true}') == {"use_cache": True}
    assert value_of("options", "use_cache=true,past=null") == {"use_cache": True, "past": None}
    assert value_of("options", "need_weights=False,dim=3") == {"need_weights": False, "dim": 3}
    assert value_of("options", "{'dim': 3}") == {"dim": 3}
    assert value_of("projections", "to_q,to_k, to_v") == ("to_q", "to_k", "to_v")
    assert value_of("projections", "False") is False
    assert value_of("positions", "rotary base=5e5") == "rotary base=5e5"
    names = ("documents", "linear", "options", "positions", "qk_norm", "scale")
    given = dict.fromkeys(names, "math:sqrt") | {"padding": "a:b"}
    assert with_functions(given) == dict.fromkeys(names, math.sqrt) | {"padding": "a:b"}


def test_every_argument_of_examine_has_an_option():
    names = set(inspect.signature(examine).parameters) - {"subject"}
    assert {action.dest for action in parser()._actions} >= names


HELP = {
    "help": (None, "show this help message and exit"),
    "address": (
        None,
        "package.module:function, or a module's instance; with --subjects, one of them by its name",
    ),
    "subjects": ("FILE", "TOML with a table for each"),
    "build": (None, "call what the address names first, and examine the result"),
    "accept": ("NAME=REASON", "a finding that is known and meant, and why"),
    "strict": (None, "exit with 1 for hazards, too"),
    "details": (None, "print every finding"),
    "output": ("FILE", "write there, once all is known"),
    "declare": ("NAME=VALUE", "any of these, in other words"),
    "names": ("Q=NAME,…", "what it calls Q, K, V, mask"),
    "padding": ("NAME", "the argument for padding [B, S]"),
    "causal": ("NAME", "the argument that asks for a causal mask; 'always' if it is causal by itself"),
    "dropout": ("NAME", "the argument for dropout"),
    "projections": ("NAME,…", "q, k, v, out; or qkv, out"),
    "widths": ("D_K,D_V", None),
    "width": ("NUMBER", "of x, for a layer on x"),
    "options": ("NAME=VALUE,…", "further arguments"),
    "patience": ("SECONDS", "after which it is given up; 60"),
}
CHOOSE = {"format", "layout", "mask", "mask_shape", "dead_rows", "alignment"}


def test_help_says_what_each_option_is():
    told = {action.dest: (action.metavar, action.help) for action in parser()._actions}
    assert {name: told[name] for name in HELP} == HELP
    others = {name: each for name, each in told.items() if name not in HELP}
    assert {name for name, each in others.items() if each != ("VALUE", None)} == CHOOSE
    assert {action.dest for action in parser()._actions if action.choices} == CHOOSE
    said = " ".join(parser().format_help().split())
    assert said.startswith("usage: python -m surgeon.checkup ")
    assert "A check-up of anyone's attention." in said
    assert "what the subject is: As surgeon.examine has it; values are Python's literals, or texts." in said


def test_progress_is_shown_on_a_terminal_alone(monkeypatch, capsys):
    assert main(["surgeon:attention"]) == 0
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        shown = ""  # what was handed on when it was last told to

        def isatty(self):
            return True

        def flush(self):
            self.shown = self.getvalue()

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["surgeon:attention"]) == 0
    said = sys.stderr.shown
    assert "\r\x1b[Ksurgeon:attention: known form (0 s)\r\x1b[K" in said
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")
