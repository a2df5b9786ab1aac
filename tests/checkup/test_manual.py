"""What the manual shows to be copied runs as it is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from surgeon.checkup.__main__ import main

PAGE = (Path(__file__).resolve().parents[2] / "book/reference/checkup.md").read_text(encoding="utf8")
PART = PAGE.partition("(checkup-each-time)=")[2].partition("\n(checkup-limits)=")[0]
MINE = """
import torch
from surgeon import MultiHeadAttention as Layer
from surgeon import attention


def attend(Q, K, V, mask=None):
    return attention(Q, K, V, None if mask is None else ~mask)


def build():
    return Layer(28, 4)
"""


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", PART, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf8")
    (tmp_path / "subjects.toml").write_text(block("toml"), encoding="utf8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_test_runs_in_pytest(mine):
    (mine / "test_layer.py").write_text(block("python"), encoding="utf8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_layer.py"]
    done = subprocess.run(command, cwd=mine, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_hook_asks_all_subjects_of_the_file(mine, capsys):
    (hook,) = yaml.safe_load(block("yaml"))["repos"][0]["hooks"]
    start = "python -m surgeon.checkup "
    assert hook["entry"].startswith(start)
    assert main(shlex.split(hook["entry"].removeprefix(start))) == 0
    out = capsys.readouterr().out
    assert out.count("Check-up of ") == 2
    assert "Accepted, but occurs no more: scale before overflow" in " ".join(out.split())


def test_the_command_for_ci_writes_a_file(mine):
    command = re.search(r"`python -m surgeon\.checkup (--subjects [^`]*--output [^`]*)`", PART)[1]
    assert main(shlex.split(command)) == 0
    assert (mine / "checkup.xml").read_text(encoding="utf8").count("<testsuite ") == 2
