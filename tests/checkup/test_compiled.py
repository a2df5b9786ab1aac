"""What torch.compile makes of an attention, or what stands for it here."""

import pytest
import torch
from odd_functions import refusing
from odd_questions import behind_a_mask, changed_if
from said_of_questions import COMPILED

from surgeon import MultiHeadAttention, attention, examine
from surgeon.checkup.probes import compiled

MADE = {
    "raises": refusing(lambda *_: True),
    "another": changed_if(lambda *_: True),
    "masked": changed_if(behind_a_mask(lambda *_: True)),
}


@pytest.mark.parametrize("name", MADE)
def test_a_compiler_that_changes_something_is_a_hazard(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: MADE[name])
    monkeypatch.setattr(compiled, "has_compiler", lambda: True)
    report = examine(attention, compiled=True)
    assert [(f.name, f.weight) for f in report.failed] == [("compiled", "hazard")]
    assert (report["compiled"].meaning, report["compiled"].instead) == COMPILED[name]


def test_without_a_compiler_it_cannot_be_told(monkeypatch):
    monkeypatch.setattr(compiled, "has_compiler", lambda: False)
    report = examine(attention, compiled=True)
    assert report["compiled"].passed is None
    assert report["compiled"].meaning == COMPILED["none"][0]


@pytest.mark.long
@pytest.mark.skipif(not compiled.has_compiler(), reason="there is no C++ compiler")
@pytest.mark.parametrize("subject", [attention, MultiHeadAttention(28, 4)], ids=["a function", "a layer"])
def test_a_sound_attention_is_the_same_when_compiled(subject):
    report = examine(subject, compiled=True, patience=None)
    assert report["compiled"].passed, report["compiled"].meaning
    assert report.failed == []
