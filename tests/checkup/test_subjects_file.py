"""A file of subjects, and reports for other programs."""

import json
import xml.etree.ElementTree as XML

import pytest

from surgeon import examine
from surgeon.checkup.__main__ import main
from surgeon.checkup.asked import read_subjects
from surgeon.checkup.report_formats import Result, as_json, as_junit
from surgeon.checkup.terminal import write_whole

SUBJECTS = """
[ours]
target = "surgeon:grouped_attention"
layout = "B H T d"
heads = 6
kv_heads = 2

["too late"]
target = "surgeon.zoo.scaling:scaled_too_late"
accept = { "scale before overflow" = "we run in bfloat16" }

[wrong]
target = "surgeon.zoo.masking:lost_mask"
"""

NO_TARGET = 'subjects must give a target, as in target = "package.module:function", got none'


@pytest.fixture
def subjects(tmp_path):
    path = tmp_path / "subjects.toml"
    path.write_text(SUBJECTS, encoding="utf8")
    return str(path)


def test_all_subjects_of_a_file_are_examined(subjects, capsys):
    assert main(["--subjects", subjects, "--strict"]) == 1
    out = capsys.readouterr().out
    assert out.count("Check-up of ") == 3
    assert "\nAccepted: scale before overflow: we run in bfloat16\n" in out
    assert "\nFault: mask obeyed\n" in out


def test_one_subject_of_a_file_is_named(subjects, capsys):
    assert main(["--subjects", subjects, "ours"]) == 0
    assert capsys.readouterr().out.count("Check-up of ") == 1
    assert main(["--subjects", subjects, "theirs"]) == 2
    said = "address must name one of the subjects (ours, too late, wrong), got 'theirs'.\n"
    assert capsys.readouterr().err == said


def test_what_the_shell_says_comes_before_the_file(subjects, capsys):
    told = ["--mask-shape", "T S", "--accept", "mask obeyed=no mask is given"]
    assert main(["--subjects", subjects, "wrong", *told]) == 0
    assert "mask True attends [T, S]" in capsys.readouterr().out


def test_a_subject_that_cannot_be_examined_leaves_the_others(tmp_path, capsys):
    path = tmp_path / "subjects.toml"
    path.write_text('[nowhere]\ntarget = "surgeon:nothing"\n[ours]\ntarget = "surgeon:attention"\n', encoding="utf8")
    assert main(["--subjects", str(path)]) == 2
    output = capsys.readouterr()
    assert output.out.count("Check-up of ") == 1
    assert output.err == "address must name something in surgeon, got 'nothing', which it lacks.\n"
    assert main(["--subjects", str(path), "--format", "json"]) == 2
    first, second = json.loads(capsys.readouterr().out)["subjects"]
    assert first == {"name": "nowhere", "error": output.err.strip()}
    assert second["wrong"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "subjects must be written in TOML, got '{}': Invalid value (at end of document)."),
        ("", "subjects must have a table for each subject, got '{}' without any."),
        ("a = 1", f"{NO_TARGET} for 'a'."),
        ("[a]\nlayout = 'B T d'", f"{NO_TARGET} for 'a'."),
        ("[a]\ntarget = 'x:y'\nbuild = 1", "build must be true or false for 'a', got 1."),
        (
            "[a]\ntarget = 'surgeon:attention'\nnames = 'Q'",
            "names must be texts by name, as in Q=query,mask=attn_mask, got 'Q'.",
        ),
        ("[a]\ntarget = 'surgeon:attention'\naccept = 'all'", "accept must be reasons by name, got 'all'."),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence_and_a_two(text, said, tmp_path, capsys):
    path = tmp_path / "subjects.toml"
    path.write_text(text, encoding="utf8")
    assert main(["--subjects", str(path)]) == 2
    output = capsys.readouterr()
    assert output.err == f"{said.format(path)}\n"
    assert output.out == ""


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^subjects must be a file that can be read, got .*: No such file"):
        read_subjects(str(tmp_path / "none.toml"))
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"^subjects must be a file that can be read, got .*: not in UTF-8"):
        read_subjects(str(tmp_path / "odd.toml"))


def test_json_has_every_finding(subjects, capsys):
    assert main(["--subjects", subjects, "wrong", "--format", "json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["subjects"]
    report = examine(__import__("surgeon.zoo.masking").zoo.masking.lost_mask)
    assert [finding["name"] for finding in told["findings"]] == [finding.name for finding in report]
    assert told["wrong"] == ["mask obeyed"]
    assert told["diagnosis"] == report.diagnosis
    (wrong,) = (finding for finding in told["findings"] if finding["verdict"] == "FAIL")
    assert wrong["instead"] == report["mask obeyed"].instead
    assert wrong["page"].endswith("/ablations/no-mask.html")


def test_json_has_no_number_that_it_does_not_know():
    """What was measured may be infinite."""
    report = examine(lambda Q, K, V, mask=None: V / 0)
    measured = [finding.measured for finding in report]
    told = json.loads(as_json([Result("x", report)], strict=False))
    assert [f["measured"] for f in told["subjects"][0]["findings"]] == [
        str(m) if m in (float("inf"),) else m for m in measured
    ]


def test_junit_has_a_case_for_each_law(subjects, capsys):
    assert main(["--subjects", subjects, "--format", "junit", "--strict"]) == 1
    suites = XML.fromstring(capsys.readouterr().out)
    ours, late, wrong = suites
    assert [suite.get("failures") for suite in suites] == ["0", "0", "1"]
    assert wrong.find("testcase/failure").get("message") == "The mask has no effect: everyone sees everything."
    assert "Write scores.masked_fill(hidden, -inf), before softmax." in wrong.find("testcase/failure").text
    for suite in suites:
        cases = suite.findall("testcase")
        assert len(cases) == int(suite.get("tests"))
        assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped"))
        assert suite.find("system-out").text.startswith("Check-up of ")
    said = [skipped.get("message") for skipped in late.findall("testcase/skipped")]
    assert "accepted: we run in bfloat16" in said
    assert ours.get("errors") == "0"


def test_junit_says_what_cannot_be_examined_and_what_xml_cannot_hold():
    told = as_junit([Result("a\x00", None, "nothing\x1b there")], strict=False)
    (suite,) = XML.fromstring(told)
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error").get("message") == "nothing� there"


def test_what_a_subject_prints_is_not_in_between(tmp_path, monkeypatch, capsys):
    (tmp_path / "talks.py").write_text(
        "from surgeon import attention\nprint('imported')\n"
        "def f(Q, K, V, mask=None):\n    print('asked')\n    return attention(Q, K, V, mask)\n",
        encoding="utf8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["talks:f", "--format", "json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["subjects"][0]["name"] == "talks:f"
    assert "imported" in output.err


def test_a_file_is_written_whole_or_not_at_all(tmp_path, capsys):
    path = tmp_path / "report.xml"
    assert main(["surgeon:attention", "--format", "junit", "--output", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert len(XML.parse(path).getroot()) == 1
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"^output must be a file that can be written, got .*: Is a directory"):
        write_whole(str(path), "x")
    assert list(tmp_path.iterdir()) == [path]
    assert main(["surgeon:attention", "--output", str(path)]) == 2
    assert capsys.readouterr().err.startswith("output must be a file that can be written, got ")
